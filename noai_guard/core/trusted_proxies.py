"""The proxies that may say who the client is: a site's settings, checked."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from noai_guard.core.address_headers import HEADERS, parse_node
from noai_guard.core.networks import InvalidNetwork, Network, NetworkSet, merged, parse_network
from noai_guard.core.text import closest

MAX_BYTES_LIMIT = 8192


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One mistake in the settings of trusted proxies. `index` is the position in `peers`, else None."""

    setting: str
    index: int | None
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The proxies of a site and the header they write. Build it with `parse`; the default trusts nobody.

    `unix` trusts a peer without an address (a UNIX domain socket). `header` is one name of `HEADERS`. At most
    `max_hops` hops and `max_bytes` bytes of it are read, from its right end.
    """

    peers: NetworkSet = field(default_factory=NetworkSet)
    unix: bool = False
    header: str | None = None
    max_hops: int = 32
    max_bytes: int = 2048
    header_name: bytes | None = field(init=False, repr=False, compare=False, default=None)
    """`header` as it stands in a request, in lower case; None if it is never read."""

    def __post_init__(self) -> None:
        if self.header is not None and (self.peers or self.unix):
            object.__setattr__(self, "header_name", self.header.encode("ascii"))

    @classmethod
    def parse(
        cls, peers: Iterable[str], header: str | None = None, max_hops: int = 32, max_bytes: int = 2048
    ) -> tuple["TrustedProxies", tuple[SettingProblem, ...]]:
        """Return the settings of a site and every mistake in them. Never raises; with a mistake, nobody is trusted.

        `peers` are addresses, CIDR networks (they are merged) and the literal `unix:`.
        """
        problems: list[SettingProblem] = []
        listed: list[Network] = []
        unix = False
        for index, peer in enumerate((peers,) if isinstance(peers, str) else peers):
            if peer == "unix:":
                unix = True
                continue
            network = _parse_peer(peer)
            if isinstance(network, str):
                message = f"{_shown(peer)} is not a network of trusted proxies"
                problems.append(SettingProblem("peers", index, message, network))
            else:
                listed.append(network)
        networks = merged(listed)
        for network in networks:
            if network.prefixlen == 0:
                message = f"{network} trusts everybody, so every client could choose its own address"
                hint = "list only the addresses your proxies connect from"
                problems.append(SettingProblem("peers", None, message, hint))
        name = header.strip().lower() if isinstance(header, str) else None
        problems += _header_problems(header, name, bool(networks or unix or problems))
        for setting, value, limit in (("max_hops", max_hops, 128), ("max_bytes", max_bytes, MAX_BYTES_LIMIT)):
            if type(value) is not int or not 1 <= value <= limit:
                hint = f"write a whole number from 1 to {limit}"
                problems.append(SettingProblem(setting, None, f"{setting} is {_shown(value)}", hint))
        if problems:
            return NOBODY, tuple(problems)
        return cls(NetworkSet(networks), unix, name, max_hops, max_bytes), ()

    def trusts(self, peer: object) -> bool:
        """Return True for a trusted peer: the host of the ASGI scope's `client`, None for a UNIX domain socket."""
        if peer is None:
            return self.unix
        address = parse_node(peer).address if isinstance(peer, str) else None
        return address is not None and address in self.peers


NOBODY = TrustedProxies()
"""Trusts nobody: the socket counts."""


def _shown(value: object) -> str:
    return repr(value[:80] if isinstance(value, str) else value)[:100]


def _parse_peer(peer: object) -> Network | str:
    """Return the network, or a hint for the person who wrote something else."""
    if not isinstance(peer, str):
        return "write an address or a CIDR network in quotes, such as '10.0.0.0/8'"
    if peer == "*":
        return "trusting everybody lets every client choose its own address; list your proxies' networks"
    if peer.startswith("unix"):
        return "write 'unix:' (nothing after it) to trust a UNIX domain socket"
    if not re.fullmatch(r"[0-9A-Fa-f.:]{2,45}(?:/[0-9]{1,3})?", peer):
        return "write an address or a CIDR network, such as '10.0.0.0/8' or 'fd00::/8'; names are not looked up"
    try:
        return parse_network(peer)
    except InvalidNetwork as error:
        if error.suggestion:
            return f"bits are set behind the prefix; did you mean {error.suggestion!r}?"
        return "write an address or a CIDR network, such as '10.0.0.0/8' or 'fd00::/8'"


def _header_problems(header: object, name: str | None, anybody: bool) -> list[SettingProblem]:
    if header is None and anybody:
        message = "proxies are trusted, but no header to read"
        hint = "name the one header your proxy writes, usually x-forwarded-for"
    elif header is not None and name not in HEADERS:
        match = closest(name or "", HEADERS)
        message = f"{_shown(header)} is not a header that names a client"
        hint = f"did you mean {match}?" if match else f"write one of {', '.join(HEADERS)}"
    elif header is not None and not anybody:
        message, hint = f"{name} is never read while no proxy is trusted", "list the proxies that write it"
    else:
        return []
    return [SettingProblem("header", None, message, hint)]
