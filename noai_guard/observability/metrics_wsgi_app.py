"""/metrics for Prometheus as a WSGI app."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app

from noai_guard.observability.metrics import Metrics
from noai_guard.observability.multiprocess import registry_of_workers


def metrics_wsgi_app(registry: CollectorRegistry | None = None) -> WSGIApplication:
    """Return a WSGI app that answers with all metrics of `registry` (the default one when None).

    With several workers, set PROMETHEUS_MULTIPROC_DIR to an empty folder before they start: then whichever worker is
    asked answers for all of them.
    """
    metrics = Metrics.of(registry)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        metrics.flush()
        answer: WSGIApplication = make_wsgi_app(registry_of_workers() or registry or REGISTRY)
        return answer(environ, start_response)

    return app
