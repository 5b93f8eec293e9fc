"""The side of the client: uploads, disconnects, and clients that are too slow."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from noai_guard.reverse_proxy.downstream import Deadline  # noqa: E402
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


class Timer:
    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """An event loop's clock and timers, which a test moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, due: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(due, callback))
        return self.timers[-1]

    def advance(self, now: float) -> None:
        self.now = now
        for timer in [timer for timer in self.timers if timer.due <= now and not timer.cancelled]:
            timer.cancelled = True
            timer.callback()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


def test_it_expires_once_and_with_the_reason_of_the_last_move(loop: Loop) -> None:
    expired: list[Any] = []
    deadline = Deadline(expired.append)
    deadline.move(1, ValueError)
    deadline.move(2, KeyError)
    loop.advance(1.5)
    assert expired == []
    loop.advance(2.5)
    assert [type(reason) for reason in expired] == [KeyError]
    loop.advance(100)
    assert len(expired) == 1


def test_moving_it_further_away_sets_no_timer(loop: Loop) -> None:
    deadline = Deadline(lambda reason: None)
    for part in range(1000):
        loop.now = part / 1000
        deadline.move(60, TimeoutError)
    assert len(loop.timers) == 1


def test_moving_it_closer_is_in_time(loop: Loop) -> None:
    expired: list[Any] = []
    deadline = Deadline(expired.append)
    deadline.move(60, TimeoutError)
    deadline.move(1, TimeoutError)
    loop.advance(1)
    assert len(expired) == 1


def test_a_disarmed_or_closed_deadline_does_not_expire(loop: Loop) -> None:
    expired: list[Any] = []
    disarmed, closed = Deadline(expired.append), Deadline(expired.append)
    disarmed.move(1, TimeoutError)
    closed.move(1, TimeoutError)
    disarmed.disarm()
    closed.close()
    loop.advance(10)
    assert expired == []
    disarmed.move(1, TimeoutError)
    loop.advance(11)
    assert len(expired) == 1
