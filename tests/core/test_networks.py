import json
import tracemalloc
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import chain
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.core.networks import (
    InvalidNetwork,
    Network,
    NetworkSet,
    address_number,
    address_text,
    merged,
    parse_network,
)

NETWORKS = NetworkSet(["192.0.2.7", "10.0.0.0/8", "2001:db8::/32", "::ffff:198.51.100.0/120", "::/16"])


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.0",
        "10.255.255.255",
        "192.0.2.7",
        "198.51.100.9",
        "2001:db8::",
        "2001:db8:ffff::1",
        "::1",
        "::ffff:10.0.0.1",
    ],
)
def test_an_address_inside_a_network_is_in_the_set(address: str) -> None:
    assert address in NETWORKS


@pytest.mark.parametrize(
    "address",
    ["9.255.255.255", "11.0.0.0", "192.0.2.6", "192.0.2.8", "2001:db7:ffff::", "2001:db9::", "::ffff:11.0.0.1", "1::"],
)
def test_an_address_outside_every_network_is_not_in_the_set(address: str) -> None:
    assert address not in NETWORKS


@pytest.mark.parametrize(
    "text", ["", "testclient", "10.0.0", "10.0.0.0.0", "10.0.0.256", "10.0.0.01", "10.0.0.+1", "10.0.0.٣", "10.0.0.0/8"]
)
def test_text_that_is_no_address_is_in_no_set(text: str) -> None:
    assert text not in NETWORKS


def test_an_ipv6_network_holds_no_ipv4_address() -> None:
    assert "10.0.0.1" not in NetworkSet(["::/0"])
    assert "::ffff:10.0.0.1" not in NetworkSet(["::/0"])
    assert "::1" not in NetworkSet(["0.0.0.0/0"])


def test_the_last_ipv6_and_the_first_ipv4_address_are_in_sets_of_everything() -> None:
    everything = NetworkSet(["::/0", "0.0.0.0/0"])
    for address in ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "0.0.0.0", "255.255.255.255"):
        assert address in everything


def test_an_empty_set_is_false_and_holds_nothing() -> None:
    assert not NetworkSet()
    assert "10.0.0.1" not in NetworkSet()


def test_a_set_gives_the_fewest_networks_that_hold_its_addresses() -> None:
    networks = NetworkSet(["fd00::/8", "192.0.2.7", ip_network("10.0.0.0/9"), "10.128.0.0/9", "::ffff:10.1.0.0/112"])
    assert list(map(str, networks)) == ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]
    assert len(networks) == 3
    assert repr(NetworkSet(["192.0.2.7"])) == "NetworkSet(['192.0.2.7/32'])"
    assert repr(NetworkSet(f"10.0.{number}.1" for number in range(10))).endswith("'10.0.7.1/32'] and 2 more)")


def test_sets_of_the_same_addresses_are_equal() -> None:
    assert NetworkSet(["10.128.0.0/9", "10.0.0.0/9"]) == NetworkSet(["10.0.0.0/8"])
    assert NetworkSet(["10.0.0.0/8"]) == NetworkSet([ip_network("10.0.0.0/8")])
    assert hash(NetworkSet(["10.0.0.0/8"])) == hash(NetworkSet(["10.0.0.0/8"]))
    assert NetworkSet(["10.0.0.0/8"]) != NetworkSet(["10.0.0.0/9"])
    assert NetworkSet() != ()


def test_merged_networks_hold_the_same_addresses() -> None:
    listed = map(ip_network, ("fd00::1", "10.128.0.0/9", "fd00::/8", "10.0.0.0/9", "10.1.0.0/16"))
    assert list(map(str, merged(listed))) == ["10.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:a00:1", "10.0.0.1/32"),
        ("::/64", "::/64"),
    ],
)
def test_an_address_or_network_is_parsed_to_its_canonical_form(text: str, network: str) -> None:
    assert str(parse_network(text)) == network


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("203.0.113.7/24", "203.0.113.0/24"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("203.0.113.0/33", ""),
        ("203.0.113.0/-1", ""),
        ("203.0.113.00/24", ""),
        ("fe80::%eth0/64", ""),
        ("2001:db8::/129", ""),
        ("2001:db8:::/32", ""),
        ("proxy.example", ""),
        ("", ""),
    ],
)
def test_text_that_is_no_network_is_an_error_with_the_network_that_was_meant(text: str, suggestion: str) -> None:
    with pytest.raises(InvalidNetwork, match="is not an address or network") as caught:
        NetworkSet([text])
    assert caught.value.suggestion == suggestion


# Few bits, so that networks touch, hold each other and stand at the ends of their family.
_IPV4 = st.sampled_from([0, 1, 255, 256, 0x0A000000, 0x0AFFFFFF, 0x0B000000, 0xFFFFFFFE, 0xFFFFFFFF])
_IPV6 = st.sampled_from([0, 1, 0xFFFF << 32, (0xFFFE << 32) | 7, 0xFD << 120, (0xFD << 120) - 1, (1 << 128) - 1])
_ADDRESSES = st.one_of(_IPV4.map(IPv4Address), st.ip_addresses(v=4), _IPV6.map(IPv6Address), st.ip_addresses(v=6))
_NETWORKS: st.SearchStrategy[Network] = st.one_of(
    st.tuples(st.one_of(_IPV4, st.integers(0, 2**32 - 1)), st.integers(0, 32)).map(
        lambda pair: IPv4Network(pair, strict=False)
    ),
    st.tuples(st.one_of(_IPV6, st.integers(0, 2**128 - 1)), st.integers(0, 128)).map(
        lambda pair: IPv6Network(pair, strict=False)
    ),
)


@given(st.lists(_NETWORKS, max_size=20), st.lists(_ADDRESSES, max_size=10))
def test_a_set_holds_the_addresses_of_its_networks_and_no_others(
    networks: list[Network], addresses: list[IPv4Address | IPv6Address]
) -> None:
    members = NetworkSet(networks)
    edges = [address for network in networks for address in (network[0], network[-1])]
    beside = [
        type(edge)(int(edge) + step)
        for edge in edges
        for step in (-1, 1)
        if 0 <= int(edge) + step < 2**edge.max_prefixlen
    ]
    for address in (*addresses, *edges, *beside):
        canonical = getattr(address, "ipv4_mapped", None) or address
        assert (str(address) in members) is any(canonical in network for network in members), address
        assert address_text(address_number(str(address))) == str(canonical)


@given(st.lists(_NETWORKS, max_size=10))
def test_merging_changes_no_answer(networks: list[Network]) -> None:
    fewer = merged(networks)
    assert len(fewer) <= len(networks)
    for network in networks:
        for address in (network[0], network[-1]):
            canonical = getattr(address, "ipv4_mapped", None) or address
            assert any(address in other or canonical in other for other in fewer)


@given(st.text() | st.text("0123456789abcdef:./%"))
def test_no_text_makes_the_search_fail(text: str) -> None:
    try:
        address = ip_address(text)
    except ValueError:
        assert text not in NETWORKS
    else:
        assert (text in NETWORKS) is (str(address) in NETWORKS)


VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ip_ranges.json").read_text())
"""Published lists of networks, and what a reader of them must do."""


def _prefixes(value: object) -> list[str]:
    """Return every network in a published list, whatever its format."""
    if isinstance(value, dict):
        return list(chain.from_iterable(map(_prefixes, value.values())))
    if isinstance(value, list):
        return list(chain.from_iterable(map(_prefixes, value)))
    return [line for line in str(value).split() if "/" in line]


@pytest.mark.parametrize("name", VECTORS["formats"])
def test_the_networks_of_every_published_format_are_read(name: str) -> None:
    listed = _prefixes(VECTORS["formats"][name])
    networks = NetworkSet(listed)
    assert listed
    assert all(str(ip_network(text)[0]) in networks for text in listed)
    assert "9.9.9.9" not in networks


def test_a_published_case_with_an_ipv4_mapped_address_is_looked_up_as_ipv4() -> None:
    address = next(case["ip"] for case in VECTORS["cases"] if "ip" in case)
    assert address in NetworkSet([*_prefixes(VECTORS["formats"]["google"]), "66.249.64.0/19"])


@pytest.mark.parametrize("address", ["fe80::1%eth0", "fe80::1%25", "fe80::1"])
def test_the_zone_of_an_address_does_not_count(address: str) -> None:
    assert address in NetworkSet(["fe80::/10"])
    assert address not in NetworkSet(["2001:db8::/32"])


def test_100_000_networks_take_less_than_25_mb_and_answer_as_each_alone() -> None:
    chance = Random(1)
    texts = [f"{IPv4Address(chance.getrandbits(24) << 8)}/{chance.choice((24, 28, 32))}" for _ in range(80_000)]
    texts += [f"{IPv6Address(0x2000 << 112 | chance.getrandbits(40) << 72)}/56" for _ in range(20_000)]
    tracemalloc.start()
    try:
        networks = NetworkSet(texts)
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 5_000_000
    assert most < 25_000_000
    for text in chance.sample(texts, 200):
        network = ip_network(text)
        assert str(network[0]) in networks
        assert str(network[-1]) in networks
    assert "9.9.9.9" in networks or not any(text.startswith("9.9.9.") for text in texts)
