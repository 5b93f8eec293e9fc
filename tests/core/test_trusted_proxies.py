from collections.abc import Sequence
from typing import Any

import pytest

from noai_guard.core.trusted_proxies import NOBODY, TrustedProxies

NETWORKS = ("10.0.0.0/8", "192.0.2.7", "fd00::/8", "unix:")


def trusting(header: str, peers: Sequence[str] = NETWORKS) -> TrustedProxies:
    trusted, problems = TrustedProxies.parse(peers, header)
    assert problems == ()
    return trusted


@pytest.mark.parametrize(
    ("peer", "is_trusted"),
    [
        ("10.255.0.1", True),
        ("192.0.2.7", True),
        ("::ffff:10.0.0.1", True),
        ("fd00::1%eth0", True),
        (None, True),
        ("11.0.0.1", False),
        ("2001:db8::1", False),
        ("testclient", False),
        ("1" * 100_000, False),
        (10, False),
    ],
)
def test_a_peer_is_trusted_if_its_network_is_listed(peer: object, is_trusted: bool) -> None:
    assert trusting("x-forwarded-for").trusts(peer) is is_trusted


def test_by_default_no_peer_is_trusted_and_no_header_is_read() -> None:
    assert not any(map(NOBODY.trusts, ("127.0.0.1", "::1", None)))
    assert NOBODY.header_name is None


def test_the_name_of_the_header_is_kept_in_lower_case() -> None:
    assert trusting("X-Forwarded-For").header_name == b"x-forwarded-for"


def test_networks_are_merged_and_ipv4_mapped_ones_are_ipv4() -> None:
    peers = ["10.0.0.0/9", "10.128.0.0/9", "::ffff:192.0.2.0/120", "fd00::/8", "fd00::1"]
    assert list(map(str, trusting("forwarded", peers).peers)) == ["10.0.0.0/8", "192.0.2.0/24", "fd00::/8"]


BAD_SETTINGS: dict[str, tuple[Any, str | None, Any, int]] = {
    "everybody": (["*"], "x-forwarded-for", 32, 1),
    "everybody in IPv4": (["0.0.0.0/0"], "x-forwarded-for", 32, 1),
    "everybody in IPv6": (["::/0"], "x-forwarded-for", 32, 1),
    "everybody in halves": (["0.0.0.0/1", "128.0.0.0/1"], "x-forwarded-for", 32, 1),
    "everybody, mapped": (["::ffff:0:0/96"], "x-forwarded-for", 32, 1),
    "bits behind the prefix": (["10.0.0.1/8"], "x-forwarded-for", 32, 1),
    "a netmask": (["10.0.0.0/255.0.0.0"], "x-forwarded-for", 32, 1),
    "a name": (["proxy.example"], "x-forwarded-for", 32, 1),
    "a number": ([10], "x-forwarded-for", 32, 1),
    "nothing in it": ([""], "x-forwarded-for", 32, 1),
    "a socket's path": (["unix:/run/app.sock"], "x-forwarded-for", 32, 1),
    "a zone": (["fe80::1%eth0"], "x-forwarded-for", 32, 1),
    "a prefix too long": (["10.0.0.0/33"], "x-forwarded-for", 32, 1),
    "a letter wrong": (["10.0.0.0/8"], "x-forwarded-fro", 32, 1),
    "no such header": (["10.0.0.0/8"], "user-agent", 32, 1),
    "no header": (["10.0.0.0/8"], None, 32, 1),
    "nobody trusted to send it": ([], "x-forwarded-for", 32, 1),
    "no hops": (["10.0.0.0/8"], "x-forwarded-for", 0, 1),
    "too many hops": (["10.0.0.0/8"], "x-forwarded-for", 1000, 1),
    "hops as text": (["10.0.0.0/8"], "x-forwarded-for", "32", 1),
    "everything wrong": (["*", "x" * 5000, "0.0.0.0/0"], "y", True, 5),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_every_mistake_in_the_settings_is_reported_at_once_and_nobody_is_trusted(name: str) -> None:
    peers, header, hops, count = BAD_SETTINGS[name]
    trusted, problems = TrustedProxies.parse(peers, header, hops)
    assert trusted == NOBODY
    assert len(problems) == count
    assert all(problem.message and problem.hint and len(problem.message) <= 200 for problem in problems)


def test_a_hint_says_what_to_type() -> None:
    _, problems = TrustedProxies.parse(["10.0.0.1/8"], "x-forwarded-fro")
    assert [problem.hint for problem in problems] == [
        "bits are set behind the prefix; did you mean '10.0.0.0/8'?",
        "did you mean x-forwarded-for?",
    ]


def test_no_settings_are_no_mistake() -> None:
    assert TrustedProxies.parse([]) == (NOBODY, ())


def test_one_network_may_be_given_as_text() -> None:
    assert list(map(str, trusting("forwarded", "10.0.0.0/8").peers)) == ["10.0.0.0/8"]
