"""The server behind the reverse proxy: its address, its time limits, and the connections to it."""

import re
import ssl
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from yarl import URL

from noai_guard.reverse_proxy.aiohttp_adapter import Connection, ConnectionLost, Connector
from noai_guard.socket_address import SocketAddress

_IDLE_SECONDS = 15.0
"""The time a connection waits in the pool for another request."""


class UpstreamFailed(Exception):
    """The upstream gave no response that could be passed on. `status` is what the client gets: 502 or 504.

    `may_be_stale`: nothing came back, so the upstream may have closed a connection that had waited in the pool.
    """

    def __init__(self, status: int, reason: str, *, may_be_stale: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.may_be_stale = may_be_stale


class ResponseBroken(Exception):
    """The response broke off. The server must reset the connection, so that a part is not taken for the whole."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, from the request to the beginning of the response, and between two parts of a message."""

    connect: float = 5.0
    first_byte: float = 60.0
    idle: float = 60.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """An origin server: `scheme` and `netloc` (host, and the port unless it is the scheme's), or a UNIX socket's path.

    `host` is the Host field it is sent instead of the client's; None keeps the client's. `ca_file` holds the
    certificates to check it with, instead of the system's.
    """

    scheme: str
    netloc: str
    socket: str | None = None
    host: str | None = None
    ca_file: str | None = None

    @classmethod
    def parse(cls, text: str, host: str | None = None, ca_file: str | None = None) -> "Upstream":
        """Parse `http://host[:port]`, `https://host[:port]` or `unix:/path`.

        Raise ValueError with a message that says what to write.
        """
        if text.startswith("unix:"):
            return cls("http", "localhost", SocketAddress.parse(text).path, host, ca_file)
        hint = "write http://host:port, https://host or unix:/path/to/socket"
        try:
            parts = urlsplit(text)
            netloc = parts.netloc if parts.port != 0 else ""
            url = URL(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is not the address of a server ({error}); {hint}") from error
        if parts.scheme not in ("http", "https") or not netloc or not url.host or re.search(r"[\s@\\]", netloc):
            raise ValueError(f"{text!r} is not the address of a server; {hint}")
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


class ConnectionPool:
    """The connections of one process to an upstream. To be made and used inside the event loop.

    Only requests that may be sent twice reuse a connection. One that waited in the pool may be closed by the upstream
    at the moment it is used again; other requests get a new one, so that this never fails them.
    """

    def __init__(self, upstream: Upstream, timeouts: Timeouts) -> None:
        target = (upstream.url, upstream.socket, tls_context(upstream), timeouts.connect)
        self._reusing = Connector(*target, idle_seconds=_IDLE_SECONDS)
        self._fresh = Connector(*target, idle_seconds=None)

    async def acquire(self, *, reuse: bool, response_has_body: bool = True) -> Connection:
        """Return a connection that is ready for one request. Raise UpstreamFailed."""
        connection = await _connected(self._reusing if reuse else self._fresh)
        if reuse and connection.unusable:
            # What the upstream sent while the connection waited would be read as the next response.
            connection.close()
            connection = await _connected(self._fresh)
        connection.expect_response(has_body=response_has_body)
        return connection

    async def close(self) -> None:
        await self._reusing.close()
        await self._fresh.close()


async def _connected(connector: Connector) -> Connection:
    try:
        return await connector.connect()
    except TimeoutError as error:
        raise UpstreamFailed(504, "does not accept connections in time") from error
    except ConnectionLost as error:
        raise UpstreamFailed(502, f"cannot be reached ({error})") from error


@lru_cache(maxsize=8)
def tls_context(upstream: Upstream) -> ssl.SSLContext | None:
    """Return what an https upstream is checked with, None for http. Raise OSError if `ca_file` cannot be used."""
    return ssl.create_default_context(cafile=upstream.ca_file) if upstream.scheme == "https" else None
