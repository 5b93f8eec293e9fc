"""Raw WSGI calls: an environ in, what reached the server out. With PEP 3333's own checks on both sides of the guard."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from typing import Any
from wsgiref.types import WSGIApplication, WSGIEnvironment
from wsgiref.validate import validator

from prometheus_client import CollectorRegistry

from noai_guard import NoAIWSGIMiddleware
from tests.middleware.asgi_kit import BROWSER, policy


def guarded(app: Any, text: str | None = None, *, checked: bool = True, **options: Any) -> NoAIWSGIMiddleware:
    """The guard around an app, which is checked for what PEP 3333 asks of apps, and the guard for what it asks of
    servers; not `checked`, the app gets and gives the very same objects."""
    options.setdefault("registry", CollectorRegistry())
    return NoAIWSGIMiddleware(validator(app) if checked else app, policy(text) if text else None, **options)


def http(path: str = "/", user_agent: bytes | None = BROWSER, **keys: Any) -> WSGIEnvironment:
    """The environ of a request for a path (its characters as UTF-8). Other keys as they are named there."""
    asked = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "203.0.113.7",
        "REMOTE_PORT": "50000",
        "HTTP_HOST": "music.example",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": BytesIO(),
        "wsgi.errors": StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if user_agent is not None:
        asked["HTTP_USER_AGENT"] = user_agent.decode("latin-1")
    return {**asked, **keys}


@dataclass
class Exchange:
    """What one call gave the server. `starts` are the calls of start_response; `events` what happened, in order."""

    starts: list[tuple[str, list[tuple[str, str]], Any]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    returned: Any = None
    error: BaseException | None = None

    @property
    def status(self) -> int:
        return int(self.starts[-1][0][:3])

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.starts[-1][1]]

    def values(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.headers if field.lower() == name]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(app: WSGIApplication, environ: WSGIEnvironment, *, checked: bool = True, most: int | None = None) -> Exchange:
    """One call, read to its end or up to `most` chunks, and closed, as a server does it."""
    exchange = Exchange()

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        exchange.starts.append((status, headers, exc_info))
        if exc_info and any(exchange.chunks):
            raise exc_info[1]
        return exchange.chunks.append

    try:
        body: Iterable[bytes] = (validator(app) if checked else app)(environ, start)
        exchange.returned = body
        try:
            for chunk in body:
                exchange.chunks.append(chunk)
                if len(exchange.chunks) == most:
                    break
        finally:
            if hasattr(body, "close"):
                body.close()
    except Exception as error:
        exchange.error = error
    return exchange


def answering(
    body: bytes = b"hello", content_type: str = "text/plain", status: str = "200 OK", *more: tuple[str, str]
) -> Any:
    """An app with one answer."""

    def app(environ: WSGIEnvironment, start_response: Any) -> list[bytes]:
        start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body))), *more])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return app


def streaming(*chunks: bytes, content_type: str = "text/html", closed: list[bool] | None = None) -> Any:
    """An app that starts its response only when the server asks for the first chunk."""

    def app(environ: WSGIEnvironment, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", content_type)])
        try:
            yield from chunks
        finally:
            if closed is not None:
                closed.append(True)

    return app


def sees() -> tuple[Any, list[WSGIEnvironment]]:
    """An app that answers and keeps the environs it was given."""
    environs: list[WSGIEnvironment] = []
    answer = answering()

    def app(environ: WSGIEnvironment, start_response: Any) -> list[bytes]:
        environs.append(environ)
        result: list[bytes] = answer(environ, start_response)
        return result

    return app, environs
