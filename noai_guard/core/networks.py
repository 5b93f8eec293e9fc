"""Sets of IPv4 and IPv6 networks, searched by address."""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Network = IPv4Network | IPv6Network

_IPV4_START = 1 << 128
_OCTETS = {str(number): number for number in range(256)}
_LENGTHS = {str(number): number for number in range(129)}
_IPV6_CHARACTERS = re.compile(r"[0-9A-Fa-f:]+")


# Parsing takes ten times as long as searching 10,000 networks. A client is looked up in several sets and asks more than
# once. 4,096 entries of at most 96 characters: under 2 MB.
@lru_cache(maxsize=4096)
def address_number(address: str) -> int:
    """Return the position of an address on one number line. Raises ValueError.

    IPv4 stands above every IPv6 address, so that no IPv6 network holds IPv4 addresses. IPv4-mapped IPv6 is IPv4.
    """
    if ":" not in address:
        return _IPV4_START + _ipv4(address)
    number = int(IPv6Address(address)) if "%" in address else _ipv6(address)
    return _IPV4_START + (number & 0xFFFFFFFF) if number >> 32 == 0xFFFF else number


def _ipv4(text: str) -> int:
    """Return an IPv4 address as a number, in a sixth of the time of `IPv4Address`. Raises ValueError."""
    try:
        a, b, c, d = text.split(".")
        return _OCTETS[a] << 24 | _OCTETS[b] << 16 | _OCTETS[c] << 8 | _OCTETS[d]
    except KeyError:
        raise ValueError(text) from None


def _ipv6(text: str) -> int:
    """Return an IPv6 address without zone as a number, in a third of the time of `IPv6Address`. Raises ValueError."""
    if "%" in text:
        raise ValueError(text)
    if "." in text or not _IPV6_CHARACTERS.fullmatch(text):
        return int(IPv6Address(text))
    start, gap, end = text.partition("::")
    first, last = start.split(":") if start else [], end.split(":") if end else []
    missing = 8 - len(first) - len(last)
    if missing < bool(gap) or (missing and not gap):
        raise ValueError(text)
    digits = "".join([f"{part:0>4}" for part in (*first, *("0",) * missing, *last)])
    if len(digits) != 32 or "" in first or "" in last:
        raise ValueError(text)
    return int(digits, 16)


def address_text(number: int) -> str:
    """Return the address at a position of `address_number`; IPv6 as RFC 5952 writes it."""
    return str(IPv6Address(number) if number < _IPV4_START else IPv4Address(number - _IPV4_START))


class InvalidNetwork(ValueError):
    """Text that is no network. `suggestion` is the network that was probably meant, or empty."""

    def __init__(self, text: str, suggestion: str) -> None:
        super().__init__(f"{text!r} is not an address or network")
        self.suggestion = suggestion


def parse_network(text: str) -> Network:
    """Parse an address or a network in CIDR notation; IPv4 written as IPv6 (`::ffff:10.0.0.0/104`) becomes IPv4.

    Raises InvalidNetwork, with a suggestion if only bits are set behind the prefix. A network has no zone (`%eth0`).
    """
    return _network(*_parsed(text))


def _parsed(text: str) -> tuple[int, int, int]:
    """Return the version, first address and prefix length of a network. Raises InvalidNetwork.

    Takes a third of the time of `ip_network`, which counts with a list of 200,000 networks.
    """
    address, slash, length = text.partition("/")
    bits = 128 if ":" in address else 32
    try:
        start = _ipv6(address) if bits == 128 else _ipv4(address)
    except ValueError:
        raise InvalidNetwork(text, "") from None
    prefix = _LENGTHS.get(length, 129) if slash else bits
    if prefix <= bits and not start & ((1 << bits - prefix) - 1):
        return (4, start, prefix) if bits == 32 else _unmapped(start, prefix)
    raise InvalidNetwork(text, str(ip_network(text, strict=False)) if prefix <= bits else "")


def _unmapped(start: int, prefix: int) -> tuple[int, int, int]:
    """Return version, first address and prefix length of an IPv6 network; of IPv4, if that is what it maps."""
    return (4, start & 0xFFFFFFFF, prefix - 96) if prefix >= 96 and start >> 32 == 0xFFFF else (6, start, prefix)


def _network(version: int, start: int, prefix: int) -> Network:
    return IPv4Network((start, prefix)) if version == 4 else IPv6Network((start, prefix))


def merged(networks: Iterable[Network]) -> tuple[Network, ...]:
    """Return the fewest networks that hold the same addresses, sorted, IPv4 first."""
    return tuple(NetworkSet(networks))


class NetworkSet:
    """An immutable set of networks: `"203.0.113.9" in networks`.

    Built from networks or their text (InvalidNetwork is a ValueError). Iterated over as the fewest networks that hold
    the same addresses, sorted, IPv4 first; equal to every set of the same addresses.

    100,000 networks take 0.8 MB (IPv6: 11 MB). `benchmarks/networks.py` compares building and look-up with other
    engines.
    """

    __slots__ = ("_ends4", "_ends6", "_hash", "_starts4", "_starts6")

    def __init__(self, networks: Iterable[Network | str] = ()) -> None:
        by_version: dict[int, list[int]] = {4: [], 6: []}
        for network in networks:
            if isinstance(network, str):
                version, start, prefix = _parsed(network)
            elif isinstance(network, IPv4Network):
                version, start, prefix = 4, int(network.network_address), network.prefixlen
            else:
                version, start, prefix = _unmapped(int(network.network_address), network.prefixlen)
            # One number for both, so that sorting compares numbers and a network comes before those that it holds.
            by_version[version].append(start << 8 | prefix)
        starts, ends = _ranges(by_version[4], 32)
        # Four bytes for each: a search touches fewer cache lines than in a list of Python's numbers.
        self._starts4: Sequence[int] = array("I", starts)
        self._ends4: Sequence[int] = array("I", ends)
        self._starts6, self._ends6 = _ranges(by_version[6], 128)
        self._hash = hash((tuple(self._starts4[:64]), tuple(self._starts6[:64]), len(self)))

    def __contains__(self, address: str) -> bool:
        """Return True if the address is in one of the networks; False too for text that is no address.

        An IPv4-mapped IPv6 address counts as the IPv4 address. The zone of an address (`fe80::1%eth0`) does not count.
        """
        try:
            number = address_number(address)
        except ValueError:
            return False
        if number >= _IPV4_START:
            number -= _IPV4_START
            index = bisect_right(self._starts4, number)
            return index > 0 and number <= self._ends4[index - 1]
        index = bisect_right(self._starts6, number)
        return index > 0 and number <= self._ends6[index - 1]

    def __iter__(self) -> Iterator[Network]:
        for start, end in zip(self._starts4, self._ends4, strict=True):
            yield _network(4, start, 32 - (end - start).bit_length())
        for start, end in zip(self._starts6, self._ends6, strict=True):
            yield _network(6, start, 128 - (end - start).bit_length())

    def __len__(self) -> int:
        return len(self._starts4) + len(self._starts6)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NetworkSet) and (self._starts4, self._ends4, self._starts6, self._ends6) == (
            other._starts4,
            other._ends4,
            other._starts6,
            other._ends6,
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        shown = [str(network) for network, _ in zip(self, range(8), strict=False)]
        more = f" and {len(self) - len(shown)} more" if len(self) > len(shown) else ""
        return f"NetworkSet({shown}{more})"


def _ranges(networks: list[int], bits: int) -> tuple[list[int], list[int]]:
    """Return the first and the last addresses of the fewest networks that hold the same addresses, sorted.

    Each network is given as its first address << 8 | its prefix length. The list is sorted in place.
    """
    networks.sort()
    starts: list[int] = []
    ends: list[int] = []
    last = -1
    for network in networks:
        start = network >> 8
        if start <= last:
            continue
        size = 1 << bits - (network & 0xFF)
        # Two halves become their whole, which may be a half itself.
        while starts and start & size and starts[-1] == start - size and last == start - 1:
            start -= size
            size *= 2
            starts.pop()
            ends.pop()
            last = ends[-1] if ends else -1
        last = start + size - 1
        starts.append(start)
        ends.append(last)
    return starts, ends
