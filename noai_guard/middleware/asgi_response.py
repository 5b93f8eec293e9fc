"""Adds declaration headers and tags to an ASGI app's response and counts its bytes, message by message."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path

from noai_guard.asgi_types import Message, Send
from noai_guard.core.model import HeaderField, Response
from noai_guard.middleware.active_policy import CachedDecision
from noai_guard.middleware.asgi_request import ScopeRequest
from noai_guard.middleware.html_tags import feed, html_kinds, length_of_page, tagged, whole_page
from noai_guard.observability.events import Event
from noai_guard.observability.metrics import Telemetry
from noai_guard.responses.html_injection import TagInjector
from noai_guard.responses.refusal import Format

_FILE_CHUNK = 64 * 1024


HeldStart = tuple[Message, list[HeaderField], int]
"""The start of a page that comes whole, its headers and where its length is in them: it goes out with its body, so that
the length stays true."""


class NotedSend:
    """A `send` that notes status and size of the response in an event: what goes out, not what the app gives."""

    __slots__ = ("_event", "_has_body", "_send")

    def __init__(self, event: Event, send: Send) -> None:
        self._event = event
        self._send = send
        self._has_body = event.method != "HEAD"

    def __call__(self, message: Message) -> Awaitable[None]:
        """Note what a message says, and return the awaitable of the real send."""
        try:
            kind = message["type"]
            if kind == "http.response.body":
                if (body := message.get("body")) and self._has_body:
                    self._event.bytes += len(body)  # type: ignore[operator]
            elif kind == "http.response.start":
                self._event.status, self._event.bytes = message["status"], 0
            else:
                self._note_other(kind, message)
        except Exception:  # a message that is none is the server's to refuse
            pass
        return self._send(message)

    def _note_other(self, kind: str, message: Message) -> None:
        event = self._event
        if kind == "websocket.accept":
            event.status, event.bytes = 101, 0
        elif kind == "websocket.close" and event.status is None:
            event.status, event.bytes = 403, 0  # the server's answer to a handshake that is not accepted
        elif kind == "websocket.send" and event.bytes is not None:
            event.bytes += len(message.get("bytes") or (message.get("text") or "").encode())
        elif kind in _FILES and event.bytes is not None and self._has_body:
            event.bytes += size_of_file(message)


def size_of_file(message: Message) -> int:
    """Return the bytes of a message with which the app leaves the sending of a file to the server; 0 if not known."""
    if message["type"] == "http.response.zerocopysend":
        return message.get("count") or 0
    try:
        return Path(message["path"]).stat().st_size
    except OSError:
        return 0


class _Sent(tuple[()]):
    """An awaitable that is done."""

    __slots__ = ()

    __await__ = tuple.__iter__  # of nothing


_SENT: Awaitable[None] = _Sent()  # type: ignore[assignment]  # an iterator over nothing is what is awaited

_FILES = ("http.response.zerocopysend", "http.response.pathsend")
"""Messages with which the app leaves the sending of a file to the server."""


class Exchange(ScopeRequest):
    """A request, and the response of the app to it on its way.

    `declare` is what the app gets as its `send`. `change` is what changes the body of this response, if anything does.
    One object that the request needs anyway, and a method of it: a partial of a function with all this costs 2 % of a
    bare Starlette request more (instructions counted, 2026-11-29).
    """

    __slots__ = ("cached", "change", "send", "telemetry")

    cached: CachedDecision
    change: TagInjector | HeldStart | None
    send: Send
    telemetry: Telemetry

    def declare(self, message: Message) -> Awaitable[None]:
        """Send a message of the app, with our headers added and, in HTML pages, our tags; count body bytes.

        Return the awaitable of the real send: a coroutine of its own would cost each message more.
        """
        kind = message["type"]
        try:
            if (change := self.change) is not None:
                if isinstance(change, tuple):
                    return self._send_held(change, message)
                if (change.outcome == "pending" and kind == "http.response.body") or kind in _FILES:
                    return self._inject(change, message)
            if kind == "http.response.body":
                if "body" in message and self.scope["method"] != "HEAD":
                    self.cached.counts.bytes += len(message["body"])
            elif kind == "http.response.start":
                declared = self.cached.declared
                headers = message.get("headers")
                if type(headers) is not list:
                    headers = list(headers or ())
                watched = declared.watched
                for name, value in headers:
                    if name in watched and (name != b"content-type" or html_kinds[value]):
                        status = message["status"]
                        length = length_of_page(declared, status, headers, self.scope["method"], self.headers)
                        if length >= 0:
                            self.change = message, headers, length
                            return _SENT
                        headers = self._tagged(status, headers)
                        break
                else:
                    headers = headers + declared.lines
                message = dict(message)
                message["headers"] = headers
            elif kind in _FILES:
                self.cached.counts.bytes += size_of_file(message)
        except Exception as error:
            self.telemetry.failed("declaring", error)
        send = self.send  # a call of what an attribute holds costs less in two steps (CPython 3.11)
        return send(message)

    def _tagged(self, status: int, headers: list[HeaderField]) -> list[HeaderField]:
        """Return the headers of a response with ours added; its body is changed from here on if it gets tags."""
        headers, injectors = tagged(self.telemetry, self.cached.declared, status, headers, self.method, self.headers)
        self.change = injectors[0] if injectors else None
        return headers

    async def _send_held(self, held: HeldStart, message: Message) -> None:
        """Send the held start of a page, and the first message behind it."""
        (start, app_headers, length), declared = held, self.cached.declared
        self.change = None
        is_whole = False
        try:
            method = self.scope["method"]
            body, announced = message.get("body", b""), app_headers[length][1]
            is_last = message["type"] == "http.response.body" and not message.get("more_body")
            if is_last and type(body) is bytes and announced == b"%d" % len(body):
                headers, body, outcome = whole_page(declared, app_headers, length, body)
                if method == "GET":
                    self.cached.counts.bytes += len(body)
                    # Without the lock that `tagged` and `feed` take for WSGI: only the thread of the event loop adds
                    # to the counts of an ASGI guard, as to those of its requests, and nothing is awaited in between.
                    self.telemetry.injected[outcome] += 1
                message, is_whole = dict(message), True
                message["body"] = body
            elif is_last and announced.isdigit() and len(body) < int(announced) and method == "GET":
                # Starlette's BaseHTTPMiddleware ends a page so that the app broke off (1.10, 2026-11-29). With its
                # length, server and client notice that; to HEAD some apps leave the body out.
                headers = [*app_headers, *declared.fields]
            else:
                headers = self._tagged(start["status"], app_headers)
            start = dict(start)
            start["headers"] = headers
        except Exception as error:
            self.telemetry.failed("declaring", error)
        send = self.send
        await send(start)
        await (send(message) if is_whole else self.declare(message))

    async def release(self) -> None:
        """Send what is still held back of a page that the app broke off, by an exception or without a last message."""
        change = self.change
        # The app's exception is what counts now, and the connection may be gone.
        with suppress(Exception):
            if isinstance(change, tuple):
                self.change = None
                start, headers, _ = change
                # Its length stays, so that nobody, on HTTP/1.0 too, takes what was broken off for a whole page.
                await self.send({**start, "headers": [*headers, *self.cached.declared.fields]})
            elif change and change.outcome == "pending" and (held := feed(self.telemetry, change, b"", last=True)):
                self.cached.counts.bytes += len(held)
                await self.send({"type": "http.response.body", "body": held, "more_body": True})

    async def _inject(self, injector: TagInjector, message: Message) -> None:
        """Send a message of an HTML page with tags."""
        telemetry, send, counts = self.telemetry, self.send, self.cached.counts
        more = message.get("more_body", False)
        if (
            message["type"] == "http.response.pathsend"
        ):  # the app leaves the file to the server; with tags it is sent here
            with await asyncio.to_thread(open, message["path"], "rb") as file:
                more = True
                while more:
                    chunk = await asyncio.to_thread(file.read, _FILE_CHUNK)
                    more = bool(chunk)
                    await self._inject(injector, {"type": "http.response.body", "body": chunk, "more_body": more})
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
