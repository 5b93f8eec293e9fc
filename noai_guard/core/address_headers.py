"""Request headers in which proxies pass on the client's address, and their values as a chain of addresses.

A chain is read from its right end, hop by hop: the cost does not grow with what a client writes to the left.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from noai_guard.core.networks import address_number, address_text

# fastly-client-ip: developer.fastly.com/reference/http/http-headers/Fastly-Client-IP. true-client-ip: Cloudflare
# overwrites it, Akamai does not. x-azure-clientip: Azure Front Door takes it from the client's X-Forwarded-For, while
# x-azure-socketip is the socket. Both: realclientip-go wiki, "Single IP Headers". All read 2026-11-23.
_PASSED_ON = frozenset({"fastly-client-ip", "true-client-ip", "x-azure-clientip", "x-client-ip"})

HEADERS = {
    name: "passes on a value the client sent unless the edge is told to overwrite it" if name in _PASSED_ON else None
    for name in (
        *("x-forwarded-for", "forwarded", "ali-cdn-real-ip", "cf-connecting-ip", "cf-connecting-ipv6"),
        *("do-connecting-ip", "fastly-client-ip", "fly-client-ip", "incap-client-ip", "true-client-ip"),
        *("x-azure-clientip", "x-azure-socketip", "x-client-ip", "x-cluster-client-ip", "x-envoy-external-address"),
        *("x-nf-client-connection-ip", "x-real-ip", "x-sucuri-clientip"),
    )
}
"""Every header that can be configured, in lower case, with a caution to show to the site, or None."""

# `[` 45 characters of IPv6 `%` zone `]:65535`
MAX_NODE = 96
"""Characters of the longest address with its zone and port."""

# Four parameters are registered; the rest is room for extensions and for what a client can put into `host`.
_MAX_FORWARDED_ELEMENT = 1024
_MAX_QUOTES = 32


class Hop(NamedTuple):
    """One element of a chain: `address` in canonical text, or None with one of `client_address.PROBLEMS`."""

    address: str | None
    problem: str | None = None


_MALFORMED = Hop(None, "address_malformed")
_UNDISCLOSED = Hop(None, "address_undisclosed")
_TOO_LARGE = Hop(None, "header_too_large")
_REPEATED = Hop(None, "header_repeated")

_ZONE = r"(?:%[0-9A-Za-z._~-]{1,32})?"
_IPV6 = r"[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{1,44}"
_NODE = re.compile(
    rf"(?:(?P<v4>[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}})|\[(?P<v6>{_IPV6}){_ZONE}\])(?::(?P<port>[0-9]{{1,5}}))?"
    rf"|(?P<bare>{_IPV6}){_ZONE}"
)


def parse_node(node: str) -> Hop:
    """Parse one `host`, `host:port` or `[host]:port`.

    The address is IPv4, or IPv6 as RFC 5952 writes it; an IPv4-mapped one is IPv4; port, brackets and zone are dropped.
    """
    return _parse_node(node) if len(node) <= MAX_NODE else _no_address(node)


# Proxies repeat, and a client asks more than once. 4,096 entries of at most 96 characters: under 2 MB.
@lru_cache(maxsize=4096)
def _parse_node(node: str) -> Hop:
    match = _NODE.fullmatch(node)
    if match is None or int(match["port"] or 0) > 65535:
        return _no_address(node)
    try:
        return Hop(address_text(address_number(match["v4"] or match["v6"] or match["bare"])))
    except ValueError:
        return _no_address(node)


def _no_address(node: str) -> Hop:
    # RFC 7239 section 6.2 and 6.3
    return _UNDISCLOSED if node[:1] == "_" or node.partition(":")[0].lower() == "unknown" else _MALFORMED


def hops(header: bytes, lines: Sequence[bytes], max_bytes: int) -> Iterator[Hop]:
    """Yield the hops in the values of one header, from right to left; the last one read may hold a problem.

    `header` is in lower case, `lines` holds its values, at least one. At most `max_bytes` bytes are read.
    """
    return _READERS.get(header, _single_address)(lines, max_bytes)


def _from_the_right(lines: Sequence[bytes], max_bytes: int) -> Iterator[tuple[str, bool]]:
    """Yield (text, is its beginning cut off) of each line, the last line first, up to `max_bytes` bytes in all."""
    for line in reversed(lines):
        # ISO 8859-1 never fails, and no address holds anything outside ASCII.
        yield (line[-max_bytes:].decode("latin-1"), len(line) > max_bytes) if max_bytes > 0 else ("", True)
        max_bytes -= len(line) + 2


def _x_forwarded_for(lines: Sequence[bytes], max_bytes: int) -> Iterator[Hop]:
    for text, is_cut in _from_the_right(lines, max_bytes):
        end = len(text)
        while (comma := text.rfind(",", 0, end)) >= 0:
            yield parse_node(text[comma + 1 : end].strip(" \t"))
            end = comma
        yield _TOO_LARGE if is_cut else parse_node(text[:end].strip(" \t"))


def _forwarded(lines: Sequence[bytes], max_bytes: int) -> Iterator[Hop]:
    """Yield the hops of RFC 7239. From the right, an open quote in the client's part cannot swallow the proxy's."""
    for text, is_cut in _from_the_right(lines, max_bytes):
        end = len(text)
        while (start := _element_start(text, end)) > 0:
            yield _parse_forwarded_element(text[start:end])
            end = start - 1
        if is_cut:
            yield _TOO_LARGE
        else:
            yield _MALFORMED if start < 0 else _parse_forwarded_element(text[:end])


def _element_start(text: str, end: int) -> int:
    """Return the index behind the last comma of text[:end] that is outside quotes, else 0; -1 if no element begins."""
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
    """Return the index of the next unescaped quote to the left (an even number of backslashes before it), or -1."""
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


def _parse_forwarded_element(element: str) -> Hop:
    pairs: dict[str, str] = {}
    position = 0
    while position < len(element):
        match = _PAIR.match(element, position)
        if match is None:
            return _MALFORMED
        name, token, quoted = match.groups()
        if name is not None:
            # RFC 7239 section 4: each parameter at most once in an element.
            if name.lower() in pairs:
                return _MALFORMED
            pairs[name.lower()] = token if quoted is None else _ESCAPED.sub(r"\1", quoted)
        position = match.end()
    if not pairs:
        return _MALFORMED
    node = pairs.get("for")
    if node is None:
        return _UNDISCLOSED
    node = _OBFUSCATED_PORT.sub("", node)
    hop = parse_node(node)
    # RFC 7239 section 6: IPv6 stands in brackets, always.
    is_bare_ipv6 = hop.address is not None and node[0] != "[" and node.count(":") > 1
    return _MALFORMED if is_bare_ipv6 else hop


def _single_address(lines: Sequence[bytes], max_bytes: int) -> Iterator[Hop]:
    if len(lines) > 1:
        yield _REPEATED
    elif len(lines[0]) > max_bytes:
        yield _TOO_LARGE
    else:
        yield parse_node(lines[0].decode("latin-1").strip(" \t"))


_READERS: dict[bytes, Callable[[Sequence[bytes], int], Iterator[Hop]]] = {
    b"x-forwarded-for": _x_forwarded_for,
    b"forwarded": _forwarded,
}
