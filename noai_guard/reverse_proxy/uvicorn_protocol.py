"""uvicorn's HTTP/1.1 connection, made fit to stand at the edge of the internet.

uvicorn with h11: strict, bounded (64 KiB for a head), right for HTTP/1.0 players, and header names of trailers stay
out of the request. With httptools, uvicorn 0.54 has no bound, answers HTTP/1.0 with chunks, and adds trailers to the
request's headers (tried 2026-11-25); granian 2.8 serves bytes from Python at 0.45 of its own speed.
"""

import asyncio
import re
import socket
import struct
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from noai_guard.asgi_types import Receive, Scope, Send
from noai_guard.reverse_proxy.upstream import ResponseBroken

HEAD_SECONDS = 30.0
"""How long a client may take to send the head of its first request, or to finish one that it began."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing sends a reset."""

_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")


class EdgeConnection(H11Protocol):
    """Differs from uvicorn's in four things: a head has to come in time, a request line in UTF-8 is read as browsers
    write it, an answer that is cut never looks complete, and garbage within a body does not raise in the server."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.app = self._run
        self._head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.conn.their_state is h11.IDLE and not data.isascii():
            data = self._in_ascii(data)
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_came()
        elif self._head_due is None and not self.transport.is_closing():
            self._await_head()

    def on_response_complete(self) -> None:
        self._head_came()
        super().on_response_complete()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._head_came()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        if self.cycle is None or self.cycle.response_complete:
            super().send_400_response(msg)
            return
        if not self.cycle.response_started:
            super().send_400_response(msg)
        self._cut()

    def _await_head(self) -> None:
        self._head_due = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _head_came(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _in_ascii(self, data: bytes) -> bytes:
        """Percent-encodes what is not ASCII in a request line. curl and ffmpeg send addresses as they were typed;
        nginx and Go take them, h11 does not."""
        held = self.conn.trailing_data[0].lstrip(b"\r\n")
        if b"\n" in held:
            return data
        line, end, rest = data.partition(b"\n")
        method, space, target = (b"", b"", line) if b" " in held else line.partition(b" ")
        return method + space + _BEYOND_ASCII.sub(lambda byte: b"%%%02X" % ord(byte[0]), target) + end + rest

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.config.loaded_app(scope, receive, send)
        except (ResponseBroken, asyncio.CancelledError):
            # The second is the end of the time that a stopping server gives its answers.
            self._cut()

    def _cut(self) -> None:
        """Ends the connection within an answer. An HTTP/1.0 client takes an orderly end for the end of the answer."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        if self.cycle.response_started and self.cycle.scope["http_version"] == "1.0":
            link = self.transport.get_extra_info("socket")
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
        else:
            self.transport.close()
