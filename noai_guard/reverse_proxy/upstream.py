"""The server behind the reverse proxy: where it is, and the connections to it.

aiohttp's connector does the transport (pool, TLS, name resolution, UNIX sockets) and its parser, llhttp, reads the
answers: 387 µs a proxied request where httpx takes 5,144 (3.14 and 0.28, measured 2026-11-23). Its ClientSession is
left out: that one decodes and encodes URLs and headers again, follows redirects and keeps cookies, none of which a
proxy may do.
"""

import asyncio
import re
import ssl
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import (
    BaseConnector,
    ClientConnectionError,
    ClientError,
    ClientRequest,
    ClientTimeout,
    TCPConnector,
    UnixConnector,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from yarl import URL

from noai_guard.socket_address import SocketAddress

_LARGEST_HEAD = 64 * 1024
_MOST_FIELDS = 1024
_BUFFER = 128 * 1024
"""Bytes of an answer that wait for a slow client before the upstream is no longer read; twice that at most."""

_IDLE_SECONDS = 15.0
"""How long a connection waits in the pool for another request."""


class UpstreamFailed(Exception):
    """The upstream gave no answer that could be passed on. `status` is what the client gets: 502 or 504."""

    def __init__(self, status: int, why: str, *, may_be_stale: bool = False) -> None:
        super().__init__(why)
        self.status = status
        self.may_be_stale = may_be_stale
        """Nothing came back: the upstream may have closed a connection that waited in the pool."""


class ResponseBroken(Exception):
    """An answer that had begun cannot be finished: who serves the app has to cut the connection, so that nobody
    takes a part for the whole."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: until a connection stands, until the answer begins, between two parts of a message."""

    connect: float = 5.0
    first_byte: float = 60.0
    idle: float = 60.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """An origin: `scheme`, `netloc` (host, and port where it is not the scheme's), or the `socket` of a UNIX domain.

    `host` is the Host header it is sent instead of the visitor's; None keeps the visitor's.
    """

    scheme: str
    netloc: str
    socket: str | None = None
    host: str | None = None
    ca_file: str | None = None

    @classmethod
    def parse(cls, text: str, host: str | None = None, ca_file: str | None = None) -> "Upstream":
        """Reads `http://host[:port]`, `https://host[:port]` or `unix:/path`. Raises ValueError, with what to write."""
        if text.startswith("unix:"):
            return cls("http", "localhost", SocketAddress.parse(text).path, host, ca_file)
        shape = "write http://host:port, https://host or unix:/path/to/socket"
        try:
            parts = urlsplit(text)
            netloc = parts.netloc if parts.port != 0 else ""
            url = URL(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is no address of a server ({error}); {shape}") from error
        if parts.scheme not in ("http", "https") or not netloc or not url.host or re.search(r"[\s@\\]", netloc):
            raise ValueError(f"{text!r} is no address of a server; {shape}")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            origin = f"{parts.scheme}://{netloc}"
            raise ValueError(f"{text!r} has a path, and paths are passed on as they are sent; write {origin}")
        return cls(parts.scheme, netloc, None, host, ca_file)

    @property
    def url(self) -> URL:
        return URL(f"{self.scheme}://{self.netloc}")

    @property
    def hostname(self) -> str:
        return self.url.raw_host or ""

    @property
    def port(self) -> int:
        return self.url.port or 80

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else f"{self.scheme}://{self.netloc}"


class Connections:
    """The connections of one process to an upstream. To be made and used inside the event loop.

    Those for requests that may be sent twice come from a pool. A connection that waited there may be closed by the
    upstream in the moment it is used again; other requests get a fresh one, so that this never fails them.
    """

    def __init__(self, upstream: Upstream, timeouts: Timeouts) -> None:
        self.upstream = upstream
        self.pool = self._connector(_IDLE_SECONDS)
        self.fresh = self._connector(None)
        self._request = ClientRequest("GET", upstream.url, loop=asyncio.get_running_loop())
        self._timeout = ClientTimeout(total=None, connect=timeouts.connect)

    def _connector(self, idle: float | None) -> BaseConnector:
        waiting = {"force_close": True} if idle is None else {"keepalive_timeout": idle}
        if self.upstream.socket:
            return UnixConnector(self.upstream.socket, limit=0, **waiting)
        return TCPConnector(limit=0, ssl=tls_context(self.upstream) or True, **waiting)

    async def take(self, *, pooled: bool, has_body: bool) -> Connection:
        """A connection ready for one request; `has_body`: whether its answer may have one. Raises UpstreamFailed."""
        connection = await self._connected(self.pool if pooled else self.fresh)
        if pooled and protocol_of(connection).should_close:
            # It said something while it waited, that would be read as the next answer.
            connection.close()
            connection = await self._connected(self.fresh)
        protocol_of(connection).set_response_params(
            skip_payload=not has_body,
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=_BUFFER,
            max_line_size=_LARGEST_HEAD,
            max_field_size=_LARGEST_HEAD,
            max_headers=_MOST_FIELDS,
        )
        return connection

    async def _connected(self, connector: BaseConnector) -> Connection:
        try:
            return await connector.connect(self._request, [], self._timeout)
        except TimeoutError as error:
            raise UpstreamFailed(504, "does not accept connections in time") from error
        except (ClientError, OSError) as error:
            raise UpstreamFailed(502, f"cannot be reached ({error})") from error

    async def close(self) -> None:
        await self.pool.close()
        await self.fresh.close()


@lru_cache(maxsize=8)
def tls_context(upstream: Upstream) -> ssl.SSLContext | None:
    """How an https upstream is checked. Raises OSError when its `ca_file` cannot be used."""
    return ssl.create_default_context(cafile=upstream.ca_file) if upstream.scheme == "https" else None


def protocol_of(connection: Connection) -> ResponseHandler:
    protocol = connection.protocol
    if protocol is None:
        raise ClientConnectionError("closed")
    return protocol
