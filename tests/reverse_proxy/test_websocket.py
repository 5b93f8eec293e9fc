"""Websockets through the proxy, with real ends on both sides."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from websockets.asyncio.client import ClientConnection, connect  # noqa: E402
from websockets.asyncio.server import ServerConnection, serve  # noqa: E402
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.http11 import Request, Response  # noqa: E402
from websockets.typing import Subprotocol  # noqa: E402

from noai_guard import uvicorn_adapter  # noqa: E402
from tests.middleware.asgi_kit import BROWSER, SCRAPER  # noqa: E402
from tests.reverse_proxy.proxy_kit import Origin, Proxy, running_proxy, wait_until  # noqa: E402


class WebSocketOrigin:
    """A websocket server that echoes, and does on request what servers do.

    `closed` holds the close code and the reason of its connections, by path.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.closed: dict[str, tuple[int | None, str | None]] = {}
        self.port = 0
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(10)

    async def _start(self) -> None:
        def select(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
            return next((name for name in offered if name in ("chat", "feed")), None)

        self.server = await serve(
            self._serve,
            "127.0.0.1",
            0,
            select_subprotocol=select,
            max_size=2**25,
            process_request=self._note_request,
            ping_interval=None,
        )
        self.port = next(iter(self.server.sockets)).getsockname()[1]

    def _note_request(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if request.path == "/closed":
            return connection.respond(401, "who are you?\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        try:
            async for message in connection:
                if message == "leave":
                    await connection.close(4001, "as you wish")
                elif message == "die":
                    connection.transport.abort()
                elif message == "count":
                    for number in range(100):
                        await connection.send(str(number))
                else:
                    await connection.send(message)
        except ConnectionClosed:
            pass
        assert connection.request is not None
        self.closed[connection.request.path] = connection.close_code, connection.close_reason


@pytest.fixture(scope="module")
def websocket_origin() -> WebSocketOrigin:
    return WebSocketOrigin()


@pytest.fixture(scope="module")
def proxy(websocket_origin: WebSocketOrigin) -> Iterator[Proxy]:
    with running_proxy(f"http://127.0.0.1:{websocket_origin.port}") as running:
        yield running


def talk(proxy: Proxy, work: Callable[[ClientConnection], Awaitable[Any]], path: str = "/chat", **options: Any) -> Any:
    """Run `work(connection)` on a websocket through the proxy."""

    async def talking() -> Any:
        options.setdefault("user_agent_header", BROWSER.decode())
        async with connect(f"ws://127.0.0.1:{proxy.port}{path}", proxy=None, max_size=2**25, **options) as connection:
            return await work(connection)

    return asyncio.run(asyncio.wait_for(talking(), 20))


@pytest.mark.parametrize("message", ["hello", "", "Björk ♫", b"\x00\xff", b"", b"x" * 1_000_000, "y" * 300_000])
def test_messages_go_both_ways_unchanged(proxy: Proxy, message: str | bytes) -> None:
    async def echo(connection: ClientConnection) -> Any:
        await connection.send(message)
        return await connection.recv()

    assert talk(proxy, echo) == message


def test_a_message_in_pieces_is_one_message(proxy: Proxy) -> None:
    async def pieces(connection: ClientConnection) -> Any:
        await connection.send(iter(["a", "b", "c"]))
        return await connection.recv()

    assert talk(proxy, pieces) == "abc"


def test_messages_keep_their_order(proxy: Proxy) -> None:
    async def count(connection: ClientConnection) -> Any:
        await connection.send("count")
        return [await connection.recv() for _ in range(100)]

    assert talk(proxy, count) == [str(number) for number in range(100)]


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["feed", "chat"], "feed"), (["chat"], "chat"), (["other"], None), (None, None)]
)
def test_the_origin_chooses_the_subprotocol(
    proxy: Proxy, offered: list[Subprotocol] | None, chosen: str | None
) -> None:
    async def chosen_one(connection: ClientConnection) -> Any:
        return connection.subprotocol

    assert talk(proxy, chosen_one, subprotocols=offered) == chosen


async def nothing(connection: ClientConnection) -> None: ...


def test_the_origin_gets_the_clients_request(websocket_origin: WebSocketOrigin, proxy: Proxy) -> None:
    talk(
        proxy,
        nothing,
        "//a%2Fb;c?q=%20",
        origin="https://music.example",
        additional_headers={"Cookie": "a=1", "X-Forwarded-For": "6.6.6.6"},
    )
    request = websocket_origin.requests[-1]
    assert request.path == "//a%2Fb;c?q=%20"
    assert (request.headers["Origin"], request.headers["Cookie"]) == ("https://music.example", "a=1")
    assert request.headers["Host"] == f"127.0.0.1:{proxy.port}"
    assert request.headers.get_all("X-Forwarded-For") == ["127.0.0.1"]
    assert request.headers["Connection"] == "Upgrade"


@pytest.mark.parametrize(
    ("code", "reason", "seen"), [(1000, "", (1000, "")), (4000, "bye", (4000, "bye")), (1001, "", (1001, ""))]
)
def test_the_clients_close_reaches_the_origin(
    websocket_origin: WebSocketOrigin, proxy: Proxy, code: int, reason: str, seen: tuple[int, str]
) -> None:
    async def close(connection: ClientConnection) -> Any:
        await connection.close(code, reason)

    talk(proxy, close, f"/closed-with-{code}")
    wait_until(lambda: f"/closed-with-{code}" in websocket_origin.closed)
    assert websocket_origin.closed[f"/closed-with-{code}"] == seen


def close_after(proxy: Proxy, message: str) -> Any:
    """Send a message. Return the close code and the reason that come back."""

    async def close(connection: ClientConnection) -> Any:
        await connection.send(message)
        with pytest.raises(ConnectionClosed):
            await connection.recv()
        return connection.close_code, connection.close_reason

    return talk(proxy, close)


def test_the_origins_close_reaches_the_client(proxy: Proxy) -> None:
    assert close_after(proxy, "leave") == (4001, "as you wish")


def test_an_origin_that_dies_is_a_bad_gateway_for_the_client(proxy: Proxy) -> None:
    assert close_after(proxy, "die")[0] == 1014


def test_a_client_that_dies_is_going_away_for_the_origin(websocket_origin: WebSocketOrigin, proxy: Proxy) -> None:
    async def die(connection: ClientConnection) -> Any:
        await connection.send("x")
        await connection.recv()
        connection.transport.abort()

    talk(proxy, die, "/died")
    wait_until(lambda: "/died" in websocket_origin.closed)
    assert websocket_origin.closed["/died"][0] in (1000, 1001)


def test_a_handshake_that_the_origin_refuses_is_refused_with_its_response(proxy: Proxy) -> None:
    with pytest.raises(InvalidStatus) as refused:
        talk(proxy, nothing, "/closed")
    assert refused.value.response.status_code == 401
    assert refused.value.response.body == b"who are you?\n"


def test_a_handshake_of_a_scraper_never_reaches_the_origin(websocket_origin: WebSocketOrigin, proxy: Proxy) -> None:
    before = len(websocket_origin.requests)
    with pytest.raises(InvalidStatus) as refused:
        talk(proxy, nothing, user_agent_header=SCRAPER.decode())
    assert refused.value.response.status_code == 403
    assert len(websocket_origin.requests) == before


def test_a_redirect_of_a_handshake_is_passed_on() -> None:
    origin = Origin()
    origin.route(
        "/moved", lambda request: request.respond(b"", b"location: http://elsewhere.example/", status=b"302 Found")
    )
    with running_proxy(f"http://127.0.0.1:{origin.port}") as running:
        response = running.fetch(
            "/moved",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            b"Connection: Upgrade",
        )
    assert (response.status, response.values(b"location")) == (302, [b"http://elsewhere.example/"])
    origin.close()


def test_an_upstream_that_breaks_off_within_the_handshake_is_a_bad_gateway() -> None:
    origin = Origin()
    origin.route("/chat", lambda request: request.reset())
    origin.route(
        "/odd",
        lambda request: request.send(
            b"HTTP/1.1 101 Odd\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n"
        ),
    )
    with running_proxy(f"http://127.0.0.1:{origin.port}") as running:
        for path in ("/chat", "/odd"):
            with pytest.raises(InvalidStatus) as refused:
                talk(running, nothing, path)
            assert refused.value.response.status_code == 502
    origin.close()


def test_a_dead_upstream_refuses_the_handshake() -> None:
    origin = Origin()
    origin.close()
    with running_proxy(f"http://127.0.0.1:{origin.port}") as running, pytest.raises(InvalidStatus) as refused:
        talk(running, nothing)
    assert refused.value.response.status_code == 502


def test_a_websocket_outlives_the_time_limit_of_heads(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_adapter, "HEAD_SECONDS", 0.1)

    async def echo_later(connection: ClientConnection) -> Any:
        await asyncio.sleep(0.5)
        await connection.send("still here")
        return await connection.recv()

    assert talk(proxy, echo_later) == "still here"
