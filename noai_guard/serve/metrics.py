"""/metrics for Prometheus, where the site wants it: `app.mount("/metrics", metrics_app())`."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, make_asgi_app
from prometheus_client.multiprocess import MultiProcessCollector

from noai_guard.telemetry import Telemetry

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def metrics_app(registry: CollectorRegistry | None = None) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI app that answers with all metrics of `registry` (the default one when None).

    With several workers, set PROMETHEUS_MULTIPROC_DIR to an empty folder before they start: then whichever worker
    is asked answers for all of them.
    """
    telemetry = Telemetry.of(registry)
    shown = registry or REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        shown = CollectorRegistry()
        MultiProcessCollector(shown)  # type: ignore[no-untyped-call]
    answer = make_asgi_app(shown)

    async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
        telemetry.fold()
        await answer(scope, receive, send)

    return metrics
