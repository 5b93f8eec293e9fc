"""The side of the client: uploads, disconnects, and clients that are too slow."""

import time

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from tests.middleware.asgi_kit import OURS  # noqa: E402
from tests.raw_http import parsed  # noqa: E402
from tests.reverse_proxy.proxy_kit import (  # noqa: E402
    Origin,
    OriginRequest,
    Proxy,
    read_all,
    read_until,
    request_at_origin,
    wait_until,
)


def test_an_upload_streams_and_keeps_its_framing(origin: Origin, proxy: Proxy) -> None:
    def receiving(request: OriginRequest) -> None:
        request.send(b"HTTP/1.1 200 OK\r\nx-early: 1\r\ntransfer-encoding: chunked\r\n\r\n")
        body = request.body()
        request.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    origin.route("/upload", receiving)
    with proxy.connect() as client:
        client.sendall(
            b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nfirst\r\n"
        )
        received = read_until(client, b"x-early")
        client.sendall(b"6\r\nsecond\r\n0\r\n\r\n")
        received += read_all(client)
    assert parsed(received).body == b"firstsecond"
    assert origin.requests[-1].values(b"transfer-encoding") == [b"chunked"]
    request = request_at_origin(origin, proxy, "/upload-known", method=b"PUT", body=b"x" * 300_000)
    assert request.values(b"content-length") == [b"300000"]
    assert request.values(b"transfer-encoding") == []


def test_no_body_is_invented(origin: Origin, proxy: Proxy) -> None:
    for method in (b"GET", b"DELETE", b"OPTIONS", b"POST"):
        request = request_at_origin(origin, proxy, "/", method=method)
        assert request.values(b"content-length") + request.values(b"transfer-encoding") == []
    assert request_at_origin(origin, proxy, "/", b"Content-Length: 0", method=b"POST").values(b"content-length") == [
        b"0"
    ]


def test_a_disconnect_ends_the_request_to_the_upstream(origin: Origin, proxy: Proxy) -> None:
    closed: list[bool] = []
    started: list[OriginRequest] = []

    def endless(request: OriginRequest) -> None:
        request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nx")
        started.append(request)
        closed.append(request.wait_for_close())

    def silent(request: OriginRequest) -> None:
        started.append(request)
        closed.append(request.wait_for_close())

    for path, page in (("/endless", endless), ("/silence", silent)):
        client = proxy.connect()
        client.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % origin.route(path, page).encode())
        wait_until(lambda: started)
        client.close()
        wait_until(lambda: closed)
        assert closed == [True]
        closed.clear()
        started.clear()


def test_a_disconnect_within_an_upload_leaves_no_complete_request_behind(origin: Origin, proxy: Proxy) -> None:
    body_lengths: list[int | None] = []

    def receiving(request: OriginRequest) -> None:
        try:
            body_lengths.append(len(request.body()))
        except ConnectionError:
            body_lengths.append(None)

    client = proxy.connect()
    client.sendall(
        b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
        % origin.route("/half", receiving).encode()
    )
    wait_until(lambda: origin.requests[-1].target == b"/half")
    client.close()
    wait_until(lambda: body_lengths)
    assert body_lengths == [None]


def test_a_slow_response_is_504_and_a_slow_upload_408(origin: Origin, impatient_proxy: Proxy) -> None:
    origin.route("/slow", lambda request: request.wait_for_close())
    response = impatient_proxy.fetch("/slow")
    assert (response.status, response.values(b"cache-control")) == (504, [b"no-store"])
    assert set(OURS) <= set(response.headers)
    response = impatient_proxy.raw(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")
    assert response.status == 408


def test_an_upload_may_take_longer_than_a_response(origin: Origin, impatient_proxy: Proxy) -> None:
    origin.route("/long", lambda request: request.respond(request.body()))
    with impatient_proxy.connect() as client:
        client.sendall(b"POST /long HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\nConnection: close\r\n\r\n")
        for _ in range(8):
            time.sleep(0.15)
            client.sendall(b"x")
        assert parsed(read_all(client)).body == b"x" * 8
