"""/metrics for Prometheus as an ASGI app: `app.mount("/metrics", metrics_app())`."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from noai_guard.asgi_types import App, Message, Receive, Scope, Send
from noai_guard.core.model import Verdict
from noai_guard.observability.metrics import Metrics, labels_of
from noai_guard.observability.multiprocess import registry_of_workers

_MAX_WRAPPERS = 64
"""More apps than wrap each other anywhere; an app may name itself as the one that it wraps."""


def metrics_app(registry: CollectorRegistry | None = None) -> App:
    """Return an ASGI app that answers with all metrics of `registry` (the default one when None).

    With several workers, set PROMETHEUS_MULTIPROC_DIR to an empty folder before they start: then whichever worker is
    asked answers for all of them.
    """
    metrics = Metrics.of(registry)

    def respond(request: Request) -> Response:
        metrics.flush()
        exposed = registry_of_workers() or registry or REGISTRY
        encode, content_type = choose_encoder(",".join(request.headers.getlist("accept")))
        names = request.query_params.getlist("name[]")
        # RestrictedRegistry collects as a registry does; prometheus_client annotates it as one from 0.24 on.
        chosen: CollectorRegistry = exposed.restricted_registry(names) if names else exposed  # type: ignore[assignment]
        return Response(encode(chosen), headers={"content-type": content_type})

    return _MetricsApp(http_app(respond), metrics)


class _MetricsApp(GZipMiddleware):
    """What metrics_app returns, to be found among the routes of an app."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        super().__init__(app)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await counted_as_scrape(super().__call__, self._metrics)(scope, receive, send)


def answer_without_slash(app: object) -> None:
    """Let every metrics_app() mounted in a Starlette or FastAPI app, or below its middleware `app`, also answer at its
    path without the slash. Never raises.

    Starlette redirects from there to the path with the slash, and to http also where TLS ends before it. A scraper that
    follows no redirect then records nothing while `up` is 1.
    """
    with suppress(Exception):  # an app of another framework: visitors must not notice
        routes = _first(app, lambda each: isinstance(getattr(each, "routes", None), list))
        if routes is not None:
            _add_routes(routes.routes)


def _add_routes(routes: list[Any]) -> None:
    for mount in [route for route in routes if isinstance(route, Mount)]:
        if _first(mount.app, lambda each: isinstance(each, _MetricsApp)) is None:
            if isinstance(mount.routes, list):
                _add_routes(mount.routes)
        elif not any(getattr(route, "path", "") == mount.path for route in routes if route is not mount):
            # As an ASGI app, not as a function: what the mount has around it stays around it.
            routes.insert(routes.index(mount) + 1, Route(mount.path, mount.app, include_in_schema=False))


def _first(app: Any, condition: Callable[[Any], bool]) -> Any:
    """Return the first of `app` and what it wraps that meets the condition, or None."""
    for _ in range(_MAX_WRAPPERS):
        if app is None or condition(app):
            return app
        app = getattr(app, "app", None)
    return None


def counted_as_scrape(app: App, metrics: Metrics) -> App:
    """Return `app`, whose judged requests are counted as scrapes too: the status page leaves them out."""

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        verdict = (scope.get("state") or {}).get("noai")
        if scope["type"] != "http" or not isinstance(verdict, Verdict):
            await app(scope, receive, send)
            return
        _, agent, _, usage, *_ = labels = labels_of(verdict)
        metrics.scrapes.labels(*labels).inc()
        sent = metrics.scrape_bytes.labels(agent, usage)

        async def count(message: Message) -> None:
            if message["type"] == "http.response.body":
                sent.inc(len(message.get("body", b"")))
            await send(message)

        await app(scope, receive, count)

    return counting


def http_app(respond: Callable[[Request], Response]) -> App:
    """Return an ASGI app that answers each HTTP request with `respond(request)`, closes WebSockets with 1008 and
    ignores the lifespan."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await respond(Request(scope))(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    return app
