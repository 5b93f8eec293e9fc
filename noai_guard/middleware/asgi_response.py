"""Adds declaration headers and tags to an ASGI app's response and counts its bytes, message by message."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path

from noai_guard.asgi_types import Message, Scope, Send
from noai_guard.core.model import HeaderField, Response
from noai_guard.middleware.active_policy import CachedDecision
from noai_guard.middleware.asgi_request import method_of
from noai_guard.middleware.html_tags import PERHAPS_HTML, feed, tagged
from noai_guard.observability.counters import LocalCounts
from noai_guard.observability.metrics import Telemetry
from noai_guard.responses.html_injection import TagInjector
from noai_guard.responses.refusal import Format

_FILE_CHUNK = 64 * 1024


def declare(
    telemetry: Telemetry,
    send: Send,
    scope: Scope,
    cached: CachedDecision,
    injectors: list[TagInjector],
    message: Message,
) -> Awaitable[None]:
    """Send a message of the app, with our headers added and, in HTML pages, our tags; count body bytes.

    `injectors` is empty, or holds the one of this response.
    """
    kind = message["type"]
    try:
        if kind == "http.response.body":
            if injectors and injectors[0].outcome == "pending":
                return _inject(telemetry, send, injectors[0], cached.counts, message)
            if "body" in message and scope["method"] != "HEAD":
                cached.counts.bytes += len(message["body"])
        elif kind == "http.response.start":
            declared = cached.declared
            headers = message.get("headers") or ()
            if type(headers) is not list:
                headers = list(headers)
            watched = declared.watched
            for name, value in headers:
                if name in watched and (name != b"content-type" or value.startswith(PERHAPS_HTML)):
                    method, request_headers = method_of(scope), scope["headers"]
                    headers, injectors[:] = tagged(
                        telemetry, declared, message["status"], headers, method, request_headers
                    )
                    break
            else:
                headers = [*headers, *declared.fields]
            message = {**message, "headers": headers}
        elif kind in ("http.response.zerocopysend", "http.response.pathsend"):
            if injectors:
                return _inject(telemetry, send, injectors[0], cached.counts, message)
            if kind == "http.response.zerocopysend":
                cached.counts.bytes += message.get("count") or 0
            else:
                with suppress(OSError):
                    cached.counts.bytes += Path(message["path"]).stat().st_size
    except Exception as error:
        telemetry.failed("declaring", error)
    return send(message)


async def release(telemetry: Telemetry, send: Send, cached: CachedDecision, injectors: list[TagInjector]) -> None:
    """Send what is still held back of a page that the app broke off, by an exception or without a last message."""
    if injectors and injectors[0].outcome == "pending":
        # The app's exception is what counts now, and the connection may be gone.
        with suppress(Exception):
            if held := feed(telemetry, injectors[0], b"", last=True):
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
