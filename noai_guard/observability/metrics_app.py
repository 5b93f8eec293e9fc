"""/metrics for Prometheus, where the site wants it: `app.mount("/metrics", metrics_app())`."""

from collections.abc import Awaitable, Callable, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import REGISTRY, CollectorRegistry, make_asgi_app, make_wsgi_app

from noai_guard.asgi_types import Receive, Scope, Send
from noai_guard.observability.metrics import Telemetry
from noai_guard.observability.multiprocess import registry_of_workers

_READ = (b"accept", b"accept-encoding")


def metrics_app(registry: CollectorRegistry | None = None) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI app that answers with all metrics of `registry` (the default one when None).

    With several workers, set PROMETHEUS_MULTIPROC_DIR to an empty folder before they start: then whichever worker
    is asked answers for all of them, and files of dead workers are put together when there are many.
    Raises ValueError when that is no folder.
    """
    telemetry = Telemetry.of(registry)
    answer = make_asgi_app(registry_of_workers() or registry or REGISTRY)

    async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            return
        telemetry.flush()
        # prometheus_client decodes all of it as UTF-8 and fails where that is wrong.
        asked = {
            **scope,
            "query_string": scope.get("query_string", b"").decode("ascii", "ignore").encode(),
            "headers": [
                (name.lower(), value.decode("ascii", "ignore").encode())
                for name, value in scope["headers"]
                if name.lower() in _READ
            ],
        }
        await answer(asked, receive, send)

    return metrics


def metrics_wsgi_app(registry: CollectorRegistry | None = None) -> WSGIApplication:
    """As `metrics_app`, a WSGI app."""
    telemetry = Telemetry.of(registry)
    answer: WSGIApplication = make_wsgi_app(registry_of_workers() or registry or REGISTRY)

    def metrics(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        telemetry.flush()
        return answer(environ, start_response)

    return metrics
