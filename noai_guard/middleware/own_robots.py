"""An app's own robots.txt, requested behind the guard."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import quote
from wsgiref.types import WSGIApplication, WSGIEnvironment

from noai_guard.asgi_types import App, Message, Scope
from noai_guard.core.model import HeaderField
from noai_guard.declarations import robots_txt
from noai_guard.declarations.shared.robots_file import MAX_BYTES
from noai_guard.middleware.wsgi_request import key_of

_log = logging.getLogger("noai_guard")

_REMOVED_FIELDS = frozenset({b"if-none-match", b"if-modified-since", b"range", b"if-range", b"accept-encoding"})
"""Request headers removed so that the app returns the whole file, unencoded."""

_REMOVED_KEYS = {*map(key_of, _REMOVED_FIELDS), "CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING"}
_TARGET_KEYS = ("PATH_INFO", "RAW_URI", "REQUEST_URI")
"""Keys of the path; in the last two, some servers repeat the request's target, which some apps read."""

_ROBOTS_SECONDS = 5.0
"""The time that an ASGI app has for its own robots.txt."""

_running_apps: set[asyncio.Task[None]] = set()
"""Apps that have still to finish after all that is read of their response has come."""


class AppFailed(Exception):
    """The app responded with a server error, which says nothing about what its robots.txt would have said."""


class _RobotsResponse:
    """The app's response, as it comes in; `complete` once nothing of what follows matters."""

    __slots__ = ("_body", "_is_text", "_status", "complete")

    def __init__(self) -> None:
        self.complete = self._is_text = False
        self._body = bytearray()
        self._status = 0

    def start(self, status: int, headers: Iterable[HeaderField]) -> None:
        fields = {name.lower(): value for name, value in headers}
        is_text = fields.get(b"content-type", b"text/plain").lower().startswith(b"text/plain")
        self._status = status
        self._is_text = status == 200 and is_text and fields.get(b"content-encoding", b"identity") == b"identity"
        self.complete = not self._is_text
        self._body.clear()

    def add(self, chunk: bytes, *, last: bool = False) -> None:
        if not self.complete and self._is_text:
            self._body.extend(chunk[: MAX_BYTES + 1 - len(self._body)])
            self.complete = last or len(self._body) > MAX_BYTES

    def text(self) -> bytes | None:
        """Return at most MAX_BYTES of a robots.txt in plain text, whole lines, or None. Raise AppFailed."""
        if self._status >= 500:
            raise AppFailed(f"the app answered {self._status} for {robots_txt.PATH}")
        body = self._body
        if len(body) > MAX_BYTES:
            body = body[: max(body.rfind(b"\n"), body.rfind(b"\r")) + 1]
        return bytes(body) if self._is_text else None


async def from_asgi_app(app: App, scope: Scope, marks: Mapping[str, Any]) -> bytes | None:
    """Return the robots.txt of the app, or None if it has none in plain text.

    `marks` are laid over the scope that the app sees. The app runs to its end (background tasks included), but not
    for longer than _ROBOTS_SECONDS, and is not waited for once its response is complete. Raise whatever the app raises,
    and AppFailed if it responds with a server error.
    """
    app_scope = {
        **scope,
        "raw_path": quote(marks.get("path", robots_txt.PATH), errors="replace").encode("ascii"),
        "method": "GET",
        "path": robots_txt.PATH,
        "query_string": b"",
        "headers": [(name, value) for name, value in scope["headers"] if name.lower() not in _REMOVED_FIELDS],
        "extensions": {},
        **marks,
    }
    response = _RobotsResponse()
    complete = asyncio.Event()
    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await complete.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            response.start(message["status"], message.get("headers") or ())
        elif message["type"] == "http.response.body":
            response.add(message.get("body", b""), last=not message.get("more_body", False))
        if response.complete:
            complete.set()
        await asyncio.sleep(0)

    async def run() -> None:
        try:
            async with asyncio.timeout(_ROBOTS_SECONDS):
                await app(app_scope, receive, send)
        finally:
            complete.set()

    task = asyncio.create_task(run())
    _running_apps.add(task)
    task.add_done_callback(_finished)
    await complete.wait()
    if task.done():
        task.result()
    return response.text()


def _finished(task: asyncio.Task[None]) -> None:
    _running_apps.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.debug("the app failed behind its robots.txt", exc_info=error)


def from_wsgi_app(app: WSGIApplication, environ: WSGIEnvironment) -> bytes | None:
    """Return the robots.txt of the app, or None if it has none in plain text; `environ` is that of a request for ours.

    Raise whatever the app raises, and AppFailed if it responds with a server error.
    """
    app_environ = {name: value for name, value in environ.items() if name not in _REMOVED_KEYS}
    app_environ |= {name: robots_txt.PATH for name in _TARGET_KEYS if name in environ or name == "PATH_INFO"}
    app_environ |= {"REQUEST_METHOD": "GET", "QUERY_STRING": "", "wsgi.input": BytesIO()}
    response = _RobotsResponse()

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        response.start(int(status[:3]), [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers])
        return response.add

    chunks = app(app_environ, start)
    try:
        for chunk in chunks:
            response.add(chunk)
            if response.complete:
                break
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    return response.text()
