"""A refused client's body: read a little and for a short time, so that a shared connection outlives the refusal."""

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noai_guard.middleware import asgi
from tests.middleware.asgi_kit import BROWSER, SCRAPER, Exchange, answering, guarded, http
from tests.raw_http import exchanged, parsed
from tests.servers import SERVERS, Server, require

HERE = Path(__file__).parent
LENGTH = (b"content-length", b"200000")


def refused(scope: dict[str, Any], *messages: Any, silent: bool = False) -> tuple[Exchange, int]:
    """Send a request that is refused. Return the refusal, and how many messages the guard received."""
    received = 0
    result = Exchange()

    async def receive() -> Any:
        nonlocal received
        if received == len(messages):
            if silent:
                await asyncio.Event().wait()
            raise AssertionError("received more than there is")
        received += 1
        message = messages[received - 1]
        if isinstance(message, Exception):
            raise message
        return message

    async def send(message: Any) -> None:
        result.messages.append(message)

    asyncio.run(guarded(answering())(scope, receive, send))
    return result, received


def part(size: int, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": b"x" * size, "more_body": more}


def post(*fields: tuple[bytes, bytes], user_agent: bytes = SCRAPER, **scope: Any) -> dict[str, Any]:
    return http("/", user_agent, *fields, **{"method": "POST", **scope})


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([part(1000), part(1000, more=False)], 2),
        ([part(20_000)] * 9, 4),
        ([part(200_000)] * 9, 1),
        ([part(65_535), part(1), part(1)], 2),
        ([part(0, more=False)], 1),
        ([{"type": "http.request"}], 1),
        ([{"type": "http.disconnect"}], 1),
        ([part(10), {"type": "http.disconnect"}], 2),
        ([part(10), OSError("reset")], 2),
        ([{}], 1),
        ([None], 1),
    ],
)
def test_at_most_64_kib_of_a_body_are_read(messages: list[Any], expected: int) -> None:
    answer, received = refused(post(LENGTH), *messages)
    assert (answer.status, received) == (403, expected)


@pytest.mark.parametrize(
    "scope",
    [
        http("/", SCRAPER),
        post(),
        post((b"content-length", b"0")),
        post((b"Content-Length", b"0")),
        post(LENGTH, (b"expect", b"100-continue")),
        post((b"Expect", b"100-Continue"), LENGTH),
        http("/", SCRAPER, http_version="2"),
        http("/", SCRAPER, http_version="2", method="HEAD"),
        post((b"content-length", b"0"), http_version="2"),
    ],
)
def test_nothing_is_read_where_no_body_comes_or_where_reading_would_invite_it(scope: Any) -> None:
    answer, received = refused(scope)
    assert (answer.status, received) == (403, 0)


@pytest.mark.parametrize(
    "scope",
    [
        post((b"transfer-encoding", b"chunked")),
        post((b"Transfer-Encoding", b"chunked")),
        http("/", SCRAPER, LENGTH),
        post(http_version="2"),
        http("/", SCRAPER, http_version="2", method="delete"),
        post(http_version="3"),
    ],
)
def test_a_body_is_read_however_it_is_announced(scope: Any) -> None:
    answer, received = refused(scope, part(5), part(5, more=False))
    assert (answer.status, received) == (403, 2)


@pytest.mark.parametrize("messages", [[], [part(10)]])
def test_a_client_that_does_not_send_its_body_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, messages: Any) -> None:
    monkeypatch.setattr(asgi, "UNREAD_SECONDS", 0.05)
    answer, received = refused(post(LENGTH), *messages, silent=True)
    assert (answer.status, received) == (403, len(messages))


def test_a_request_that_is_let_in_keeps_its_body() -> None:
    answer, received = refused(post(LENGTH, user_agent=BROWSER), part(10))
    assert (answer.status, received) == (200, 0)


def test_who_stops_waiting_is_obeyed() -> None:
    async def story() -> None:
        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            raise AssertionError(message)

        task = asyncio.create_task(guarded(answering())(post(LENGTH), receive, send))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())


@pytest.fixture(scope="module", params=SERVERS)
def site(request: pytest.FixtureRequest, server: Any) -> Iterator[Server]:
    running = server(request.param, "torture_app:app", HERE)
    yield running
    running.stop()


def test_a_refusal_reaches_who_sends_a_body_first(site: Server) -> None:
    head = (
        b"POST /echo HTTP/1.1\r\nHost: x\r\nUser-Agent: %b\r\nConnection: close\r\nContent-Length: 60000\r\n\r\n"
        % SCRAPER
    )
    for _ in range(5):
        answer = parsed(exchanged(site.port, head + b"x" * 60_000))
        assert (answer.status, answer.complete) == (403, True)


@pytest.mark.parametrize("more", [b"", b"Expect: 100-continue\r\n"])
def test_a_refusal_reaches_who_never_sends_the_body(site: Server, more: bytes) -> None:
    if site.kind == "daphne":
        pytest.skip("daphne calls the app when it has the whole body")
    if more and site.kind == "hypercorn":
        pytest.skip("hypercorn invites every body by itself, before it calls the app")
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nUser-Agent: %b\r\n%bContent-Length: 60000\r\n\r\n" % (SCRAPER, more)
    assert exchanged(site.port, head, until=b"\r\n\r\n").startswith(b"HTTP/1.1 403")


@pytest.fixture(scope="module")
def h2_site(server: Any) -> Iterator[Server]:
    require("h2", "hypercorn")
    running = server("hypercorn", "torture_app:app", HERE)
    yield running
    running.stop()


@pytest.mark.parametrize(("size", "announced"), [(1000, True), (60_000, False), (65_535, True)])
def test_a_refused_upload_leaves_the_other_streams_of_a_connection_alone(
    h2_site: Server, size: int, announced: bool
) -> None:
    """A proxy in front sends the requests of many clients on one connection. hypercorn 0.18 ends it when a body goes on
    behind the response to it."""
    listener, upload = _two_streams(h2_site.port, size, announced)
    assert listener == (b"200", b"data: 1\n\ndata: 2\n\n")
    assert upload == b"403"


def _two_streams(port: int, size: int, announced: bool) -> tuple[tuple[bytes, bytes], bytes]:
    """Send a listener's request, then a refused upload whose body comes a moment after its head, on one connection.

    Return status and body of the first, and the status of the second.
    """
    import h2.connection
    import h2.events

    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    common = [(":scheme", "http"), (":authority", "music.example")]
    listener = [(":method", "GET"), (":path", "/slow"), *common, ("user-agent", BROWSER.decode())]
    upload = [(":method", "POST"), (":path", "/echo"), *common, ("user-agent", SCRAPER.decode())]
    if announced:
        upload.append(("content-length", str(size)))
    statuses: dict[int, bytes] = {}
    bodies: dict[int, bytes] = {1: b"", 3: b""}
    ended: set[int] = set()
    with socket.create_connection(("127.0.0.1", port), 20) as link:
        connection.send_headers(1, listener, end_stream=True)
        connection.send_headers(3, upload)
        link.sendall(connection.data_to_send())
        left = size
        while ended < {1, 3} and (data := link.recv(65536)):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    statuses[event.stream_id] = dict(event.headers)[b":status"]
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    ended.add(event.stream_id)
            while left and (
                now := min(left, connection.local_flow_control_window(3), connection.max_outbound_frame_size)
            ):
                time.sleep(0.005)  # so that the server has done what it does with the head
                left -= now
                connection.send_data(3, b"x" * now, end_stream=not left)
                link.sendall(connection.data_to_send())
            link.sendall(connection.data_to_send())
    return (statuses.get(1, b""), bodies[1]), statuses.get(3, b"")
