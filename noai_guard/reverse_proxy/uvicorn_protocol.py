"""The reverse proxy's HTTP/1.1 connection, fit to face the internet.

h11 is strict, bounds a head to 64 KiB, is right for HTTP/1.0 players, and keeps the names of trailers out of the
request. With httptools, uvicorn 0.54 has no bound, answers HTTP/1.0 with chunks, and adds trailers to the request's
headers (tried 2026-11-25); granian 2.8 serves bytes from Python at 0.45 of its own speed.
"""

import asyncio

from noai_guard.asgi_types import Receive, Scope, Send
from noai_guard.reverse_proxy.upstream import ResponseBroken
from noai_guard.uvicorn_adapter import StrictConnection


class EdgeConnection(StrictConnection):
    """Breaks the connection off where the app raises ResponseBroken."""

    async def run_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().run_app(scope, receive, send)
        except (ResponseBroken, asyncio.CancelledError):
            # Cancelled: the time is over that a stopping server gives its last responses.
            self.break_off()
