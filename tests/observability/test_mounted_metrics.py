"""A mounted metrics_app() answers at its path with and without the slash, as Prometheus asks at /metrics."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route

from noai_guard import NoAIMiddleware, metrics_app
from noai_guard.asgi_types import App, Receive, Scope, Send
from noai_guard.observability.metrics_app import answer_without_slash
from tests.middleware.asgi_kit import BROWSER, ask, http


class Locked:
    """A middleware that lets nobody in."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("locked", 401)(scope, receive, send)


def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("the site's own")


def mounted(app: Any, path: str = "/metrics") -> Any:
    app.mount(path, metrics_app(CollectorRegistry()))
    return app


def added(app: Any) -> Any:
    app.add_middleware(NoAIMiddleware, registry=CollectorRegistry())
    return app


def around(app: Any) -> Any:
    return NoAIMiddleware(app, registry=CollectorRegistry())


def answer(app: Any, path: str) -> tuple[int, bool]:
    exchange = ask(app, http(path, BROWSER))
    return exchange.status, b"# HELP noai_requests_total" in exchange.body


@pytest.mark.parametrize("guarding", [added, around])
@pytest.mark.parametrize("framework", [Starlette, FastAPI])
@pytest.mark.parametrize("path", ["/metrics", "/internal/metrics"])
def test_mounted_metrics_answer_with_and_without_the_slash(
    framework: Callable[[], Any], guarding: Callable[[Any], Any], path: str
) -> None:
    app = guarding(mounted(framework(), path))
    assert answer(app, path) == answer(app, path + "/") == (200, True)
    assert answer(app, path + "x") == (404, False)


def test_metrics_mounted_in_a_mount_answer_without_the_slash() -> None:
    inner = [Mount("/metrics", metrics_app(CollectorRegistry()))]
    app = around(Starlette(routes=[Mount("/internal", routes=inner)]))
    assert answer(app, "/internal/metrics") == (200, True)


def test_metrics_as_a_route_answer_without_the_slash_and_without_the_guard() -> None:
    app = Starlette()
    app.add_route("/metrics", metrics_app(CollectorRegistry()))  # type: ignore[arg-type]
    assert answer(app, "/metrics") == (200, True)


def test_what_stands_around_the_mount_stands_around_the_path_without_the_slash() -> None:
    metrics = metrics_app(CollectorRegistry())
    app = around(Starlette(routes=[Mount("/metrics", metrics, middleware=[Middleware(Locked)])]))
    assert answer(app, "/metrics") == answer(app, "/metrics/") == (401, False)


@pytest.mark.parametrize("first", [True, False])
def test_a_page_of_the_site_at_that_path_stays(first: bool) -> None:
    routes: list[BaseRoute] = [Route("/metrics", page), Mount("/metrics", metrics_app(CollectorRegistry()))]
    app = around(Starlette(routes=routes if first else routes[::-1]))
    assert answer(app, "/metrics") == (200, False)
    assert answer(app, "/metrics/") == (200, True)


def test_other_mounts_redirect_as_before() -> None:
    app = around(Starlette(routes=[Mount("/files", PlainTextResponse("a file"))]))
    assert answer(app, "/files")[0] == 307


def test_the_path_is_added_once() -> None:
    app = mounted(Starlette())
    around(around(app))
    around(app)
    assert [route.path for route in app.routes] == ["/metrics", "/metrics"]


def test_the_path_without_the_slash_is_no_operation_of_the_api() -> None:
    app = added(mounted(FastAPI()))
    assert answer(app, "/metrics") == (200, True)
    assert app.openapi()["paths"] == {}


class Endless:
    @property
    def app(self) -> "Endless":
        return self


class Raising:
    @property
    def routes(self) -> list[Any]:
        raise RuntimeError("not now")


@pytest.mark.parametrize(
    "app", [None, Endless(), Raising(), object(), lambda: None], ids=lambda app: type(app).__name__
)
def test_an_app_of_any_kind_is_looked_at_without_harm(app: object) -> None:
    answer_without_slash(app)
