"""What servers that run the judge in Lua do beside what every server does."""

from collections.abc import Iterator

import pytest
from conformance import ask
from test_running_servers import BROWSER, GPTBOT, RICH, Edge, declared, disagreements, origin_port, policy, started
from web_servers import SERVERS

from noai_guard.loading import load_stance
from tests.servers import free_port

__all__ = ["origin_port"]

LUA_SERVERS = [key for key in SERVERS if key.partition(" ")[0] in ("haproxy", "lighttpd", "envoy")]


@pytest.fixture(scope="module", params=LUA_SERVERS)
def plain(request, origin_port) -> Iterator[Edge]:
    yield from started(request.param, load_stance("no-ai"), origin_port)


@pytest.fixture(scope="module", params=LUA_SERVERS)
def rich(request, origin_port) -> Iterator[Edge]:
    yield from started(request.param, policy(RICH), origin_port)


@pytest.mark.parametrize("name", [b"X-NoAI-Verdict", b"x-noai-verdict", b"X_NoAI_Verdict", b"X-NoAI_Verdict"])
def test_the_backend_is_told_the_verdict_and_no_client_can_tell_it(rich: Edge, name: bytes) -> None:
    spoofed = [name + b": allow; agent=me"]
    assert ask(rich.port, "/echo", BROWSER, headers=spoofed).body == b"allow\n"
    assert ask(rich.port, "/echo", b"", headers=spoofed).body == b"allow\n"
    assert ask(rich.port, "/echo", BROWSER, b"POST", [*spoofed, b"Content-Length: 0"]).body == b"allow\n"


def test_of_two_user_agents_each_counts(plain: Edge) -> None:
    assert ask(plain.port, "/index.html", BROWSER, headers=[b"User-Agent: GPTBot/1.0"]).status in (400, 403)
    assert ask(plain.port, "/index.html", b"GPTBot/1.0", headers=[b"User-Agent: " + BROWSER]).status in (400, 403)


def test_a_document_is_only_fetched(plain: Edge) -> None:
    assert ask(plain.port, "/robots.txt", GPTBOT, b"HEAD").status == 200
    assert ask(plain.port, "/robots.txt", GPTBOT, b"HEAD").body == b""
    assert ask(plain.port, "/robots.txt", GPTBOT, b"POST", [b"Content-Length: 0"]).status == 403


def test_what_comes_after_a_fragment_does_not_hide_a_path(rich: Edge) -> None:
    for path in ("/tracks/song.mp3#/../../health", "/index.html#/../health"):
        assert ask(rich.port, path, GPTBOT).status in (400, 403)


@pytest.mark.parametrize("key", LUA_SERVERS)
def test_an_exempt_address_is_let_in(key, origin_port) -> None:
    for exempting in started(key, policy(b"extends: no-ai\nexemptions: {addresses: [127.0.0.0/8, 2001:db8::/32]}\n"), origin_port):
        assert ask(exempting.port, "/index.html", GPTBOT).status == 200


@pytest.mark.parametrize("key", LUA_SERVERS)
def test_everybody_can_be_refused_but_documents_stay(key, origin_port) -> None:
    rules = b"rules: [{id: friends, agents: [GPTBot], action: allow}, {id: closed, action: deny}]"
    for closed in started(key, policy(b"extends: no-ai\n" + rules), origin_port):
        assert ask(closed.port, "/robots.txt", BROWSER).status == 200
        agents = (BROWSER, b"", GPTBOT, b"SomeNewBot/1.0", b"curl/8.0", b"CCBot/2.0", b"Googlebot/2.1")
        assert not disagreements(closed, [("/index.html", user_agent) for user_agent in agents])


@pytest.mark.parametrize("key", LUA_SERVERS)
def test_the_servers_own_errors_declare(key) -> None:
    for broken in started(key, load_stance("no-ai"), free_port()):
        answer = ask(broken.port, "/index.html", BROWSER)
        assert answer.status in (502, 503, 504)
        assert not declared(broken) - set(answer.headers)
