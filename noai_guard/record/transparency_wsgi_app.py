"""The transparency page as a WSGI app, for Flask, Django and others; `transparency_app` is the same for ASGI."""

from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from noai_guard.record.transparency_kept import KeptPage


def transparency_wsgi_app(
    policy: str | Path, events: str | Path, *, months: int = 12, refresh_seconds: float = 300
) -> WSGIApplication:
    """Return a WSGI app that shows refusals by operator of the last `months`, the policy and its history.

    `policy` is the policy file, `events` the folder of the event log. What they say is read at start and, while the
    page is asked for, every `refresh_seconds`. Raises PolicyInvalid if the policy cannot be used at start.
    """
    page = KeptPage(Path(policy), Path(events), months, refresh_seconds)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = [
            (key[5:].lower().replace("_", "-").encode("latin-1", "replace"), str(value).encode("latin-1", "replace"))
            for key, value in environ.items()
            if key.startswith("HTTP_")
        ]
        response = page.response(environ["REQUEST_METHOD"], headers)
        status = f"{response.status} {HTTPStatus(response.status).phrase}"
        start_response(
            status, [(name.decode("latin-1").title(), value.decode("latin-1")) for name, value in response.headers]
        )
        return [response.body]

    return app
