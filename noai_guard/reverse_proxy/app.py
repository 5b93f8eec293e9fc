"""The reverse proxy as an ASGI app: every request goes to the upstream as it came, every answer comes back as it is.

Nothing is collected: bytes are passed on when they come, and read no faster than they are passed on, in both
directions. What goes wrong before an answer has begun is a 502 or 504; what goes wrong later raises AnswerCut.

The scope is taken to be sound (`noai_guard.reverse_proxy.request_validation` sees to that).
"""

import logging
from collections.abc import Callable
from time import monotonic

from noai_guard.asgi_types import Receive, Scope, Send
from noai_guard.core.model import HeaderField, Response
from noai_guard.core.request import MAX_HEADERS
from noai_guard.core.trusted_proxies import NOBODY, TrustedProxies
from noai_guard.middleware.asgi_request import method_of
from noai_guard.middleware.asgi_response import send_response
from noai_guard.responses.negotiation import chosen_format
from noai_guard.responses.refusal import Format
from noai_guard.reverse_proxy.client_body import Client, ClientGone, ClientTooSlow
from noai_guard.reverse_proxy.exchange import Exchange
from noai_guard.reverse_proxy.headers import request_fields
from noai_guard.reverse_proxy.upstream import Connections, ResponseBroken, Timeouts, Upstream, UpstreamFailed
from noai_guard.reverse_proxy.websocket import pass_websocket

_log = logging.getLogger("noai_guard")

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing (RFC 9110 section 9.2.1): without a body, such a request may be sent twice."""


class ReverseProxy:
    """Passes HTTP and websockets to an upstream. `trusted` gives the proxies in front of us that are believed."""

    def __init__(
        self,
        upstream: Upstream,
        timeouts: Timeouts | None = None,
        trusted: Callable[[], TrustedProxies] = lambda: NOBODY,
    ) -> None:
        self.upstream = upstream
        self.timeouts = timeouts or Timeouts()
        self._trusted = trusted
        self._connections: Connections | None = None
        self._told = 0.0

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
                self._tell(str(failure))

    @property
    def connections(self) -> Connections:
        """This process's connections, made when the first is needed."""
        if self._connections is None:
            self._connections = Connections(self.upstream, self.timeouts)
        return self._connections

    async def problem(self) -> str | None:
        """Why no visitor should be sent here: the upstream takes no connection."""
        try:
            (await self.connections.take(pooled=False, has_body=False)).close()
        except UpstreamFailed as failure:
            return f"the upstream {str(failure).partition(' (')[0]}"
        return None

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._connections is not None:
            await self._connections.close()
            self._connections = None
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, fields: list[HeaderField], receive: Receive, send: Send) -> None:
        client = Client(scope, receive, self.timeouts)
        try:
            async with client:
                await self._answer(scope, fields, client, send)
        except ClientGone:
            pass
        except (ClientTooSlow, UpstreamFailed) as failure:
            status = 408
            if isinstance(failure, UpstreamFailed):
                status = failure.status
                self._tell(f"{failure}{'' if client.answered else f': visitors get {status}'}")
            if client.answered:
                raise ResponseBroken from failure
            await send_response(send, _failed(status, scope))

    async def _answer(self, scope: Scope, fields: list[HeaderField], client: Client, send: Send) -> None:
        fields += client.framing
        again = scope["method"] in _SAFE and not client.has_body
        try:
            await self._exchange(scope, fields, client, send, pooled=again)
        except UpstreamFailed as failure:
            if not (again and failure.may_be_stale):
                raise
            await self._exchange(scope, fields, client, send, pooled=False)

    async def _exchange(
        self, scope: Scope, fields: list[HeaderField], client: Client, send: Send, *, pooled: bool
    ) -> None:
        """One request on one connection, which goes back to the pool when nothing of either is left on it."""
        connection = await self.connections.take(pooled=pooled, has_body=scope["method"] != "HEAD")
        try:
            if await Exchange(scope, client, send, connection, self.timeouts).run(fields):
                connection.release()
        finally:
            connection.close()

    def _tell(self, what: str) -> None:
        """Once a second at most: a dead upstream fails every request."""
        now = monotonic()
        if now - self._told >= 1.0:
            self._told = now
            _log.warning("the upstream %s %s", self.upstream, what)


_SENTENCES = {
    408: ("Request timeout", "The request did not arrive in time."),
    502: ("Bad gateway", "The site's own server cannot be reached. Please try again in a moment."),
    504: ("Gateway timeout", "The site's own server takes too long to answer. Please try again in a moment."),
}


def _failed(status: int, scope: Scope) -> Response:
    """A short page, and only where a page is asked for. Where the request did not come to its end, it ends now."""
    title, sentence = _SENTENCES[status]
    wanted = chosen_format(scope["path"], method_of(scope), scope["headers"][:MAX_HEADERS])
    page = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
    page += f"<body><h1>{title}</h1><p>{sentence}</p></body></html>\n"
    format, text = (Format.HTML, page) if wanted is Format.HTML else (Format.TEXT, f"{sentence}\n")
    body = text.encode()
    headers = (
        (b"content-type", format.value.encode("ascii")),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *([(b"connection", b"close")] if status == 408 else []),
    )
    return Response(status, headers, b"" if scope["method"] == "HEAD" else body)
