"""A WSGI app for several workers: says which one answered."""

import os
from typing import Any

from noai_guard import NoAIWSGIMiddleware
from noai_guard.observability.metrics_wsgi_app import metrics_wsgi_app

metrics = metrics_wsgi_app()
BODY = b"x" * 1000


def bare(environ: Any, start_response: Any) -> Any:
    headers = [("Content-Type", "audio/mpeg"), ("Content-Length", "1000"), ("X-Worker", str(os.getpid()))]
    start_response("200 OK", headers)
    return [BODY]


guarded = NoAIWSGIMiddleware(bare)


def app(environ: Any, start_response: Any) -> Any:
    return (metrics if environ["PATH_INFO"] == "/metrics" else guarded)(environ, start_response)
