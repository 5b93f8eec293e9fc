"""The whole WSGI middleware in process, on bare Bottle and Flask routes."""

from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any
from wsgiref.types import WSGIApplication, WSGIEnvironment

import bottle
from flask import Flask, Response
from prometheus_client import CollectorRegistry

from benchmarks.measure import Batch, Effort, Row, interleaved, percent_added
from benchmarks.requests import BROWSER, BROWSER_HEADERS
from benchmarks.sites import PAGE
from benchmarks.visitors import unique
from noai_guard import NoAIWSGIMiddleware


def bottle_bare() -> WSGIApplication:
    def text() -> bytes:
        bottle.response.content_type = "text/plain"
        return b"Hello"

    site = bottle.Bottle()
    site.get("/text", callback=text)
    site.get("/", callback=lambda: PAGE)
    app: WSGIApplication = site
    return app


def flask_bare() -> WSGIApplication:
    site = Flask(__name__)
    site.add_url_rule("/text", "text", lambda: Response(b"Hello", mimetype="text/plain"))
    site.add_url_rule("/", "page", lambda: Response(PAGE, mimetype="text/html"))
    return site.wsgi_app


def guarded(app: WSGIApplication) -> WSGIApplication:
    return NoAIWSGIMiddleware(app, registry=CollectorRegistry())


def environ(path: str, user_agent: bytes = BROWSER) -> WSGIEnvironment:
    """A browser's page load with 11 headers, as gunicorn hands it over."""
    named = {f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode() for name, value in BROWSER_HEADERS}
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "benchmark",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50000",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": None,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **named,
        "HTTP_USER_AGENT": user_agent.decode("latin-1"),
    }


def answered(app: WSGIApplication, environs: list[WSGIEnvironment], times: int) -> Batch:
    """A batch in which the app answers each request `times` times, each time in an environ of its own."""

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        return print

    def read(body: Iterable[bytes]) -> None:
        for _ in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()

    def batch() -> int:
        for _ in range(times):
            for asked in environs:
                read(app(dict(asked), start))
        return times * len(environs)

    return batch


def rows(effort: Effort) -> Iterator[Row]:
    rotating = [environ("/text", user_agent) for user_agent in unique({"browsers": 1.0}, 300)]
    known, page = [environ("/text")], [environ("/")]
    kinds = (("one user agent", known), ("300 user agents", rotating), ("an HTML page of 4 KB", page))
    for framework, bare in (("Bottle", bottle_bare()), ("Flask", flask_bare())):
        apps = {"bare": bare, "guarded": guarded(bare)}
        for what, environs in kinds:
            times = effort.of(900 // len(environs))
            timings = interleaved({name: answered(app, environs, times) for name, app in apps.items()}, effort.rounds)
            baseline = f"bare {framework} route"
            yield percent_added(f"{framework}: guard, {what}", timings["guarded"], timings["bare"], baseline)
