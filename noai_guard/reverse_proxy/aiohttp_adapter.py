"""The only module that imports aiohttp: connections to one server, in names of our own.

aiohttp's connector does the transport (pool, TLS, name resolution, UNIX sockets), and llhttp, its parser, reads the
responses: 387 µs a proxied request where httpx takes 5,144 (3.14 and 0.28, measured 2026-11-23). Its documented
ClientSession is left out, because it decodes and encodes URLs and headers again, follows redirects and keeps cookies,
none of which a proxy may do. What is used instead, and what fails when it changes (read in 3.14.5; the extra `serve`
admits only the minor versions that the tests have passed with):

- `BaseConnector.connect(request, traces, timeout)` with a `ClientRequest` that only names the server, and
  `Connection.protocol`, `release`, `close`: no connection could be made.
- `ResponseHandler`: `should_close`, `closed`, `transport`, `read`, `exception`, and `set_response_params` with
  `max_headers` (since 3.13.4): no response could be read.
- `StreamReader.readany`, `at_eof`, `is_eof`, `exception`, `set_exception`: a response that broke off could look
  complete.
- `StreamWriter.write`, `write_eof`, `enable_chunking`: no request body could be sent.

tests/reverse_proxy/test_aiohttp_adapter.py fails when one of these names is gone.
"""

import asyncio
import ssl
from functools import partial

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from noai_guard.core.model import HeaderField

_MAX_HEAD_BYTES = 64 * 1024
_MAX_HEADERS = 1024
_BUFFER_BYTES = 128 * 1024
"""Bytes of a response that wait for a slow client before the upstream is no longer read; twice that at most."""


class ConnectionLost(Exception):
    """The connection could not be made, or ended before the message did. The message says why."""


class MalformedResponse(Exception):
    """A response that is not HTTP. The message says why."""


class Connection:
    """A connection for one request and its response. `release` or `close` it afterwards."""

    def __init__(self, connection: aiohttp.connector.Connection, protocol: ResponseHandler) -> None:
        self._connection = connection
        self._protocol = protocol
        self._body: aiohttp.StreamReader = aiohttp.EMPTY_PAYLOAD
        self._lost: asyncio.Future[None] | None = None

    @property
    def unusable(self) -> bool:
        """True if the server closed the connection or sent something that nobody asked for."""
        return self._protocol.should_close

    def expect_response(self, *, has_body: bool) -> None:
        """Prepare for a response; one to HEAD has no body."""
        self._protocol.set_response_params(
            skip_payload=not has_body,
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=_BUFFER_BYTES,
            max_line_size=_MAX_HEAD_BYTES,
            max_field_size=_MAX_HEAD_BYTES,
            max_headers=_MAX_HEADERS,
        )

    def write_head(self, head: bytes) -> None:
        """Send the head of the request. Raise ConnectionLost."""
        if self._protocol.transport is None:
            raise ConnectionLost("closed")
        self._protocol.transport.write(head)

    def start_body(self, *, chunked: bool) -> None:
        """Prepare to send the body of the request."""
        self._writer = StreamWriter(self._protocol, asyncio.get_running_loop())
        if chunked:
            self._writer.enable_chunking()

    async def write_body(self, data: bytes, *, last: bool) -> None:
        """Send a part of the body, as soon as the server takes it. Raise ConnectionLost."""
        try:
            await self._writer.write(data)
            if last:
                await self._writer.write_eof()
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLost(str(error)) from error

    async def read_head(self) -> tuple[int, tuple[HeaderField, ...]]:
        """Return the status and the header fields of the next response. Raise ConnectionLost or MalformedResponse."""
        try:
            message, self._body = await self._protocol.read()
        except HttpProcessingError as error:
            raise MalformedResponse(error.message) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLost(str(error)) from error
        return message.code, message.raw_headers

    async def read_part(self) -> tuple[bytes, bool]:
        """Return the next bytes of the body of the response read last, and whether more may follow.

        Raise ConnectionLost if the connection ended, or the body was malformed, before the body was complete.
        """
        body = self._body
        if self._lost is None:
            self._lost = self._protocol.closed
            self._on_loss = partial(_fail_incomplete, body)
            if self._lost is None:
                self._on_loss(None)
            else:
                self._lost.add_done_callback(self._on_loss)
                # It outlives this response, and its exception must have been looked at whenever it comes: else asyncio
                # logs it. Once, because a connection that is used again has the same future.
                self._lost.remove_done_callback(_look_at)
                self._lost.add_done_callback(_look_at)
        try:
            part = await body.readany()
            more = not body.at_eof()
            if not more and isinstance(self._protocol.exception(), aiohttp.ClientOSError):
                # A body that ends with the connection, which was reset: aiohttp 3.14 takes it for complete.
                raise ConnectionLost("reset")
        except (aiohttp.ClientError, HttpProcessingError) as error:
            raise ConnectionLost(str(error)) from error
        return part, more

    def _stop_watching(self) -> None:
        if self._lost is not None:
            self._lost.remove_done_callback(self._on_loss)
            self._lost = None

    def release(self) -> None:
        """Give the connection back to the pool; nothing of the request or the response may be left on it."""
        self._stop_watching()
        self._connection.release()

    def close(self) -> None:
        """Close the connection unless it has been released."""
        self._stop_watching()
        self._connection.close()


class Connector:
    """Makes connections to one server. To be made and used inside the event loop.

    `idle_seconds` is how long a released connection waits for another request; None closes it.
    """

    def __init__(
        self,
        url: URL,
        unix_path: str | None,
        tls: ssl.SSLContext | None,
        connect_seconds: float,
        idle_seconds: float | None,
    ) -> None:
        keep_alive = {"force_close": True} if idle_seconds is None else {"keepalive_timeout": idle_seconds}
        self._connector: aiohttp.BaseConnector
        if unix_path:
            self._connector = aiohttp.UnixConnector(unix_path, limit=0, **keep_alive)
        else:
            self._connector = aiohttp.TCPConnector(limit=0, ssl=tls or True, **keep_alive)
        self._server = aiohttp.ClientRequest("GET", url, loop=asyncio.get_running_loop())
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds)

    async def connect(self) -> Connection:
        """Return a connection. Raise TimeoutError or ConnectionLost."""
        try:
            connection = await self._connector.connect(self._server, [], self._timeout)
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLost(str(error)) from error
        if connection.protocol is None:
            raise ConnectionLost("closed")
        return Connection(connection, connection.protocol)

    async def close(self) -> None:
        await self._connector.close()


def _look_at(lost: "asyncio.Future[None]") -> None:
    if not lost.cancelled():
        lost.exception()


def _fail_incomplete(body: aiohttp.StreamReader, lost: "asyncio.Future[None] | None") -> None:
    """Make readers of an incomplete body fail. After a malformed chunk, aiohttp 3.14 leaves them waiting for ever."""
    if not body.is_eof() and body.exception() is None:
        body.set_exception(aiohttp.ClientConnectionError("malformed, or cut"))
