"""The reverse proxy as an ASGI app: every request goes to the upstream as it came, every response comes back as it is.

Nothing is buffered: bytes are passed on when they come, and read no faster than they are passed on, in both directions.
A failure before the response has started is a 502 or 504; a later one raises ResponseBroken.

The scope must be valid; `noai_guard.reverse_proxy.request_validation` sees to that.
"""

import logging
from collections.abc import Callable
from time import monotonic

from noai_guard.asgi_types import Receive, Scope, Send
from noai_guard.core.model import HeaderField, Response
from noai_guard.core.trusted_proxies import NOBODY, TrustedProxies
from noai_guard.middleware.asgi_request import method_of
from noai_guard.middleware.asgi_response import send_response, text_response
from noai_guard.responses.negotiation import chosen_format
from noai_guard.responses.refusal import Format
from noai_guard.reverse_proxy.downstream import ClientDisconnected, ClientTimedOut, Downstream
from noai_guard.reverse_proxy.exchange import exchange
from noai_guard.reverse_proxy.headers import request_fields
from noai_guard.reverse_proxy.upstream import ConnectionPool, ResponseBroken, Timeouts, Upstream, UpstreamFailed
from noai_guard.reverse_proxy.websocket import pass_websocket

_log = logging.getLogger("noai_guard")

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110 section 9.2.1. Without a body, a request with one of these may be sent twice."""

_WARNING_SECONDS = 1.0
"""A dead upstream fails every request; one warning in this time is enough."""

_ERRORS = {
    408: ("Request timeout", "The request did not arrive in time."),
    502: ("Bad gateway", "The site's own server cannot be reached. Please try again in a moment."),
    504: ("Gateway timeout", "The site's own server takes too long to respond. Please try again in a moment."),
}


class ReverseProxy:
    """Passes HTTP and websockets to an upstream. `trusted` returns the proxies in front of this one to be believed."""

    def __init__(
        self,
        upstream: Upstream,
        timeouts: Timeouts | None = None,
        trusted: Callable[[], TrustedProxies] = lambda: NOBODY,
    ) -> None:
        self.upstream = upstream
        self.timeouts = timeouts or Timeouts()
        self._trusted = trusted
        self._pool: ConnectionPool | None = None
        self._warned_at = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(receive, send)
            return
        fields = request_fields(scope, self.upstream, self._trusted())
        if kind == "http":
            await self._http(scope, fields, receive, send)
        elif kind == "websocket":
            try:
                await pass_websocket(self.upstream, self.timeouts, fields, scope, receive, send)
            except UpstreamFailed as failure:
                self._warn(str(failure))

    @property
    def pool(self) -> ConnectionPool:
        """The connections of this process, made when the first is needed."""
        if self._pool is None:
            self._pool = ConnectionPool(self.upstream, self.timeouts)
        return self._pool

    async def problem(self) -> str | None:
        """Return why this process cannot serve clients, or None. It cannot if the upstream accepts no connection."""
        try:
            (await self.pool.acquire(reuse=False)).close()
        except UpstreamFailed as failure:
            return f"the upstream {str(failure).partition(' (')[0]}"
        return None

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._pool is not None:
            await self._pool.close()
            self._pool = None
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, fields: list[HeaderField], receive: Receive, send: Send) -> None:
        client = Downstream(scope, receive, self.timeouts)
        try:
            async with client:
                await self._forward(scope, fields, client, send)
        except ClientDisconnected:
            pass
        except (ClientTimedOut, UpstreamFailed) as failure:
            status = 408
            if isinstance(failure, UpstreamFailed):
                status = failure.status
                self._warn(f"{failure}{'' if client.response_started else f': clients get {status}'}")
            if client.response_started:
                raise ResponseBroken from failure
            await send_response(send, _error_response(status, scope))

    async def _forward(self, scope: Scope, fields: list[HeaderField], client: Downstream, send: Send) -> None:
        repeatable = scope["method"] in _SAFE_METHODS and not client.has_body
        for reuse in (True, False) if repeatable else (False,):
            connection = await self.pool.acquire(reuse=reuse, response_has_body=scope["method"] != "HEAD")
            try:
                if await exchange(scope, fields + client.framing, client, send, connection):
                    connection.release()  # nothing of the messages is left on it
                return
            except UpstreamFailed as failure:
                if not (reuse and failure.may_be_stale):
                    raise
            finally:
                connection.close()

    def _warn(self, problem: str) -> None:
        now = monotonic()
        if now - self._warned_at >= _WARNING_SECONDS:
            self._warned_at = now
            _log.warning("the upstream %s %s", self.upstream, problem)


def _error_response(status: int, scope: Scope) -> Response:
    """Return a short page if a page is asked for, else text. A 408 closes the connection: its request is incomplete."""
    title, sentence = _ERRORS[status]
    requested = chosen_format(scope["path"], method_of(scope), scope["headers"])
    text = f"{sentence}\n"
    if requested is Format.HTML:
        text = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        text += f"<body><h1>{title}</h1><p>{sentence}</p></body></html>\n"
    fields = ((b"cache-control", b"no-store"), *([(b"connection", b"close")] if status == 408 else []))
    media_type = (Format.HTML if requested is Format.HTML else Format.TEXT).value
    return text_response(status, text, *fields, head=scope["method"] == "HEAD", media_type=media_type)
