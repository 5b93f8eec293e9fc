"""Who is the client: the socket's peer, or what a trusted proxy says about it.

By default nobody is trusted and the socket counts. A header is read only when the peer is a trusted proxy,
and then from its right end, because every proxy appends there: whatever the client wrote stands to the left
of what the first trusted proxy saw, and is never reached.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_network
from itertools import islice
from typing import NamedTuple

from noai_guard.core.text import closest

Network = IPv4Network | IPv6Network

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

_PASSES_THE_CLIENTS_OWN = "passes on a value the client sent unless the edge is told to overwrite it"

HEADERS: dict[str, str | None] = {
    "x-forwarded-for": None,
    "forwarded": None,
    "ali-cdn-real-ip": None,
    "cf-connecting-ip": None,
    "cf-connecting-ipv6": None,
    "do-connecting-ip": None,
    # developer.fastly.com/reference/http/http-headers/Fastly-Client-IP, read 2026-11-23
    "fastly-client-ip": _PASSES_THE_CLIENTS_OWN,
    "fly-client-ip": None,
    "incap-client-ip": None,
    # Cloudflare overwrites it, Akamai does not (realclientip-go wiki, "Single IP Headers", read 2026-11-23)
    "true-client-ip": _PASSES_THE_CLIENTS_OWN,
    # Azure Front Door takes it from the client's X-Forwarded-For (same page); x-azure-socketip is the socket
    "x-azure-clientip": _PASSES_THE_CLIENTS_OWN,
    "x-azure-socketip": None,
    "x-client-ip": _PASSES_THE_CLIENTS_OWN,
    "x-cluster-client-ip": None,
    "x-envoy-external-address": None,
    "x-nf-client-connection-ip": None,
    "x-real-ip": None,
    "x-sucuri-clientip": None,
}
"""Every header that can be configured, with a caution to show to the site, or None."""

MAX_BYTES_LIMIT = 8192
_MAX_HOPS_LIMIT = 128
# `[` 45 characters of IPv6 `%` zone `]:65535`
_MAX_NODE = 96
# Four parameters are registered; the rest is room for extensions and for what a client can put into `host`.
_MAX_FORWARDED_ELEMENT = 1024
_MAX_QUOTES = 32
# Only the metric `peer_not_trusted` depends on it: an untrusted peer may send 20,000 headers.
_UNTRUSTED_HEADERS_READ = 64


class _Hop(NamedTuple):
    text: str  # canonical: lower-case, un-mapped, without port, brackets and zone
    key: int  # one number line for both families, IPv4 above every IPv6 address


_IPV4_KEYS = 1 << 128
_IPV4_MAPPED = IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One mistake in the settings of trusted proxies. `index` is the position in `peers`, else None."""

    setting: str
    index: int | None
    value: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Who may say who the client is. Build it with `parse`; the default trusts nobody.

    `peers` are merged networks. `unix` trusts a peer without an address (a UNIX domain socket). `header` is
    one name of `HEADERS`. At most `max_hops` hops and `max_bytes` bytes of it are read, from its right end.
    """

    peers: tuple[Network, ...] = ()
    unix: bool = False
    header: str | None = None
    max_hops: int = 32
    max_bytes: int = 2048
    _name: bytes | None = field(init=False, repr=False, compare=False, default=None)
    _starts: tuple[int, ...] = field(init=False, repr=False, compare=False, default=())
    _ends: tuple[int, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        merged = _merged(self.peers)
        ranges = sorted((_key(network[0]), _key(network[-1])) for network in merged)
        object.__setattr__(self, "peers", merged)
        object.__setattr__(self, "_starts", tuple(start for start, _ in ranges))
        object.__setattr__(self, "_ends", tuple(end for _, end in ranges))
        if self.header is not None and (merged or self.unix):
            object.__setattr__(self, "_name", self.header.encode("ascii"))

    @classmethod
    def parse(
        cls, peers: Iterable[str], header: str | None = None, max_hops: int = 32, max_bytes: int = 2048
    ) -> tuple["TrustedProxies", tuple[SettingProblem, ...]]:
        """Read the settings of a site. Never raises: the second part is every mistake at once.

        `peers` are addresses, CIDR networks and the literal `unix:`. With any mistake the first part trusts
        nobody.
        """
        problems: list[SettingProblem] = []
        networks: list[Network] = []
        unix = False
        for index, peer in enumerate((peers,) if isinstance(peers, str) else peers):
            if peer == "unix:":
                unix = True
                continue
            parsed = _network(peer)
            if isinstance(parsed, str):
                message = f"{_shown(peer)} is not a network of trusted proxies"
                problems.append(SettingProblem("peers", index, _shown(peer), message, parsed))
            else:
                networks.append(parsed)
        for network in _merged(networks):
            if network.prefixlen == 0:
                message = f"{network} trusts everybody, so every client could choose its own address"
                hint = "list only the addresses your proxies connect from"
                problems.append(SettingProblem("peers", None, str(network), message, hint))
        name = header.strip().lower() if isinstance(header, str) else None
        problems += _header_problems(header, name, bool(networks or unix or problems))
        for setting, value, limit in (
            ("max_hops", max_hops, _MAX_HOPS_LIMIT),
            ("max_bytes", max_bytes, MAX_BYTES_LIMIT),
        ):
            if type(value) is not int or not 1 <= value <= limit:
                message = f"{setting} is {_shown(value)}"
                hint = f"write a whole number from 1 to {limit}"
                problems.append(SettingProblem(setting, None, _shown(value), message, hint))
        if problems:
            return NOBODY, tuple(problems)
        return cls(tuple(networks), unix, name, max_hops, max_bytes), ()

    def trusts(self, peer: object) -> bool:
        """Whether a peer (the host of the ASGI scope's `client`, None for a UNIX domain socket) is trusted."""
        if peer is None:
            return self.unix
        key = _socket(peer)[1] if isinstance(peer, str) and len(peer) <= _MAX_NODE else None
        return key is not None and self._covers(key)

    def _covers(self, key: int) -> bool:
        index = bisect_right(self._starts, key) - 1
        return index >= 0 and key <= self._ends[index]


def _merged(networks: Iterable[Network]) -> tuple[Network, ...]:
    networks = tuple(networks)
    return (
        *collapse_addresses(network for network in networks if isinstance(network, IPv4Network)),
        *collapse_addresses(network for network in networks if isinstance(network, IPv6Network)),
    )


def _key(address: IPv4Address | IPv6Address) -> int:
    return int(address) + _IPV4_KEYS if isinstance(address, IPv4Address) else int(address)


def _shown(value: object) -> str:
    return repr(value[:80] if isinstance(value, str) else value)[:100]


def _network(peer: object) -> Network | str:
    """The network, or the hint for the person who wrote something else."""
    if not isinstance(peer, str):
        return "write an address or a CIDR network in quotes, such as '10.0.0.0/8'"
    if peer == "*":
        return "trusting everybody lets every client choose its own address; list your proxies' networks"
    if peer.startswith("unix"):
        return "write 'unix:' (nothing after it) to trust a UNIX domain socket"
    if not re.fullmatch(r"[0-9A-Fa-f.:]{2,45}(?:/[0-9]{1,3})?", peer):
        return "write an address or a CIDR network, such as '10.0.0.0/8' or 'fd00::/8'; names are not looked up"
    try:
        network = ip_network(peer)
    except ValueError:
        try:
            return f"bits are set behind the prefix; did you mean {str(ip_network(peer, strict=False))!r}?"
        except ValueError:
            return "write an address or a CIDR network, such as '10.0.0.0/8' or 'fd00::/8'"
    if isinstance(network, IPv6Network) and network.subnet_of(_IPV4_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _header_problems(header: object, name: str | None, anybody: bool) -> list[SettingProblem]:
    def problem(message: str, hint: str) -> list[SettingProblem]:
        return [SettingProblem("header", None, _shown(header), message, hint)]

    if header is None:
        hint = "name the one header your proxy writes, usually x-forwarded-for"
        return problem("proxies are trusted, but no header to read", hint) if anybody else []
    if name not in HEADERS:
        match = closest(name or "", HEADERS)
        hint = f"did you mean {match}?" if match else f"write one of {', '.join(HEADERS)}"
        return problem(f"{_shown(header)} is not a header that names a client", hint)
    if not anybody:
        return problem(f"{name} is never read while no proxy is trusted", "list the proxies that write it")
    return []


NOBODY = TrustedProxies()
"""Trusts nobody: the socket counts."""


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """The client of one request.

    `address` is canonical text (IPv4, or IPv6 as RFC 5952 writes it; IPv4-mapped addresses are IPv4; no port,
    brackets or zone), or None when it is not known. `source` is `socket` or the name of the header believed.
    `problem` is one of `PROBLEMS`, or None.
    """

    address: str | None
    source: str
    problem: str | None = None


_WITHOUT_ADDRESS = ClientAddress(None, "socket", "peer_without_address")
_NOT_AN_ADDRESS = ClientAddress(None, "socket", "peer_not_an_address")

_ZONE = r"(?:%[0-9A-Za-z._~-]{1,32})?"
_NODE = re.compile(
    r"(?:(?P<v4>[0-9]{1,3}(?:\.[0-9]{1,3}){3})|\[(?P<v6>[0-9A-Fa-f:.]{2,45})" + _ZONE + r"\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"|(?P<bare>[0-9A-Fa-f:.]{2,45})" + _ZONE
)


# Proxies repeat, and a client asks more than once. 4,096 entries of at most 96 characters: under 2 MB.
@lru_cache(maxsize=4096)
def _parsed(node: str) -> _Hop | None:
    match = _NODE.fullmatch(node)
    if match is None or int(match["port"] or 0) > 65535:
        return None
    address: IPv4Address | IPv6Address
    try:
        address = IPv4Address(match["v4"]) if match["v4"] else IPv6Address(match["v6"] or match["bare"])
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return _Hop(str(address), _key(address))


def _hop(node: str) -> _Hop | str:
    """The address of one `host`, `host:port` or `[host]:port`, else the problem with it."""
    parsed = _parsed(node) if len(node) <= _MAX_NODE else None
    if parsed is not None:
        return parsed
    undisclosed = node[:1] == "_" or node.partition(":")[0].lower() == "unknown"
    return "address_undisclosed" if undisclosed else "address_malformed"


@lru_cache(maxsize=1024)
def _socket(peer: str) -> tuple[ClientAddress, int | None]:
    parsed = _parsed(peer)
    return (ClientAddress(parsed.text, "socket"), parsed.key) if parsed else (_NOT_AN_ADDRESS, None)


def client_address(
    peer: str | None, headers: Iterable[tuple[bytes, bytes]], trusted: TrustedProxies = NOBODY
) -> ClientAddress:
    """Who sent the request. Never raises, whatever the headers hold.

    `peer` is the host of the ASGI scope's `client` or of the socket, None for a UNIX domain socket. A peer
    that is no IP address (`testclient`) is never trusted. Header names may be in any case; `x_forwarded_for`
    and `x.forwarded.for` are other headers.

    X-Forwarded-For and Forwarded are read from the right over all their lines: trusted hops are passed, the
    first other address is the client. Where a hop cannot be read, the last good one is the client, as the
    nearest thing that a trusted proxy vouched for, and `problem` says why. When every hop is trusted the
    leftmost is the client: the trusted proxy to its right saw it connect, so it is one of the site's own
    machines and not a choice of the client.

    The cost does not grow with the size of the header, only (about 35 ns each) with the number of header lines
    that a trusted peer passes on.
    """
    key: int | None
    if peer is None:
        socket, key = _WITHOUT_ADDRESS, None
        believed = trusted.unix
    else:
        socket, key = _socket(peer) if len(peer) <= _MAX_NODE else (_NOT_AN_ADDRESS, None)
        believed = False
    name = trusted._name
    if name is None:
        return socket
    if not believed and (key is None or not trusted._covers(key)):
        if socket.problem is None and any(n.lower() == name for n, _ in islice(headers, _UNTRUSTED_HEADERS_READ)):
            return replace(socket, problem="peer_not_trusted")
        return socket
    size = len(name)
    lines = [value for n, value in headers if n == name or (len(n) == size and n.lower() == name)]
    if not lines:
        return ClientAddress(socket.address, "socket", "header_missing")
    read = _HOPS.get(name, _single_hop)
    last: _Hop | None = None
    problem: str | None = None
    for count, hop in enumerate(read(lines, trusted.max_bytes)):
        if isinstance(hop, str):
            problem = hop
            break
        if count == trusted.max_hops:
            problem = "too_many_hops"
            break
        last = hop
        if read is _single_hop or not trusted._covers(hop.key):
            break
    if last is None:
        return ClientAddress(socket.address, "socket", problem)
    return ClientAddress(last.text, trusted.header or "", problem)


def _from_the_right(lines: Sequence[bytes], limit: int) -> Iterator[tuple[str, bool]]:
    """Each line, the last first, as (text, whether its beginning was cut off), up to `limit` bytes in all."""
    for line in reversed(lines):
        # ISO 8859-1 never fails, and no address holds anything outside ASCII.
        yield (line[-limit:].decode("latin-1"), len(line) > limit) if limit > 0 else ("", True)
        limit -= len(line) + 2


def _forwarded_for_hops(lines: Sequence[bytes], limit: int) -> Iterator[_Hop | str]:
    for text, cut in _from_the_right(lines, limit):
        end = len(text)
        while (comma := text.rfind(",", 0, end)) >= 0:
            yield _hop(text[comma + 1 : end].strip(" \t"))
            end = comma
        yield "header_too_large" if cut else _hop(text[:end].strip(" \t"))


def _forwarded_hops(lines: Sequence[bytes], limit: int) -> Iterator[_Hop | str]:
    """RFC 7239, also from the right: an open quote in the client's part cannot swallow the proxy's."""
    for text, cut in _from_the_right(lines, limit):
        end = len(text)
        while (start := _element_start(text, end)) > 0:
            yield _forwarded_hop(text[start:end])
            end = start - 1
        if cut:
            yield "header_too_large"
        else:
            yield "address_malformed" if start < 0 else _forwarded_hop(text[:end])


def _element_start(text: str, end: int) -> int:
    """Where the last element of text[:end] begins: behind a comma outside quotes, or 0; -1 when none does."""
    floor = max(0, end - _MAX_FORWARDED_ELEMENT)
    position = end
    for _ in range(_MAX_QUOTES):
        comma = text.rfind(",", floor, position)
        quote = text.rfind('"', floor, position)
        if quote < comma:
            return comma + 1
        if quote < 0:
            return 0 if floor == 0 else -1
        position = _opening_quote(text, floor, quote)
        if position < 0:
            break
    return -1


def _opening_quote(text: str, floor: int, closing: int) -> int:
    """The next quote to the left with an even number of backslashes before it: one that is not escaped."""
    position = closing
    for _ in range(_MAX_QUOTES):
        position = text.rfind('"', floor, position)
        if position < 0 or (position - floor - len(text[floor:position].rstrip("\\"))) % 2 == 0:
            return position
    return -1


# RFC 9110 section 5.6
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(
    rf"[ \t]*+(?:({_TOKEN})=(?:({_TOKEN})"
    r'|"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*)"))?[ \t]*+(?:;|\Z)'
)
_ESCAPED = re.compile(r"\\(.)")
_OBFUSCATED_PORT = re.compile(r":_[0-9A-Za-z._-]+\Z")


def _forwarded_hop(element: str) -> _Hop | str:
    """The `for` of one forwarded-element."""
    pairs: dict[str, str] = {}
    position = 0
    while position < len(element):
        match = _PAIR.match(element, position)
        if match is None:
            return "address_malformed"
        name, token, quoted = match.groups()
        if name is not None:
            # RFC 7239 section 4: each parameter at most once in an element.
            if name.lower() in pairs:
                return "address_malformed"
            pairs[name.lower()] = token if quoted is None else _ESCAPED.sub(r"\1", quoted)
        position = match.end()
    if not pairs:
        return "address_malformed"
    node = pairs.get("for")
    if node is None:
        return "address_undisclosed"
    node = _OBFUSCATED_PORT.sub("", node)
    hop = _hop(node)
    # RFC 7239 section 6: IPv6 stands in brackets, always.
    bare_ipv6 = isinstance(hop, _Hop) and node[0] != "[" and node.count(":") > 1
    return "address_malformed" if bare_ipv6 else hop


def _single_hop(lines: Sequence[bytes], limit: int) -> Iterator[_Hop | str]:
    if len(lines) > 1:
        yield "header_repeated"
    elif len(lines[0]) > limit:
        yield "header_too_large"
    else:
        yield _hop(lines[0].decode("latin-1").strip(" \t"))


_HOPS: dict[bytes, Callable[[Sequence[bytes], int], Iterator[_Hop | str]]] = {
    b"x-forwarded-for": _forwarded_for_hops,
    b"forwarded": _forwarded_hops,
}


def address_block(address: str | None) -> str:
    """The network that counts as one client in rates: IPv4 /32, IPv6 /64 (RFC 6177: a home gets no less).

    Takes a `ClientAddress.address`; what is no address is `""`, one block for all of them.
    """
    hop = _parsed(address) if address and len(address) <= _MAX_NODE else None
    if hop is None:
        return ""
    return f"{hop.text}/32" if hop.key >= _IPV4_KEYS else f"{IPv6Address(hop.key >> 64 << 64)}/64"


def proxy_headers_rewritten(client: Sequence[object] | None, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether `scope["client"]` is no socket but uvicorn's reading of X-Forwarded-For.

    uvicorn does so by default for peers on loopback, before any middleware runs. Up to 0.34 at least it sets
    port 0, which no TCP peer has; since 0.46 at the latest it keeps the port of an element that has one
    (`host:port`), so such an element equal to the client counts too. Versions before 0.31 may set host None.
    A client that writes its own address and port into the header is taken for rewritten: use it to warn and
    to trust nobody, never to believe.
    """
    if not client or len(client) < 2 or type(client[1]) is not int:
        return False
    lines = [value for name, value in headers if name == b"x-forwarded-for"]
    if not lines or client[1] == 0:
        return bool(lines)
    host, port = client[0], client[1]
    if not isinstance(host, str) or len(host) > _MAX_NODE:
        return False
    joined = b",".join(lines)
    # uvicorn takes the leftmost element when it trusts everybody, else one near the right end.
    elements = (joined[:MAX_BYTES_LIMIT] + b"," + joined[-MAX_BYTES_LIMIT:]).decode("latin-1").split(",")
    return any(element.strip() in (f"{host}:{port}", f"[{host}]:{port}") for element in elements)
