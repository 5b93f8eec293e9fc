"""A small database of autonomous systems in MaxMind's format (MaxMind DB File Format 2.0)."""

from collections.abc import Mapping
from ipaddress import ip_network

_RECORD_BYTES = 3


def asn_database(networks: Mapping[str, int | str]) -> bytes:
    """Return a database with these networks; a text is written as IPinfo does, in the field `asn`."""
    nodes: list[list[int | None]] = [[None, None]]
    leaves: dict[tuple[int, int], int] = {}
    data = b""
    for text, number in networks.items():
        network = ip_network(text)
        start, length = int(network[0]), network.prefixlen
        if network.version == 4:
            length += 96
        at = 0
        for depth in range(length):
            bit = start >> (127 - depth) & 1
            if depth == length - 1:
                leaves[at, bit] = len(data)
                break
            following = nodes[at][bit]
            if following is None:
                nodes.append([None, None])
                following = nodes[at][bit] = len(nodes) - 1
            at = following
        data += _map(
            {"asn": _text(number)} if isinstance(number, str) else {"autonomous_system_number": _number(number)}
        )
    tree = b""
    for index, children in enumerate(nodes):
        for bit, child in enumerate(children):
            leaf = leaves.get((index, bit))
            value = len(nodes) + 16 + leaf if leaf is not None else len(nodes) if child is None else child
            tree += value.to_bytes(_RECORD_BYTES)
    metadata = {
        "node_count": _number(len(nodes)),
        "record_size": _number(_RECORD_BYTES * 8, kind=5),
        "ip_version": _number(6, kind=5),
        "database_type": _text("GeoLite2-ASN"),
        "languages": bytes([0, 4]),
        "binary_format_major_version": _number(2, kind=5),
        "binary_format_minor_version": _number(0, kind=5),
        "build_epoch": bytes([4, 2]) + (1_700_000_000).to_bytes(4),
        "description": _map({}),
    }
    return tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + _map(metadata)


def _number(value: int, kind: int = 6) -> bytes:
    digits = value.to_bytes((value.bit_length() + 7) // 8)
    return bytes([kind << 5 | len(digits)]) + digits


def _text(value: str) -> bytes:
    encoded = value.encode()
    return (bytes([2 << 5 | len(encoded)]) if len(encoded) < 29 else bytes([2 << 5 | 29, len(encoded) - 29])) + encoded


def _map(items: Mapping[str, bytes]) -> bytes:
    return bytes([7 << 5 | len(items)]) + b"".join(_text(name) + value for name, value in items.items())
