"""Validates requests before the guard of a proxied site judges them.

The guard judges a path, the upstream reads the target as it was sent. So that both mean the same resource,

- a message that two servers could end at different places is refused (RFC 9112 section 6.1),
- an absolute target names the host (RFC 9112 section 3.2.2), a fragment is cut off, and any other target that is not a
  path is refused.
"""

import re
from collections.abc import Awaitable
from email.utils import formatdate
from time import time
from urllib.parse import unquote

from noai_guard.asgi_types import Message, Receive, Scope, Send
from noai_guard.middleware.asgi_response import send_response, text_response
from noai_guard.reverse_proxy.guard import ProxyGuard
from noai_guard.reverse_proxy.headers import HOST

_ABSOLUTE_TARGET = re.compile(rb"https?://([^/?#]*)(/[^#]*)?", re.IGNORECASE)
_CONTENT_LENGTH = re.compile(rb"[0-9]{1,18}")


class RequestValidation:
    """An ASGI middleware in front of the guard."""

    def __init__(self, guard: ProxyGuard) -> None:
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind != "lifespan" and (problem := _framing_problem(scope) or self._normalize_target(scope)):
            await _refuse(scope, receive, send, problem)
        else:
            await self._guard(scope, receive, _with_date(send) if kind == "http" else send)

    def _normalize_target(self, scope: Scope) -> str | None:
        """Change the scope so that its target has one reading. Return the problem if it has none."""
        raw: bytes = scope["raw_path"]
        if b"#" in raw or b"#" in scope["query_string"]:
            raw, hash, _ = raw.partition(b"#")
            scope["query_string"] = b"" if hash else scope["query_string"].partition(b"#")[0]
            scope["raw_path"], scope["path"] = raw, unquote(raw.decode("latin-1"))
        if raw[:1] != b"/" and raw != b"*":
            absolute = _ABSOLUTE_TARGET.fullmatch(raw)
            if absolute is None or not absolute[1]:
                return "The target of the request is not a path."
            scope["raw_path"] = raw = absolute[2] or b"/"
            scope["path"] = unquote(raw.decode("latin-1"))
            others = [field for field in scope["headers"] if field[0] != b"host"]
            scope["headers"] = [(b"host", absolute[1]), *others]
        if any(name == b"host" and value and not HOST.fullmatch(value) for name, value in scope["headers"]):
            return "The Host of the request is not a host."
        return None


def _framing_problem(scope: Scope) -> str | None:
    """Return what could make the upstream see another end of the request than this server, or None.

    Servers differ in what they accept: h11 passes a message with both a length and chunks, as RFC 7230 allowed.
    """
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    codings = [value for name, value in scope["headers"] if name == b"transfer-encoding"]
    if lengths and codings:
        return "The request has a Content-Length and a Transfer-Encoding."
    if len(lengths) > 1 or not all(map(_CONTENT_LENGTH.fullmatch, lengths)):
        return "The Content-Length of the request is not one number."
    if codings and ([coding.lower() for coding in codings] != [b"chunked"] or scope["http_version"] == "1.0"):
        return "The Transfer-Encoding of the request is not chunked."
    return None


async def _refuse(scope: Scope, receive: Receive, send: Send, problem: str) -> None:
    """Respond with 400 and close the connection: it is not known where the next request on it begins."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1002})
        return
    response = text_response(400, f"{problem}\n", (b"connection", b"close"), head=scope["method"] == "HEAD")
    await send_response(_with_date(send), response)


def _with_date(send: Send) -> Send:
    """Add a Date (RFC 9110 section 6.6.1) to responses that have none; the upstream's own stays."""

    def send_dated(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start" and not any(name == b"date" for name, _ in message["headers"]):
            message = {**message, "headers": [*message["headers"], (b"date", formatdate(time(), usegmt=True).encode())]}
        return send(message)

    return send_dated
