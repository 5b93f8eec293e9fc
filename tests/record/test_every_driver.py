"""The same facts are in the log whichever way a request came."""

import io
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from noai_guard.core.model import Identity
from noai_guard.gateway.app import Gateway
from noai_guard.middleware.wsgi import NoAIWSGIMiddleware
from noai_guard.record.event_files import read_events
from tests.middleware.asgi_kit import SCRAPER, answering, ask, http
from tests.record.conftest import NAMED, POLICY


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "noai.yaml"
    file.write_text(
        f"{POLICY}events: {{addresses: full}}\ntrusted_proxies: {{peers: [127.0.0.1], header: x-forwarded-for}}\n"
    )
    return file


def records(guard, policy: Path) -> list:
    guard.runtime.recorder.close()
    return [event.record for event in read_events([policy.parent / "noai-events"])]


def environ(path: str, user_agent: bytes, **more) -> dict:
    return {
        "REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": "", "HTTP_HOST": "music.example",
        "HTTP_USER_AGENT": user_agent.decode("latin-1"), "REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.7",
        "SERVER_NAME": "music.example", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), **more,
    }  # fmt: skip


def whole(path: str, start):
    start("200 OK", [("Content-Type", "audio/mpeg")])
    return [b"12345"]


def in_chunks(path: str, start):
    start("206 Partial Content", [("Content-Type", "audio/mpeg")])
    yield b"123"
    yield b"45"


def a_file(path: str, start):
    start("200 OK", [("Content-Type", "audio/mpeg"), ("Content-Length", "5")])
    return _Wrapper(io.BytesIO(b"12345"))


class _Wrapper:
    def __init__(self, file) -> None:
        self.file = file

    def __iter__(self):
        return iter([self.file.read()])


@pytest.mark.parametrize(("app", "status"), [(whole, 200), (in_chunks, 206), (a_file, 200)])
def test_wsgi_notes_what_was_sent(policy: Path, app, status: int) -> None:
    guard = NoAIWSGIMiddleware(
        lambda environ, start: app(environ["PATH_INFO"], start), policy, registry=CollectorRegistry()
    )
    for path, user_agent in (("/robots.txt", SCRAPER), ("/audio/a.mp3", SCRAPER), ("/audio/b.mp3", NAMED)):
        body = guard(environ(path, user_agent, **{"wsgi.file_wrapper": _Wrapper}), lambda *_: lambda _: None)
        assert list(body)
        if hasattr(body, "close"):
            body.close()
    robots, refused, let_in = records(guard, policy)
    assert (robots.rule, robots.status) == ("declaration", 200)
    assert (refused.claim, refused.status, refused.work, refused.declared) == ("GPTBot", 403, "a", ("/robots.txt",))
    assert (let_in.claim, let_in.status, let_in.bytes, let_in.client) == ("Radioline", status, 5, "203.0.113.7")


def test_wsgi_notes_a_body_that_is_closed_early_and_an_app_that_raises(policy: Path) -> None:
    def app(environ, start):
        if environ["PATH_INFO"] == "/x":
            raise RuntimeError
        return in_chunks("", start)

    guard = NoAIWSGIMiddleware(app, policy, registry=CollectorRegistry())
    body: Any = guard(environ("/a", NAMED), lambda *_: lambda _: None)
    assert next(iter(body)) == b"123"
    body.close()
    body.close()
    with pytest.raises(RuntimeError):
        guard(environ("/x", NAMED), lambda *_: lambda _: None)
    noted = [(record.path, record.status, record.bytes) for record in records(guard, policy)]
    assert noted == [("/a", 206, 3), ("/x", None, None)]


def test_asgi_believes_the_proxy_that_the_policy_names(site, policy: Path) -> None:
    from noai_guard import NoAIMiddleware

    guard = NoAIMiddleware(answering(), policy, registry=CollectorRegistry())
    scope = http("/a", SCRAPER, client=("127.0.0.1", 5))
    scope["headers"].append((b"x-forwarded-for", b"198.51.100.1, 203.0.113.7"))
    ask(guard, scope)
    long = http("/b", SCRAPER, client=("127.0.0.1", 5))
    long["headers"].append((b"x-forwarded-for", b"1" * 5000 + b", 203.0.113.7"))
    ask(guard, long)
    assert [record.client for record in records(guard, policy)] == ["203.0.113.7", "203.0.113.7"]


def test_the_gateway_notes_what_it_knows(policy: Path) -> None:
    guard = Gateway(policy, registry=CollectorRegistry())
    for uri, user_agent in (
        (b"/robots.txt", SCRAPER),
        (b"/audio/a.mp3", SCRAPER),
        (b"/audio/b.mp3", NAMED),
        (b"\xff", SCRAPER),
    ):
        scope = http("/.noai/verify", user_agent, client=("127.0.0.1", 5))
        scope["headers"] += [
            (b"x-original-uri", uri),
            (b"x-original-method", b"GET"),
            (b"x-forwarded-for", b"203.0.113.7"),
            (b"x-forwarded-host", b"music.example"),
        ]
        ask(guard, scope)
    robots, refused, let_in, unread = records(guard, policy)
    assert (robots.rule, robots.status, robots.path) == ("declaration", None, "/robots.txt")
    assert (refused.status, refused.path, refused.client) == (403, "/audio/a.mp3", "203.0.113.7")
    assert refused.declared == ("/robots.txt",)
    assert (let_in.claim, let_in.status, let_in.bytes) == ("Radioline", None, None)
    assert unread.status == 403


def test_a_proof_by_networks_is_in_the_log(tmp_path: Path) -> None:
    from noai_guard import NoAIMiddleware

    file = tmp_path / "noai.yaml"
    file.write_text("identity: {networks: {Googlebot: [203.0.113.0/24]}}\nevents: {}\n")
    guard = NoAIMiddleware(answering(), file, registry=CollectorRegistry())
    for client in ("203.0.113.7", "8.8.8.8"):
        ask(
            guard,
            http("/a", b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", client=(client, 5)),
        )
    verified, spoofed = records(guard, file)
    assert (verified.identity, verified.proof, verified.status) == (Identity.VERIFIED, "networks", 200)
    assert (spoofed.identity, spoofed.proof, spoofed.status) == (Identity.SPOOFED, "networks", 403)
