"""The only module that imports uvicorn: an embeddable server and two HTTP/1.1 connections, in names of our own.

uvicorn documents its settings, not its protocol classes. What is used of those, and what fails when it changes (read in
0.54.0; the extra `serve` admits only the minor versions that the tests have passed with):

- `Server.capture_signals` (since 0.29): SIGTERM would end the server at once instead of draining it.
- `H11Protocol`, `HttpToolsProtocol`: `app`, `client`, `config`, `conn`, `cycle`, `headers`, `loop`, `parser`,
  `server_state`, `timeout_keep_alive`, `timeout_keep_alive_handler`, `timeout_keep_alive_task`, `transport`, `url`:
  requests would fail with AttributeError.
- the methods of both that are overridden here, `_should_upgrade`, `_unsupported_upgrade_warning`, `handle_events`,
  `on_body`, `on_headers_complete`, `on_message_begin`, `on_message_complete`, `send_400_response`: if they were not
  called any more, early responses would be sent twice, and a question with a client's Upgrade would become a websocket.
- `RequestResponseCycle`: `disconnected`, `keep_alive`, `message_event`, `response_complete`, `response_started`,
  `scope`: a response that broke off could look complete.
- the texts of two log messages (`is_expected`): they would appear in the log.

tests/test_uvicorn_adapter.py fails when one of these names is gone.
"""

import asyncio
import logging
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import h11
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from noai_guard.asgi_types import App, Receive, Scope, Send

LOGGER = logging.getLogger("uvicorn.error")
"""The logger of everything that uvicorn reports about itself."""

KEEP_ALIVE_SECONDS = 65
"""Longer than the 60 s for which load balancers usually keep a connection: they, not we, close idle ones."""

HEAD_SECONDS = 30.0
"""The time a client has to send the head of its first request, or to finish a head that it began."""

_MAX_H11_HEAD_BYTES = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing the socket sends a reset."""

_NON_ASCII = re.compile(rb"[\x80-\xff]")
_EMPTY_LINES = re.compile(rb"\A(?:\r\n)+")
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n"
    b"cache-control: no-store\r\n\r\n"
)


class EmbeddedServer(Server):
    """A uvicorn server that leaves signals to the process it runs in. Stop it with `should_exit = True`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def embedded_server(
    app: App, drain_seconds: float, *, http: "type[ClientConnection]", **options: object
) -> EmbeddedServer:
    """Return a server for `app` that neither logs requests nor adds headers. `options` are uvicorn's settings.

    At its end, requests at work are given `drain_seconds`.
    """
    config = Config(
        app,
        http=http,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(drain_seconds)),
        h11_max_incomplete_event_size=_MAX_H11_HEAD_BYTES,
        **options,  # type: ignore[arg-type]
    )
    return EmbeddedServer(config)


def is_expected(record: logging.LogRecord) -> bool:
    """Return True for two reports of `LOGGER` that are no faults.

    A websocket that was refused with a status (uvicorn 0.54 takes that for a fault), and the end of the time that the
    last responses of a stopping server get.
    """
    message = str(record.msg)
    return "without completing handshake" in message or "timeout graceful shutdown exceeded" in message


class ClientConnection(asyncio.Protocol):
    """A connection with a client that is closed when the head of a request is late. To stand before uvicorn's classes.

    The time runs from the first byte of a head to its last one, however little comes at a time.
    """

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    cycle: Any
    _head_timer: asyncio.TimerHandle | None = None
    _request_over = False
    """True if the last data ended a request that has its response."""

    @property
    def in_request(self) -> bool:
        """True from the end of a request's head to the end of its response."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._request_over = False
        super().data_received(data)
        if self._request_over or self.in_request or self.transport.get_protocol() is not self:  # then it is a websocket
            self._stop_head_timer()
        elif self._head_timer is None and not self.transport.is_closing():
            self._start_head_timer()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)


class EarlyResponseConnection(ClientConnection, HttpToolsProtocol):
    """An HTTP/1.1 connection that can respond as soon as the head of a request has been read.

    Such a response costs a scope, a task and a turn of the event loop less: 40 of 95 µs (2026-11-26). Every other
    request goes to the app. Heads are bounded, which uvicorn's are not with httptools. A request to upgrade is one like
    any other, and the last of its connection.
    """

    max_head_bytes = 256 * 1024
    _head_bytes = 0
    _reading_head = True
    _responded = False

    def early_response(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], client: Sequence[object] | None
    ) -> bytes | None:
        """Return a complete HTTP/1.1 response without a Connection field, or None to call the app. For subclasses."""
        return None

    def data_received(self, data: bytes) -> None:
        if self._reading_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.max_head_bytes:
                self.transport.write(_TOO_LARGE)
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._responded = self._request_over = False

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        self._reading_head = False
        if self.cycle is None or self.cycle.response_complete:
            method = self.parser.get_method().decode("ascii")
            response = self.early_response(method, self.url, self.headers, self.client)
            if response is not None:
                self._responded = True
                self._send(response)
                return
        super().on_headers_complete()
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def _should_upgrade(self) -> bool:
        return False

    def _unsupported_upgrade_warning(self) -> None:
        pass

    def on_body(self, body: bytes) -> None:
        if not self._responded:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._reading_head = True
        self._request_over = self._responded
        if not self._responded:
            super().on_message_complete()

    def _send(self, response: bytes) -> None:
        self.server_state.total_requests += 1
        ends = self.parser.should_upgrade() or not self.parser.should_keep_alive()
        if not ends and self.parser.get_http_version() != "1.0":
            self.transport.write(response)
            if self.timeout_keep_alive_task is not None:  # of a request that came with the same packet
                self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            head, _, body = response.partition(b"\r\n\r\n")
            self.transport.write(head + b"\r\nconnection: close\r\n\r\n" + body)
            self.transport.close()


class StrictConnection(ClientConnection, H11Protocol):
    """An HTTP/1.1 connection read by h11, which a subclass can watch and break off.

    A request line in UTF-8 is percent-encoded, as browsers do: curl and ffmpeg send addresses as they were typed; nginx
    and Go accept them, h11 does not. Empty lines before a request line are ignored (RFC 9112 section 2.2), which h11
    does not do either. Garbage within a request's body ends the connection; uvicorn's own would raise, as it has begun
    to respond.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app = self.run_app

    async def run_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app for one request. For subclasses to wrap."""
        await self.config.loaded_app(scope, receive, send)

    def data_received(self, data: bytes) -> None:
        if self.conn.their_state is h11.IDLE and not data.isascii():
            start = self.conn.trailing_data[0].lstrip(b"\r\n")
            if b"\n" not in start:
                after = data if start else data.lstrip(b"\r\n")
                empty_lines = data[: len(data) - len(after)]
                line, end, rest = after.partition(b"\n")
                method, space, target = (b"", b"", line) if b" " in start else line.partition(b" ")
                target = _NON_ASCII.sub(lambda byte: b"%%%02X" % ord(byte[0]), target)
                data = empty_lines + method + space + target + end + rest
        super().data_received(data)

    def handle_events(self) -> None:
        if self.conn.their_state is h11.IDLE:
            data, _ = self.conn.trailing_data
            if data.startswith(b"\r\n"):
                data = _EMPTY_LINES.sub(b"", data, count=1)
                # Between two requests, a new connection of h11 is equal to the old one.
                self.conn = h11.Connection(h11.SERVER, _MAX_H11_HEAD_BYTES)
                if data:
                    self.conn.receive_data(data)
            if data == b"\r":
                return
        super().handle_events()

    def break_off(self) -> None:
        """End the connection within a response, in a way that the client can tell from a complete one.

        An HTTP/1.0 client takes an orderly end of the connection for the end of the response, so it gets a reset.
        """
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        if self.cycle.response_started and self.cycle.scope["http_version"] == "1.0":
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        in_request = self.in_request
        if not in_request or not self.cycle.response_started:
            super().send_400_response(msg)
        if in_request:
            self.break_off()
