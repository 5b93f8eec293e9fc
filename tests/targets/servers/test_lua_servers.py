"""Servers that run the judge in Lua: the tests that not every server has."""

import hashlib
import socket
from collections.abc import Iterator
from threading import Thread

import pytest

from tests.servers import accepting, free_port, require
from tests.targets.conformance import BROWSER, GPTBOT, NO_AI, RICH, fetch, policy
from tests.targets.web_servers import SERVERS, RunningServer, declared, disagreements, started

LUA_SERVERS = [key for key in SERVERS if key.partition(" ")[0] in ("haproxy", "lighttpd", "envoy")]


@pytest.fixture(scope="module", params=LUA_SERVERS)
def plain(request: pytest.FixtureRequest, origin_port: int) -> Iterator[RunningServer]:
    yield from started(request.param, NO_AI, origin_port)


@pytest.fixture(scope="module", params=LUA_SERVERS)
def rich(request: pytest.FixtureRequest, origin_port: int) -> Iterator[RunningServer]:
    yield from started(request.param, policy(RICH), origin_port)


@pytest.mark.parametrize("name", [b"X-NoAI-Verdict", b"x-noai-verdict", b"X_NoAI_Verdict", b"X-NoAI_Verdict"])
def test_the_backend_gets_the_verdict_and_no_client_can_set_it(rich: RunningServer, name: bytes) -> None:
    spoofed = [name + b": allow; agent=me"]
    assert fetch(rich.port, "/echo", BROWSER, headers=spoofed).body == b"allow\n"
    assert fetch(rich.port, "/echo", b"", headers=spoofed).body == b"allow\n"
    assert fetch(rich.port, "/echo", BROWSER, b"POST", [*spoofed, b"Content-Length: 0"]).body == b"allow\n"


def test_each_of_two_user_agent_lines_counts(plain: RunningServer) -> None:
    assert fetch(plain.port, "/index.html", BROWSER, headers=[b"User-Agent: GPTBot/1.0"]).status in (400, 403)
    assert fetch(plain.port, "/index.html", b"GPTBot/1.0", headers=[b"User-Agent: " + BROWSER]).status in (400, 403)


def test_documents_respond_only_to_get_and_head(plain: RunningServer) -> None:
    assert fetch(plain.port, "/robots.txt", GPTBOT, b"HEAD").status == 200
    assert fetch(plain.port, "/robots.txt", GPTBOT, b"HEAD").body == b""
    assert fetch(plain.port, "/robots.txt", GPTBOT, b"POST", [b"Content-Length: 0"]).status == 403


def test_dot_segments_after_a_fragment_do_not_hide_the_path(rich: RunningServer) -> None:
    for path in ("/tracks/song.mp3#/../../health", "/index.html#/../health"):
        assert fetch(rich.port, path, GPTBOT).status in (400, 403)


@pytest.mark.parametrize("key", LUA_SERVERS)
def test_an_exempt_address_is_allowed(key: str, origin_port: int) -> None:
    for exempting in started(
        key, policy(b"extends: no-ai\nexemptions: {addresses: [127.0.0.0/8, 2001:db8::/32]}\n"), origin_port
    ):
        assert fetch(exempting.port, "/index.html", GPTBOT).status == 200


@pytest.mark.parametrize("key", LUA_SERVERS)
def test_everybody_can_be_refused_except_for_documents(key: str, origin_port: int) -> None:
    rules = b"rules: [{id: friends, agents: [GPTBot], action: allow}, {id: closed, action: deny}]"
    for closed in started(key, policy(b"extends: no-ai\n" + rules), origin_port):
        assert fetch(closed.port, "/robots.txt", BROWSER).status == 200
        agents = (BROWSER, b"", GPTBOT, b"SomeNewBot/1.0", b"curl/8.0", b"CCBot/2.0", b"Googlebot/2.1")
        assert not disagreements(closed, [("/index.html", user_agent) for user_agent in agents])


@pytest.mark.parametrize("key", LUA_SERVERS)
def test_error_responses_of_the_server_declare(key: str) -> None:
    for broken in started(key, NO_AI, free_port()):
        response = fetch(broken.port, "/index.html", BROWSER)
        assert response.status in (502, 503, 504)
        assert not declared(broken) - set(response.headers)


@pytest.mark.parametrize("key", LUA_SERVERS)
def test_websockets_work_in_both_directions_and_are_refused_like_other_requests(key: str) -> None:
    require("websockets")
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect
    from websockets.sync.server import ServerConnection, serve

    def send_back(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(send_back, "127.0.0.1", 0) as echo:
        Thread(target=echo.serve_forever, daemon=True).start()
        for server in started(key, NO_AI, echo.socket.getsockname()[1]):
            with connect(f"ws://127.0.0.1:{server.port}/live", user_agent_header=BROWSER.decode()) as connection:
                for message in ("la", "la " * 30_000):
                    connection.send(message)
                    assert connection.recv(10) == message
            with pytest.raises(InvalidStatus, match="403"):
                connect(f"ws://127.0.0.1:{server.port}/live", user_agent_header="GPTBot/1.0")


@pytest.mark.parametrize("key", LUA_SERVERS)
def test_an_upload_arrives_as_it_was_sent(key: str) -> None:
    body = bytes(range(256)) * 4096
    digests: list[str] = []

    def receive(connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            upload = stream.readline().startswith(b"POST")
            while stream.readline().strip():
                pass
            if upload:
                digests.append(hashlib.sha256(stream.read(len(body))).hexdigest())
            connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    with accepting(receive) as origin_port:
        for server in started(key, NO_AI, origin_port):
            with socket.create_connection(("127.0.0.1", server.port), 20) as client:
                head = f"POST /upload HTTP/1.1\r\nHost: music.example\r\nContent-Length: {len(body)}\r\n\r\n"
                client.sendall(head.encode() + body)
                assert client.recv(65536).startswith(b"HTTP/1.1 204")
    assert digests == [hashlib.sha256(body).hexdigest()]
