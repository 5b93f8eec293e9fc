"""HTTPS requests that the guard sends of its own accord: bounded in time, bytes and redirects, and never to its own
network, whatever a name or a redirect leads to.

httpx2 sends them, for the reasons given in `noai_guard.audit.probe.fetch`, which shares the look at the peer.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from noai_guard.core.web_addresses import absolute_url, is_inside, is_inside_address, is_web_address
from noai_guard.errors import MissingExtra
from noai_guard.version import __version__

_REDIRECTS = (301, 302, 303, 307, 308)


class LeadsInside(OSError):
    """Raised when a name leads to an address on this machine or its own network."""


class NotFetched(OSError):
    """A document that could not be fetched; the message says why, without the address."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one fetch, with all its redirects: `seconds` from the look-up of the name to the last byte."""

    seconds: float
    max_bytes: int
    redirects: int = 0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document with status 200, and its header fields by lower-case name."""

    body: bytes
    headers: Mapping[str, str]

    @property
    def media_type(self) -> str:
        """The media type in lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def peer_check(host: str) -> Callable[[str, dict[str, Any]], Awaitable[None]]:
    """Return a trace of httpcore2 that ends a connection to `host` whose peer is inside, before anything is sent.

    It raises LeadsInside. A name that resolves to another address the second time (DNS rebinding) cannot pass it,
    because it looks at the connection itself. A connection to another host is one to a proxy of the environment, which
    looks up names itself.
    """
    connecting_to = ""

    async def trace(event: str, info: dict[str, Any]) -> None:
        nonlocal connecting_to
        if event == "connection.connect_tcp.started":
            connecting_to = info["host"]
        elif event == "connection.connect_tcp.complete" and connecting_to == host:
            peer = info["return_value"].get_extra_info("server_addr")
            if is_inside_address(ip_address(str(peer[0]).partition("%")[0])):
                await info["return_value"].aclose()
                raise LeadsInside

    return trace


def fetch(url: str, limits: Limits, *, allow_inside: bool = False, tls: ssl.SSLContext | None = None) -> Fetched:
    """Return the document at an https address. Raises NotFetched; MissingExtra if httpx2 is not installed.

    Blocks for at most `limits.seconds`. Called in a thread without a running event loop.

    `allow_inside` permits this machine and its own network. `tls` holds the authorities to trust, the usual ones if
    None.
    """
    return asyncio.run(_fetch(url, limits, allow_inside, tls))


async def _fetch(url: str, limits: Limits, allow_inside: bool, tls: ssl.SSLContext | None) -> Fetched:
    try:
        import httpx2
    except ImportError:
        raise MissingExtra("identity", "fetching keys, ranges and feeds") from None
    # HTTP/1.1 alone: h11 bounds a header to 100 KiB. No cookies, since each fetch has a client of its own.
    client = httpx2.AsyncClient(verify=tls or True, timeout=None, follow_redirects=False)
    try:
        async with asyncio.timeout(limits.seconds), client:
            for _ in range(limits.redirects + 1):
                if not is_web_address(url) or urlsplit(url).scheme != "https":
                    raise NotFetched("it is not an https address")
                if not allow_inside and is_inside(url):
                    raise LeadsInside
                response = await _send(client, url, allow_inside)
                try:
                    location = response.headers.get("location", "")
                    if response.status_code in _REDIRECTS and location:
                        url = absolute_url(url, location)
                        continue
                    if response.status_code != 200:
                        raise NotFetched(f"the answer was HTTP {response.status_code}")
                    return await _received(response, limits.max_bytes)
                finally:
                    await response.aclose()
            raise NotFetched("it redirects" if not limits.redirects else "it redirects too often")
    except TimeoutError:
        raise NotFetched(f"no complete answer within {limits.seconds:g} s") from None
    except LeadsInside:
        raise NotFetched("it leads to this machine or its own network") from None
    except NotFetched:
        raise
    except Exception as error:  # whatever a server makes the client raise
        raise NotFetched(f"{type(error).__name__}: {error}"[:300]) from None


async def _send(client: Any, url: str, allow_inside: bool) -> Any:
    sent = {"accept": "application/json, */*;q=0.5", "accept-encoding": "identity"}
    request = client.build_request("GET", url, headers={**sent, "user-agent": f"noai-guard/{__version__}"})
    if not allow_inside:
        request.extensions["trace"] = peer_check(request.url.raw_host.decode("ascii"))
    return await client.send(request, stream=True)


async def _received(response: Any, max_bytes: int) -> Fetched:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise NotFetched("it is compressed, which nobody asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > max_bytes:
            raise NotFetched(f"it is larger than {max_bytes:,} bytes")
    return Fetched(bytes(body), {name.lower(): value for name, value in response.headers.items()})
