"""Responses of the upstream: passed on as they come, and never taken for complete if they are not."""

import asyncio
import gc
import socket
import time
from contextlib import suppress

import pytest

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from noai_guard.reverse_proxy import exchange  # noqa: E402
from noai_guard.reverse_proxy.app import ReverseProxy  # noqa: E402
from noai_guard.reverse_proxy.upstream import Upstream  # noqa: E402
from tests.middleware.asgi_kit import OURS, Exchange, asked, http  # noqa: E402
from tests.raw_http import parsed  # noqa: E402
from tests.reverse_proxy.proxy_kit import (  # noqa: E402
    Handler,
    Origin,
    OriginRequest,
    Proxy,
    read_all,
    read_until,
    wait_until,
)


@pytest.mark.parametrize("status", [200, 204, 206, 301, 304, 404, 410, 418, 451, 500, 503, 599])
def test_statuses_pass(origin: Origin, proxy: Proxy, status: int) -> None:
    body = b"" if status in (204, 304) else b"x"
    length = b"content-length: %d\r\n" % len(body) if body else b""
    origin.route(f"/{status}", lambda request: request.send(b"HTTP/1.1 %d Word\r\n%b\r\n%b" % (status, length, body)))
    response = proxy.fetch(f"/{status}")
    assert (response.status, response.body, response.complete) == (status, body, True)


def test_a_response_streams(origin: Origin, proxy: Proxy) -> None:
    def respond_slowly(request: OriginRequest) -> None:
        request.send(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n5\r\nfirst\r\n"
        )
        assert request.connection.recv(1) == b""  # nothing more until the client, which has seen it, goes

    origin.route("/events", respond_slowly)
    with proxy.connect() as client:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        read_until(client, b"first")


def test_the_response_to_head_has_the_fields_of_get(origin: Origin, proxy: Proxy) -> None:
    origin.route(
        "/head",
        lambda request: request.send(
            b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\ncontent-type: audio/flac\r\n\r\n"
        ),
    )
    response = proxy.fetch("/head", method=b"HEAD")
    assert (response.status, response.body, response.values(b"content-length")) == (200, b"", [b"104857600"])
    assert proxy.fetch("/").body == b"hello"


def test_an_upload_waits_for_100_continue(origin: Origin, proxy: Proxy) -> None:
    def refuses(request: OriginRequest) -> None:
        assert request.values(b"expect") == [b"100-continue"]
        request.respond(b"too large", b"connection: close", status=b"413 Content Too Large")

    def wants(request: OriginRequest) -> None:
        request.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.respond(request.body())

    def says_nothing(request: OriginRequest) -> None:
        request.respond(request.body())

    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    response = proxy.raw(head % origin.route("/413", refuses).encode())
    assert (response.status, response.body) == (413, b"too large")
    for path, page in (("/wants", wants), ("/silent", says_nothing)):
        with proxy.connect() as client:
            client.sendall(head % origin.route(path, page).encode())
            received = client.recv(65536)
            assert received == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(b"12345")
            received = read_all(client)
            assert parsed(received).body == b"12345"


def test_a_response_before_the_end_of_an_upload_reaches_the_client(origin: Origin, proxy: Proxy) -> None:
    def impatient(request: OriginRequest) -> None:
        request.send(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig")
        request.wait_for_close()

    origin.route("/impatient", impatient)
    with proxy.connect() as client:
        client.sendall(b"POST /impatient HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 1000)
        received = read_until(client, b"big")
    assert parsed(received).status == 413


_REFUSAL = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n%b\r\nbig"


def _refuses_and_closes(request: OriginRequest) -> None:
    request.send(_REFUSAL % b"connection: close\r\n")
    request.connection.close()  # with bytes of the body unread, so that the client's system gets a reset


def _refuses_and_keeps(request: OriginRequest) -> None:
    request.send(_REFUSAL % b"")
    request.reset()


def _refuses_within_the_body(request: OriginRequest) -> None:
    request.read(100_000 if request.head.startswith(b"POST ") else 0)
    request.send(_REFUSAL % b"connection: close\r\n")
    request.reset()


def _breaks_off_within_the_refusal(request: OriginRequest) -> None:
    request.send((_REFUSAL % b"")[:-2])
    request.reset()


def _resets_after_the_head(request: OriginRequest) -> None:
    request.reset()


@pytest.mark.parametrize(
    "refuse",
    [
        _refuses_and_closes,
        _refuses_and_keeps,
        _refuses_within_the_body,
        _breaks_off_within_the_refusal,
        _resets_after_the_head,
    ],
)
@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked", b""])
def test_an_upstream_that_responds_early_leaves_no_exception_in_the_log(
    origin: Origin, proxy: Proxy, caplog: pytest.LogCaptureFixture, refuse: Handler, framing: bytes
) -> None:
    target = origin.route(f"/{refuse.__name__}", refuse).encode()
    method = b"POST" if framing else b"GET"
    body = {b"C": b"x" * 1_000_000, b"T": b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n0\r\n\r\n", b"": b""}[framing[:1]]
    head = b"%b %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%b\r\n\r\n" % (method, target, framing or b"X: y")
    with proxy.connect() as client, suppress(OSError):
        client.sendall(head + body)
        read_all(client)
    proxy.fetch("/")  # a turn of the loop, in which the lost connection is noticed
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def test_informational_responses_are_read_over(origin: Origin, proxy: Proxy) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"

    def inform(request: OriginRequest) -> None:
        request.send(early, b"HTTP/1.1 102 Processing\r\n\r\n", early)
        request.respond(b"late")

    origin.route("/early", inform)
    assert proxy.fetch("/early").body == b"late"


def test_early_hints_are_passed_on_if_the_server_can_send_them(origin: Origin) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\n\r\n"

    def hint(request: OriginRequest) -> None:
        request.send(early)
        request.respond(b"late")

    origin.route("/hints", hint)

    async def ask() -> Exchange:
        app = ReverseProxy(Upstream.parse(f"http://127.0.0.1:{origin.port}"))
        result = await asked(app, http("/hints", extensions={"http.response.early_hint": {}}))
        await app.pool.close()
        return result

    result = asyncio.run(ask())
    assert result.messages[0] == {
        "type": "http.response.early_hint",
        "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"],
    }
    assert (result.status, result.body) == (200, b"late")


def test_trailers_of_either_side_change_nothing(origin: Origin, proxy: Proxy) -> None:
    origin.route(
        "/sum",
        lambda request: request.send(
            b"HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"
        ),
    )
    response = proxy.fetch("/sum")
    assert (response.body, response.complete, response.values(b"x-sum"), response.values(b"trailer")) == (
        b"abc",
        True,
        [],
        [],
    )
    body = b"3\r\nabc\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nAuthorization: x\r\n\r\n"
    proxy.raw(b"POST /late HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body)
    assert origin.requests[-1].values(b"x-forwarded-for") == [b"127.0.0.1"]
    assert origin.requests[-1].values(b"authorization") == []


def test_a_client_that_reads_nothing_is_given_up(origin: Origin, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_STALLED_SECONDS", 0.3)
    given_up: list[bool] = []

    def song(request: OriginRequest) -> None:
        with suppress(ConnectionError):
            request.send(*(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n", *([b"x" * 1_000_000] * 100)))
        given_up.append(True)

    with proxy.connect() as client:
        client.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % origin.route("/paused", song).encode())
        wait_until(lambda: given_up)


BEGINNINGS = {
    "length": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
    "chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "within a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\nhalf",
    "before the last line": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
}


ENDS: dict[str, Handler] = {
    "closes": lambda request: request.connection.shutdown(socket.SHUT_RDWR),
    "resets": lambda request: request.reset(),
    "stops sending": lambda request: request.wait_for_close(),
    "sends garbage": lambda request: request.send(b"zz\r\n\r\n"),
}


@pytest.mark.parametrize(
    ("beginning", "end"),
    [(b, e) for b in BEGINNINGS for e in ENDS if e != "sends garbage" or b in ("chunks", "before the last line")],
)
def test_a_response_that_breaks_off_never_looks_complete(
    origin: Origin, policy_proxy: Proxy, beginning: str, end: str
) -> None:
    def page(request: OriginRequest) -> None:
        request.send(BEGINNINGS[beginning])
        time.sleep(0.05)  # what has come is passed on, before the end is seen
        ENDS[end](request)
        request.wait_for_close()

    response = policy_proxy.fetch(origin.route("/breaks", page))
    assert (response.status, response.body, response.complete) == (200, b"half", False)


def test_a_reset_ends_a_response_of_unknown_length_as_incomplete(origin: Origin, policy_proxy: Proxy) -> None:
    def page(request: OriginRequest) -> None:
        request.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        time.sleep(0.1)
        request.reset()

    def whole(request: OriginRequest) -> None:
        request.send(b"HTTP/1.1 200 OK\r\n\r\nwhole")
        request.connection.shutdown(socket.SHUT_RDWR)

    assert policy_proxy.fetch(origin.route("/by-reset", page)).complete is False
    response = policy_proxy.fetch(origin.route("/by-close", whole))
    assert (response.body, response.complete) == (b"whole", True)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5x\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-evil: a\x00b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx evil: a\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 5000,
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_a_malformed_response_is_502(origin: Origin, policy_proxy: Proxy, sent: bytes) -> None:
    def page(request: OriginRequest) -> None:
        request.send(sent)
        request.connection.shutdown(socket.SHUT_WR)
        request.wait_for_close(2)

    response = policy_proxy.fetch(origin.route("/odd", page))
    assert response.status == 502
    assert response.complete
    assert set(OURS) <= set(response.headers)
    assert policy_proxy.fetch("/").status == 200


@pytest.mark.parametrize("later", [0, 0.05])
def test_a_second_response_is_not_given_to_the_next_request(origin: Origin, policy_proxy: Proxy, later: float) -> None:
    """Response splitting: what comes behind a response belongs to nobody."""
    one, two = (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n" + body for body in (b"one", b"two"))

    def page(request: OriginRequest) -> None:
        request.send(one if later else one + two)
        if later:
            time.sleep(later)
            request.send(two)

    origin.route("/two", page)
    assert policy_proxy.fetch("/two").body == b"one"
    time.sleep(3 * later)
    assert [policy_proxy.fetch("/").body for _ in range(3)] == [b"hello"] * 3
