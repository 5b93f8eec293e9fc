"""The way out: our headers and metas join the app's response, and its bytes are counted, message by message."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path

from noai_guard.asgi_types import Message, Scope, Send
from noai_guard.core.model import HeaderField, Response
from noai_guard.middleware.active_policy import CachedDecision
from noai_guard.middleware.asgi_request import method_of
from noai_guard.middleware.html_tags import PERHAPS_HTML, feed, tagged
from noai_guard.observability.counters import LocalCounts
from noai_guard.observability.metrics import Telemetry
from noai_guard.responses.html_injection import TagInjector

_FILE_CHUNK = 64 * 1024


def declare(
    telemetry: Telemetry,
    send: Send,
    scope: Scope,
    cached: CachedDecision,
    injectors: list[TagInjector],
    message: Message,
) -> Awaitable[None]:
    """Sends a message of the app, with our headers added and, in HTML pages, our tags; counts body bytes.

    `injectors` is empty, or holds the one of this response.
    """
    kind = message["type"]
    try:
        if kind == "http.response.body":
            if injectors and injectors[0].outcome == "pending":
                return _inject(telemetry, send, injectors[0], message, cached.counts)
            if "body" in message and scope["method"] != "HEAD":
                cached.counts.bytes += len(message["body"])
        elif kind == "http.response.start":
            declared = cached.declared
            headers = list(message.get("headers") or ())
            watched = declared.watched
            for name, value in headers:
                if name in watched and (name != b"content-type" or value.startswith(PERHAPS_HTML)):
                    headers = _with_care(telemetry, headers, message["status"], scope, cached, injectors)
                    break
            else:
                headers += declared.fields
            message = {**message, "headers": headers}
        elif kind == "http.response.zerocopysend":
            if injectors:
                return _inject_nothing_before(telemetry, send, injectors[0], message, cached.counts)
            cached.counts.bytes += message.get("count") or 0
        elif kind == "http.response.pathsend":
            if injectors:
                return _inject_file(telemetry, send, injectors[0], message, cached.counts)
            cached.counts.bytes += _size(message["path"])
    except Exception as error:
        telemetry.failed("declaring", error)
    return send(message)


def _with_care(
    telemetry: Telemetry,
    headers: list[HeaderField],
    status: int,
    scope: Scope,
    cached: CachedDecision,
    injectors: list[TagInjector],
) -> list[HeaderField]:
    """The headers of a response that is HTML or has declarations of its own: ours beside the app's."""
    declared = cached.declared
    together, html = declared.added_to(headers)
    if html:
        method, asked = method_of(scope), scope["headers"]
        together, injector = tagged(telemetry, declared.tags, status, together, method, asked)
        if injector is not None:
            injectors.append(injector)
    return together


async def _inject(
    telemetry: Telemetry, send: Send, injector: TagInjector, message: Message, counts: LocalCounts
) -> None:
    more = message.get("more_body", False)
    chunk = feed(telemetry, injector, message.get("body", b""), last=not more)
    if chunk or not more:
        counts.bytes += len(chunk)
        await send({**message, "body": chunk})


async def _inject_file(
    telemetry: Telemetry, send: Send, injector: TagInjector, message: Message, counts: LocalCounts
) -> None:
    """A page that the app leaves to the server to send (`http.response.pathsend`), sent by us with tags."""
    with await asyncio.to_thread(open, message["path"], "rb") as file:
        more = True
        while more:
            chunk = await asyncio.to_thread(file.read, _FILE_CHUNK)
            more = bool(chunk)
            body = {"type": "http.response.body", "body": chunk, "more_body": more}
            await _inject(telemetry, send, injector, body, counts)


async def _inject_nothing_before(
    telemetry: Telemetry, send: Send, injector: TagInjector, message: Message, counts: LocalCounts
) -> None:
    """A page whose bytes we cannot see (`http.response.zerocopysend`), behind what was held back of it."""
    if injector.outcome == "pending":
        held = feed(telemetry, injector, b"", last=True)
        counts.bytes += len(held)
        await send({"type": "http.response.body", "body": held, "more_body": True})
    counts.bytes += message.get("count") or 0
    await send(message)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


async def send_response(send: Send, response: Response) -> None:
    """Sends a complete response of our own."""
    await send({"type": "http.response.start", "status": response.status, "headers": list(response.headers)})
    await send({"type": "http.response.body", "body": response.body})
