"""The address of the client: the socket's peer, or what a trusted proxy says about it.

By default nobody is trusted and the socket counts. A header is read only when the peer is a trusted proxy,
and then from its right end, because every proxy appends there: whatever the client wrote stands to the left
of what the first trusted proxy saw, and is never reached.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv6Address
from itertools import islice
from typing import Any

from noai_guard.core.address_headers import HEADERS, MAX_NODE, hops, parse_node
from noai_guard.core.networks import address_number
from noai_guard.core.trusted_proxies import MAX_BYTES_LIMIT, NOBODY, TrustedProxies

PROBLEMS = (
    "peer_without_address",  # a UNIX socket, and `unix:` is not trusted
    "peer_not_an_address",  # the server names a peer that is no IP address, as test clients do
    "peer_not_trusted",  # the header came from a peer that may not send it: a spoof, or a proxy not listed
    "header_missing",  # a trusted peer sent no such header: its own health check, or it is not configured
    "header_repeated",  # a single-valued header on several lines
    "header_too_large",  # every hop within the size limit is trusted, and more text follows
    "address_malformed",  # the hop next to the last good one cannot be read
    "address_undisclosed",  # that hop is `unknown`, obfuscated (`_x`), or has no `for`
    "too_many_hops",  # every hop within the hop limit is trusted, and more follow
)
"""Every value of `ClientAddress.problem`, fit for a metric label."""

_FORWARDING = frozenset(name.encode("ascii") for name in HEADERS)
"""Header fields that tell the address of a client."""

_TELLING = _FORWARDING | {b"x-forwarded-port"}
"""Fields that an address is worked out from."""

_MAX_TOLD_BYTES = 2048

# Only the metric `peer_not_trusted` depends on it: an untrusted peer may send 20,000 headers.
_MAX_UNTRUSTED_HEADERS = 64


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """The client of one request.

    `address` is canonical text (IPv4, or IPv6 as RFC 5952 writes it; IPv4-mapped addresses are IPv4; no port,
    brackets or zone), or None when it is not known. `source` is `socket` or the name of the header believed.
    `problem` is one of `PROBLEMS`, or None. An address is not `is_proven` if the client may have written it into a
    header that the server believed, whomever the policy trusts: it may be logged, and counted, but opens nothing.
    """

    address: str | None
    source: str
    problem: str | None = None
    is_proven: bool = True


_WITHOUT_ADDRESS = ClientAddress(None, "socket", "peer_without_address")
_NOT_AN_ADDRESS = ClientAddress(None, "socket", "peer_not_an_address")


@lru_cache(maxsize=1024)
def _socket(peer: str) -> ClientAddress:
    address = parse_node(peer).address
    return _NOT_AN_ADDRESS if address is None else ClientAddress(address, "socket")


def client_address(
    peer: str | None, headers: Iterable[tuple[bytes, bytes]], trusted: TrustedProxies = NOBODY
) -> ClientAddress:
    """Return who sent the request. Never raises, whatever the headers hold.

    `peer` is the host of the ASGI scope's `client` or of the socket, None for a UNIX domain socket. A peer
    that is no IP address (`testclient`) is never trusted. Header names may be in any case; `x_forwarded_for`
    and `x.forwarded.for` are other headers.

    X-Forwarded-For and Forwarded are read from the right over all their lines: trusted hops are passed, the first other
    address is the client. Where a hop cannot be read, the last good one is the client, and `problem` says why. When
    every hop is trusted, the leftmost is the client: one of the site's own machines, not a choice of the client.

    The cost grows only with the number of header lines that a trusted peer passes on (about 35 ns each).
    """
    socket = _WITHOUT_ADDRESS if peer is None else _NOT_AN_ADDRESS
    if peer is not None and len(peer) <= MAX_NODE:
        socket = _socket(peer)
    name = trusted.header_name
    if name is None:
        return socket
    is_trusted = trusted.unix if peer is None else socket.address is not None and socket.address in trusted.peers
    if not is_trusted:
        if socket.problem is None and any(n.lower() == name for n, _ in islice(headers, _MAX_UNTRUSTED_HEADERS)):
            return replace(socket, problem="peer_not_trusted")
        return socket
    size = len(name)
    lines = [value for n, value in headers if n == name or (len(n) == size and n.lower() == name)]
    if not lines:
        return ClientAddress(socket.address, "socket", "header_missing")
    last: str | None = None
    problem: str | None = None
    for count, (address, problem) in enumerate(hops(name, lines, trusted.max_bytes)):
        if address is None:
            break
        if count == trusted.max_hops:
            problem = "too_many_hops"
            break
        last = address
        if address not in trusted.peers:
            break
    return replace(socket, problem=problem) if last is None else ClientAddress(last, trusted.header or "", problem)


@dataclass(slots=True, eq=False)
class SeenClient:
    """What a client's address is worked out from.

    `lines` are the fields of its head, at least those of _TELLING. `peer_is_real`: no server has replaced the peer by
    what such a field says.
    """

    peer: Sequence[Any] | None
    lines: Sequence[tuple[bytes, bytes]]
    trusted: TrustedProxies
    peer_is_real: bool

    def seen(self) -> tuple[ClientAddress, bool]:
        """Return the client, and True if its peer is what the server read in a header."""
        peer, headers, trusted = self.peer, self.lines, self.trusted
        # The peer is not the socket's but text from a header: no reason to believe more of them.
        is_rewritten = not self.peer_is_real and proxy_headers_rewritten(peer, headers)
        trusted = NOBODY if is_rewritten else trusted
        client = client_address(peer[0] if peer else None, headers, trusted)
        # A proxy whose header says nothing of the client vouches for itself only, not for whom it passes on.
        if (trusted.header and client.problem) or (not self.peer_is_real and may_be_rewritten(client, headers)):
            client = replace(client, is_proven=False)
        return client, is_rewritten


def told(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...] | None:
    """Return the fields that a client's address is worked out from, or None if they are too long to be kept."""
    # One loop: it is on the way of each recorded request, and costs half of two generators (2026-11).
    lines, size = [], 0
    for line in headers:
        if line[0] in _TELLING:
            lines.append(line)
            size += len(line[1])
    return tuple(lines) if size <= _MAX_TOLD_BYTES else None


def address_block(address: str | None) -> str:
    """Return the network that counts as one client in rates: IPv4 /32, IPv6 /64 (RFC 6177: a home gets no less).

    `address` is a `ClientAddress.address`; the block of anything else is `""`.
    """
    known = parse_node(address).address if address else None
    if known is None:
        return ""
    return f"{IPv6Address(address_number(known) >> 64 << 64)}/64" if ":" in known else f"{known}/32"


def may_be_rewritten(client: ClientAddress, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return True if what the server gives as its socket's peer may be text from a header, by any server's rules.

    Servers and frameworks (uvicorn, daphne, hypercorn, granian, werkzeug) put the address of a header in the place of
    the peer, each in its own way; where no such header came, none can have done so.
    """
    return client.source == "socket" and any(name.lower() in _FORWARDING for name, _ in headers)


def proxy_headers_rewritten(client: Sequence[object] | None, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return True if `scope["client"]` is no socket but a server's reading of X-Forwarded-For.

    uvicorn does so by default for peers on loopback, before any middleware runs. Up to 0.34 at least it sets port
    0, which no TCP peer has; since 0.46 at the latest it keeps the port of an element that has one (`host:port`).
    Versions before 0.31 may set host None. daphne 4.2 takes the port from X-Forwarded-Port, else 0. A client that
    writes its own address and port into the header is taken for rewritten: use it to warn and to trust nobody,
    never to believe.
    """
    if not client or len(client) < 2 or type(client[1]) is not int:
        return False
    headers = list(headers)
    lines = [value for name, value in headers if name == b"x-forwarded-for"]
    host, port = client[0], client[1]
    if not lines or port == 0 or (b"x-forwarded-port", b"%d" % port) in headers:
        return bool(lines)
    if not isinstance(host, str) or len(host) > MAX_NODE:
        return False
    joined = b",".join(lines)
    # uvicorn takes the leftmost element when it trusts everybody, else one near the right end.
    elements = (joined[:MAX_BYTES_LIMIT] + b"," + joined[-MAX_BYTES_LIMIT:]).decode("latin-1").split(",")
    return any(element.strip() in (f"{host}:{port}", f"[{host}]:{port}") for element in elements)
