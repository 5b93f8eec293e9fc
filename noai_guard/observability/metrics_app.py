"""/metrics for Prometheus as an ASGI app: `app.mount("/metrics", metrics_app())`."""

from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response

from noai_guard.asgi_types import App, Receive, Scope, Send
from noai_guard.observability.metrics import Metrics
from noai_guard.observability.multiprocess import registry_of_workers


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

    return GZipMiddleware(http_app(respond))


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
