"""The reverse proxy's HTTP/1.1 connection, fit to face the internet.

h11 is strict, bounds a head to 64 KiB, is right for HTTP/1.0 players, and keeps the names of trailers out of the
request. With httptools, uvicorn 0.54 has no bound, answers HTTP/1.0 with chunks, and adds trailers to the request's
headers (tried 2026-11-25); granian 2.8 serves bytes from Python at 0.45 of its own speed.
"""

import asyncio

from noai_guard.asgi_types import Receive, Scope, Send
from noai_guard.reverse_proxy.upstream import ResponseBroken
from noai_guard.uvicorn_adapter import StrictConnection

HEAD_SECONDS = 30.0
"""The time a client has to send the head of its first request, or to finish a head that it began."""


class EdgeConnection(StrictConnection):
    """Closes a connection whose head is late, and breaks it off where the app raises ResponseBroken."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.in_request or self.transport.get_protocol() is not self:  # then it is a websocket
            self._stop_head_timer()
        elif self._head_timer is None and not self.transport.is_closing():
            self._start_head_timer()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    async def run_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().run_app(scope, receive, send)
        except (ResponseBroken, asyncio.CancelledError):
            # Cancelled: the time is over that a stopping server gives its last responses.
            self.break_off()
