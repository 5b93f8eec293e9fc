"""Adds declaration headers and tags to an ASGI app's response and counts its bytes, message by message."""

import asyncio
from collections.abc import Awaitable, Generator
from contextlib import suppress
from pathlib import Path

from noai_guard.asgi_types import Message, Send
from noai_guard.core.model import HeaderField, Response
from noai_guard.middleware.active_policy import CachedDecision
from noai_guard.middleware.asgi_request import ScopeRequest
from noai_guard.middleware.html_tags import feed, length_of_page, perhaps_html, tagged, whole_page
from noai_guard.observability.counters import LocalCounts
from noai_guard.observability.metrics import Telemetry
from noai_guard.responses.html_injection import TagInjector
from noai_guard.responses.refusal import Format

_FILE_CHUNK = 64 * 1024


class HeldStart:
    """The start of a page that comes whole: it goes out with its body, so that its length stays true."""

    __slots__ = ("headers", "length", "message")

    def __init__(self, message: Message, headers: list[HeaderField], length: int) -> None:
        self.message = message
        self.headers = headers
        self.length = length


class _Sent(tuple[()]):
    """An awaitable that is done."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        return iter(self)  # type: ignore[return-value]  # of nothing


_SENT = _Sent()

Changing = list[TagInjector | HeldStart]
"""Empty, or the one thing that changes the body of this response."""


def declare(
    telemetry: Telemetry,
    send: Send,
    request: ScopeRequest,
    cached: CachedDecision,
    changing: Changing,
    message: Message,
) -> Awaitable[None]:
    """Send a message of the app, with our headers added and, in HTML pages, our tags; count body bytes."""
    kind = message["type"]
    try:
        if changing and (change := changing[0]).__class__ is HeldStart:
            return _send_held(telemetry, send, request, cached, changing, change, message)
        if kind == "http.response.body":
            if changing and change.outcome == "pending":  # type: ignore[union-attr]
                return _inject(telemetry, send, change, cached.counts, message)  # type: ignore[arg-type]
            if "body" in message and request.scope["method"] != "HEAD":
                cached.counts.bytes += len(message["body"])
        elif kind == "http.response.start":
            declared = cached.declared
            headers = message.get("headers")
            if type(headers) is not list:
                headers = list(headers or ())
            watched = declared.watched
            for name, value in headers:
                if name in watched and (name != b"content-type" or perhaps_html[value]):
                    status = message["status"]
                    length = length_of_page(declared, status, headers, request.scope["method"], request.headers)
                    if length >= 0:
                        changing.append(HeldStart(message, headers, length))
                        return _SENT
                    headers, changing[:] = tagged(telemetry, declared, status, headers, request.method, request.headers)
                    break
            else:
                headers = [*headers, *declared.fields]
            message = dict(message)
            message["headers"] = headers
        elif kind in ("http.response.zerocopysend", "http.response.pathsend"):
            if changing:
                return _inject(telemetry, send, change, cached.counts, message)  # type: ignore[arg-type]
            if kind == "http.response.zerocopysend":
                cached.counts.bytes += message.get("count") or 0
            else:
                with suppress(OSError):
                    cached.counts.bytes += Path(message["path"]).stat().st_size
    except Exception as error:
        telemetry.failed("declaring", error)
    return send(message)


async def _send_held(
    telemetry: Telemetry,
    send: Send,
    request: ScopeRequest,
    cached: CachedDecision,
    changing: Changing,
    held: HeldStart,
    message: Message,
) -> None:
    """Send the held start of a page, and the first message behind it."""
    start, declared = held.message, cached.declared
    changing.clear()
    is_whole = False
    try:
        body, announced = message.get("body", b""), held.headers[held.length][1]
        is_last = message["type"] == "http.response.body" and not message.get("more_body")
        if is_last and type(body) is bytes and announced == b"%d" % len(body):
            headers, body, outcome = whole_page(declared, held.headers, held.length, body)
            if request.scope["method"] == "GET":
                cached.counts.bytes += len(body)
                telemetry.injected[outcome] += 1  # without the lock: it is for drivers with several threads
            message, is_whole = dict(message), True
            message["body"] = body
        elif is_last and announced.isdigit() and len(body) < int(announced) and request.scope["method"] == "GET":
            # Starlette's BaseHTTPMiddleware ends a page so that the app broke off (1.10, 2026-11-29). With its length,
            # server and client notice that; to HEAD some apps leave the body out.
            headers = [*held.headers, *declared.fields]
        else:
            method, status = request.method, start["status"]
            headers, changing[:] = tagged(telemetry, declared, status, held.headers, method, request.headers)
        start = dict(start)
        start["headers"] = headers
    except Exception as error:
        telemetry.failed("declaring", error)
    await send(start)
    await (send(message) if is_whole else declare(telemetry, send, request, cached, changing, message))


async def release(telemetry: Telemetry, send: Send, cached: CachedDecision, changing: Changing) -> None:
    """Send what is still held back of a page that the app broke off, by an exception or without a last message."""
    if not changing:
        return
    # The app's exception is what counts now, and the connection may be gone.
    with suppress(Exception):
        if isinstance(change := changing[0], HeldStart):
            changing.clear()
            # Its length stays, so that nobody takes what was broken off for a whole page, HTTP/1.0 clients included.
            await send({**change.message, "headers": [*change.headers, *cached.declared.fields]})
        elif change.outcome == "pending" and (held := feed(telemetry, change, b"", last=True)):
            cached.counts.bytes += len(held)
            await send({"type": "http.response.body", "body": held, "more_body": True})


async def _inject(
    telemetry: Telemetry, send: Send, injector: TagInjector, counts: LocalCounts, message: Message
) -> None:
    """Send a message of an HTML page with tags."""
    more = message.get("more_body", False)
    if message["type"] == "http.response.pathsend":  # the app leaves the file to the server; with tags it is sent here
        with await asyncio.to_thread(open, message["path"], "rb") as file:
            more = True
            while more:
                chunk = await asyncio.to_thread(file.read, _FILE_CHUNK)
                more = bool(chunk)
                body = {"type": "http.response.body", "body": chunk, "more_body": more}
                await _inject(telemetry, send, injector, counts, body)
    elif message["type"] == "http.response.zerocopysend":  # bytes that cannot be seen, behind what was held back
        if injector.outcome == "pending":
            held = feed(telemetry, injector, b"", last=True)
            counts.bytes += len(held)
            await send({"type": "http.response.body", "body": held, "more_body": True})
        counts.bytes += message.get("count") or 0
        await send(message)
    else:
        chunk = feed(telemetry, injector, message.get("body", b""), last=not more)
        if chunk or not more:
            counts.bytes += len(chunk)
            await send({**message, "body": chunk})


def text_response(
    status: int, text: str, *fields: HeaderField, head: bool = False, media_type: str = Format.TEXT.value
) -> Response:
    """Return a response with these header fields beside its type and length; to HEAD without the body."""
    body = text.encode()
    headers = ((b"content-type", media_type.encode("ascii")), (b"content-length", b"%d" % len(body)), *fields)
    return Response(status, headers, b"" if head else body)


async def send_response(send: Send, response: Response) -> None:
    """Send a complete response of our own."""
    await send({"type": "http.response.start", "status": response.status, "headers": list(response.headers)})
    await send({"type": "http.response.body", "body": response.body})
