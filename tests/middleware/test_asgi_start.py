"""A policy that cannot be used at start: the server stops and says why; where it cannot be told, visitors get no 500."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from noai_guard import Invalid, NoAIMiddleware, NoAIWSGIMiddleware
from noai_guard.errors import PolicyInvalid
from noai_guard.observability.status_page import status_app
from tests.middleware.asgi_kit import BROWSER, SCRAPER, answering, ask, asked, http, metric
from tests.servers import Server, start_in_vain

BROKEN = "usages: {trian-ai: no}\nmode: nonsense\n"
MISTAKES = ("trian-ai", "nonsense")

LAZY = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from noai_guard import NoAIMiddleware

app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("hello"))])
app.add_middleware(NoAIMiddleware, policy="noai.yaml")
"""
DIRECT = LAZY.replace("app.add_middleware(NoAIMiddleware, ", "app = NoAIMiddleware(app, ")
CHECKED = LAZY + 'NoAIMiddleware.check("noai.yaml")\n'
WSGI = """
from noai_guard import NoAIWSGIMiddleware

def site(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]

app = NoAIWSGIMiddleware(site, policy="noai.yaml")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "noai.yaml").write_text(BROKEN)
    for name, text in (("lazy", LAZY), ("direct", DIRECT), ("checked", CHECKED), ("wsgi_site", WSGI)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def site(**options: Any) -> Starlette:
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("hello"))])
    app.add_middleware(NoAIMiddleware, registry=CollectorRegistry(), **options)
    return app


@pytest.mark.parametrize("app", ["lazy:app", "direct:app"])
@pytest.mark.parametrize(
    "kind", ["uvicorn-h11", "uvicorn-httptools", "hypercorn", "granian", "gunicorn-asgi", "daphne", "no lifespan"]
)
def test_a_server_does_not_start_with_a_policy_that_cannot_be_used(
    folder: Path, server: Callable[..., Server], kind: str, app: str
) -> None:
    if kind in ("daphne", "no lifespan"):  # nobody can be told at start
        options = () if kind == "daphne" else ("--lifespan=off",)
        running = server("daphne" if kind == "daphne" else "uvicorn-h11", app, folder, options=options)
        try:
            statuses = [answer_of(running, user_agent) for user_agent in (BROWSER, SCRAPER, BROWSER)]
        finally:
            running.stop()
        log = running.log.read_text()
        assert statuses == [200, 403, 200]
        assert "Traceback" not in log
    else:
        log = start_in_vain(kind, app, folder)
    assert all(mistake in log for mistake in MISTAKES), log


def answer_of(running: Server, user_agent: bytes) -> int:
    from tests.raw_http import exchanged, parsed

    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: %b\r\n\r\n" % user_agent
    return parsed(exchanged(running.port, request)).status


@pytest.mark.parametrize(
    ("kind", "app"),
    [("uvicorn-h11", "checked:app"), ("daphne", "checked:app"), ("waitress", "wsgi_site:app"),
     ("gunicorn-sync", "wsgi_site:app"), ("granian-wsgi", "wsgi_site:app")],
)  # fmt: skip
def test_a_check_at_import_and_wsgi_stop_every_server(folder: Path, kind: str, app: str) -> None:
    log = start_in_vain(kind, app, folder)
    assert all(mistake in log for mistake in MISTAKES), log


@pytest.mark.parametrize("middleware", [NoAIMiddleware, NoAIWSGIMiddleware])
def test_check_raises_with_every_problem(tmp_path: Path, middleware: Any) -> None:
    file = tmp_path / "noai.yaml"
    file.write_text(BROKEN)
    with pytest.raises(PolicyInvalid) as raised:
        middleware.check(file)
    assert len(raised.value.problems) == 2
    with pytest.raises(PolicyInvalid, match="P001 cannot be read"):
        middleware.check(str(tmp_path / "none.yaml"))
    file.write_text("mode: monitor\n")
    middleware.check(file)
    middleware.check()


def test_startup_fails_with_every_problem_and_the_app_is_not_started(tmp_path: Path) -> None:
    file = tmp_path / "noai.yaml"
    file.write_text(BROKEN)
    called: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope)

    guard = NoAIMiddleware(app, file, registry=CollectorRegistry())
    exchange = asyncio.run(asked(guard, {"type": "lifespan"}, [{"type": "lifespan.startup"}]))
    (message,) = exchange.messages
    assert message["type"] == "lifespan.startup.failed"
    assert all(mistake in message["message"] for mistake in MISTAKES)
    assert isinstance(exchange.error, Invalid)
    assert called == []


def test_a_test_client_with_lifespan_raises_the_problems(folder: Path) -> None:
    with pytest.raises(Invalid, match="trian-ai"), TestClient(site(policy=folder / "noai.yaml")):
        pass


@pytest.mark.parametrize("name", ["noai.yaml", "none.yaml", ".", "a\0b", "fifo"])
def test_visitors_get_no_error_where_nobody_asks_by_lifespan(folder: Path, name: str, make_fifo: Any) -> None:
    make_fifo(folder / "fifo")
    client = TestClient(site(policy=f"{folder}/{name}"))
    statuses = [client.get("/", headers={"user-agent": agent.decode()}).status_code for agent in (BROWSER, SCRAPER)]
    assert statuses == [200, 403]


@pytest.mark.parametrize("policy", [{"mode": "monitor"}, 7, ["noai.yaml"]])
def test_a_policy_of_a_wrong_type_is_no_error_for_visitors(policy: Any) -> None:
    client = TestClient(site(policy=policy))
    assert client.get("/").status_code == 200
    with pytest.raises(TypeError), TestClient(site(policy=policy)):
        pass


def test_a_mounted_app_is_guarded_by_the_packaged_stance(folder: Path) -> None:
    guarded = Middleware(NoAIMiddleware, policy=folder / "noai.yaml", registry=CollectorRegistry())
    inner = Starlette(routes=[Route("/", lambda request: PlainTextResponse("hello"))], middleware=[guarded])
    with TestClient(Starlette(routes=[Mount("/shop", inner)])) as client:
        assert client.get("/shop/").status_code == 200
        assert client.get("/shop/", headers={"user-agent": SCRAPER.decode()}).status_code == 403


@pytest.mark.usefixtures("impatient")
def test_the_packaged_stance_is_declared_logged_each_minute_and_shown(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = CollectorRegistry()
    guard = NoAIMiddleware(answering(), folder / "noai.yaml", registry=registry)
    page = status_app(registry)
    for _ in range(5):
        assert b"tdm-reservation" in dict(ask(guard, http()).headers)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert all(mistake in errors[0].getMessage() for mistake in MISTAKES)
    assert metric(guard, "reload_failed") == 1
    assert '"reload_failed": true' in ask(page, http("/", BROWSER, (b"accept", b"application/json"))).text
    monkeypatch.setattr("noai_guard.middleware.reports._COMPLAINT_SECONDS", 0.0)
    guard.runtime.reports._next_complaint = 0.0
    guard.runtime._next_housekeeping = 0.0
    ask(guard, http())
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 2

    (folder / "noai.yaml").write_text("mode: monitor\n")
    assert guard.runtime.reload()
    assert metric(guard, "reload_failed") == 0
    assert ask(guard, http(user_agent=SCRAPER)).status == 200
    asyncio.run(asked(guard, {"type": "lifespan"}))  # passed on to the app again


def test_an_installation_without_rules_refuses_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("noai_guard.config.rules_folder", lambda: tmp_path / "nowhere")
    client = TestClient(site())
    statuses = [client.get("/", headers={"user-agent": agent.decode()}).status_code for agent in (BROWSER, SCRAPER)]
    assert statuses == [200, 200]
    assert "P001 cannot be read" in caplog.text
    with pytest.raises(Invalid):
        NoAIMiddleware.check()
