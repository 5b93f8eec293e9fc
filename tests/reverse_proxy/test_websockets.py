"""Websockets through the proxy, with real ends on both sides."""

import asyncio
import threading

import pytest

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from websockets.asyncio.client import connect  # noqa: E402
from websockets.asyncio.server import serve  # noqa: E402
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402

from tests.middleware.asgi_kit import SCRAPER  # noqa: E402
from tests.reverse_proxy.proxy_kit import Origin, proxying, wait_until  # noqa: E402


class Talker:
    """A websocket server that echoes, and does on request what servers do. `closed` is how its connections ended, by
    their path."""

    def __init__(self) -> None:
        self.requests = []
        self.closed = {}
        self.port = 0
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(10)

    async def _start(self) -> None:
        def select(connection, offered):
            return next((name for name in offered if name in ("chat", "feed")), None)

        options = {
            "select_subprotocol": select,
            "max_size": 2**25,
            "process_request": self._request,
            "ping_interval": None,
        }
        self.server = await serve(self._talk, "127.0.0.1", 0, **options)
        self.port = self.server.sockets[0].getsockname()[1]

    def _request(self, connection, request):
        self.requests.append(request)
        if request.path == "/closed":
            return connection.respond(401, "who are you?\n")
        return None

    async def _talk(self, connection) -> None:
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
        self.closed[connection.request.path] = connection.close_code, connection.close_reason


@pytest.fixture(scope="module")
def talker():
    return Talker()


@pytest.fixture(scope="module")
def proxy(talker):
    with proxying(f"http://127.0.0.1:{talker.port}") as running:
        yield running


def talk(proxy, work, path="/chat", **options):
    """Runs `work(connection)` on a websocket through the proxy."""

    async def talking():
        options.setdefault(
            "user_agent_header", "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
        )
        async with connect(f"ws://127.0.0.1:{proxy.port}{path}", proxy=None, max_size=2**25, **options) as connection:
            return await work(connection)

    return asyncio.run(asyncio.wait_for(talking(), 20))


@pytest.mark.parametrize("message", ["hello", "", "Björk ♫", b"\x00\xff", b"", b"x" * 1_000_000, "y" * 300_000])
def test_messages_go_both_ways_unchanged(proxy, message):
    async def echo(connection):
        await connection.send(message)
        return await connection.recv()

    assert talk(proxy, echo) == message


def test_a_message_in_pieces_is_one_message(proxy):
    async def pieces(connection):
        await connection.send(iter(["a", "b", "c"]))
        return await connection.recv()

    assert talk(proxy, pieces) == "abc"


def test_messages_keep_their_order(proxy):
    async def count(connection):
        await connection.send("count")
        return [await connection.recv() for _ in range(100)]

    assert talk(proxy, count) == [str(number) for number in range(100)]


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["feed", "chat"], "feed"), (["chat"], "chat"), (["other"], None), (None, None)]
)
def test_the_origin_chooses_the_subprotocol(proxy, offered, chosen):
    async def chosen_one(connection):
        return connection.subprotocol

    assert talk(proxy, chosen_one, subprotocols=offered) == chosen


def test_the_origin_sees_the_visitors_request(talker, proxy):
    async def nothing(connection):
        pass

    talk(
        proxy,
        nothing,
        "//a%2Fb;c?q=%20",
        origin="https://music.example",
        additional_headers={"Cookie": "a=1", "X-Forwarded-For": "6.6.6.6"},
    )
    request = talker.requests[-1]
    assert request.path == "//a%2Fb;c?q=%20"
    assert (request.headers["Origin"], request.headers["Cookie"]) == ("https://music.example", "a=1")
    assert request.headers["Host"] == f"127.0.0.1:{proxy.port}"
    assert request.headers.get_all("X-Forwarded-For") == ["127.0.0.1"]
    assert request.headers["Connection"] == "Upgrade"


@pytest.mark.parametrize(
    ("code", "reason", "seen"), [(1000, "", (1000, "")), (4000, "bye", (4000, "bye")), (1001, "", (1001, ""))]
)
def test_the_clients_close_reaches_the_origin(talker, proxy, code, reason, seen):
    async def close(connection):
        await connection.close(code, reason)

    talk(proxy, close, f"/closed-with-{code}")
    wait_until(lambda: f"/closed-with-{code}" in talker.closed)
    assert talker.closed[f"/closed-with-{code}"] == seen


def closes(proxy, message):
    async def close(connection):
        await connection.send(message)
        with pytest.raises(ConnectionClosed):
            await connection.recv()
        return connection.close_code, connection.close_reason

    return talk(proxy, close)


def test_the_origins_close_reaches_the_client(proxy):
    assert closes(proxy, "leave") == (4001, "as you wish")


def test_an_origin_that_dies_is_a_bad_gateway_for_the_client(proxy):
    assert closes(proxy, "die")[0] == 1014


def test_a_client_that_dies_goes_away_for_the_origin(talker, proxy):
    async def die(connection):
        await connection.send("x")
        await connection.recv()
        connection.transport.abort()

    talk(proxy, die, "/died")
    wait_until(lambda: "/died" in talker.closed)
    assert talker.closed["/died"][0] in (1000, 1001)


def test_a_handshake_that_the_origin_refuses_is_refused_with_its_answer(proxy):
    with pytest.raises(InvalidStatus) as refused:
        talk(proxy, None, "/closed")
    assert refused.value.response.status_code == 401
    assert refused.value.response.body == b"who are you?\n"


def test_a_handshake_of_a_scraper_never_reaches_the_origin(talker, proxy):
    before = len(talker.requests)
    with pytest.raises(InvalidStatus) as refused:
        talk(proxy, None, user_agent_header=SCRAPER.decode())
    assert refused.value.response.status_code == 403
    assert len(talker.requests) == before


def test_a_redirect_of_a_handshake_is_the_clients_to_follow():
    origin = Origin()
    origin.page("/moved", lambda visit: visit.answer(b"", b"location: http://elsewhere.example/", status=b"302 Found"))
    with proxying(f"http://127.0.0.1:{origin.port}") as running:
        answer = running.fetch(
            "/moved",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            b"Connection: Upgrade",
        )
    assert (answer.status, answer.values(b"location")) == (302, [b"http://elsewhere.example/"])
    origin.close()


def test_an_upstream_that_breaks_off_within_the_handshake_is_a_bad_gateway():
    origin = Origin()
    origin.page("/chat", lambda visit: visit.reset())
    origin.page(
        "/odd",
        lambda visit: visit.say(
            b"HTTP/1.1 101 Odd\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n"
        ),
    )
    with proxying(f"http://127.0.0.1:{origin.port}") as running:
        for path in ("/chat", "/odd"):
            with pytest.raises(InvalidStatus) as refused:
                talk(running, None, path)
            assert refused.value.response.status_code == 502
    origin.close()


def test_a_dead_upstream_refuses_the_handshake():
    origin = Origin()
    origin.close()
    with proxying(f"http://127.0.0.1:{origin.port}") as running, pytest.raises(InvalidStatus) as refused:
        talk(running, None)
    assert refused.value.response.status_code == 502
