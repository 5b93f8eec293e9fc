"""Sets of IPv4 and IPv6 networks, searched by address."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_network

Network = IPv4Network | IPv6Network

_IPV4_MAPPED = IPv6Network("::ffff:0:0/96")
_IPV4_START = 1 << 128


# Parsing takes ten times as long as searching 10,000 networks. A client is looked up in several sets and asks more than
# once. 4,096 entries of at most 96 characters: under 2 MB.
@lru_cache(maxsize=4096)
def address_number(address: str) -> int:
    """Return the position of an address on one number line. Raises ValueError.

    IPv4 stands above every IPv6 address, so that no IPv6 network holds IPv4 addresses. IPv4-mapped IPv6 is IPv4.
    """
    # ip_address() tries IPv4 first, which costs an IPv6 address a fifth more.
    if ":" not in address:
        return _number(IPv4Address(address))
    parsed = IPv6Address(address)
    return _number(parsed.ipv4_mapped or parsed)


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

    Raises InvalidNetwork, with a suggestion if only bits are set behind the prefix.
    """
    try:
        return _unmapped(ip_network(text))
    except ValueError:
        pass
    try:
        suggestion = str(ip_network(text, strict=False))
    except ValueError:
        suggestion = ""
    raise InvalidNetwork(text, suggestion)


def merged(networks: Iterable[Network]) -> tuple[Network, ...]:
    """Return the fewest networks that hold the same addresses, sorted, IPv4 first."""
    networks = tuple(networks)
    return (
        *collapse_addresses(network for network in networks if isinstance(network, IPv4Network)),
        *collapse_addresses(network for network in networks if isinstance(network, IPv6Network)),
    )


class NetworkSet:
    """An immutable set of networks: `"203.0.113.9" in networks`.

    Built from networks or their text (InvalidNetwork is a ValueError), and iterated over in the order they were given.
    Compared by that order too.
    """

    __slots__ = ("_bounds", "_networks")

    def __init__(self, networks: Iterable[Network | str] = ()) -> None:
        self._networks = tuple(
            parse_network(network) if isinstance(network, str) else _unmapped(network) for network in networks
        )
        # First address of each range and the one behind it, in turn: inside a range an odd number of bounds is passed.
        bounds = ((_number(network[0]), _number(network[-1]) + 1) for network in merged(self._networks))
        self._bounds = tuple(sorted(bound for pair in bounds for bound in pair))

    def __contains__(self, address: str) -> bool:
        """Return True if the address is in one of the networks; False too for text that is no address.

        An IPv4-mapped IPv6 address counts as the IPv4 address.
        """
        try:
            return bisect_right(self._bounds, address_number(address)) % 2 == 1
        except ValueError:
            return False

    def __iter__(self) -> Iterator[Network]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NetworkSet) and self._networks == other._networks

    def __hash__(self) -> int:
        return hash(self._networks)

    def __repr__(self) -> str:
        return f"NetworkSet({list(map(str, self._networks))})"


def _unmapped(network: Network) -> Network:
    if isinstance(network, IPv6Network) and network.subnet_of(_IPV4_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _number(address: IPv4Address | IPv6Address) -> int:
    return int(address) + _IPV4_START if address.version == 4 else int(address)
