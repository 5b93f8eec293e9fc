"""Names of addresses, without a DNS: which records are asked for, and which of them are believed."""

from collections.abc import Mapping

import pytest

from noai_guard.core.identity.reverse_dns import MAX_NAMES, HostName, confirmed_name

SUFFIXES = (".seek.example",)
IPV4, POINTER = "198.51.100.7", ("7.100.51.198.in-addr.arpa", "PTR")
IPV6, POINTER_6 = "2001:db8::1", ("1" + ".0" * 23 + ".8.b.d.0.1.0.0.2.ip6.arpa", "PTR")
NAME = "a.seek.example"

Records = Mapping[tuple[str, str], list[str]]


def name_of(address: str, records: Records) -> tuple[str, int]:
    """Return the confirmed name, and the number of look-ups."""
    asking = confirmed_name(HostName(address, SUFFIXES))
    asked, values = 0, None
    while True:
        try:
            query = asking.send(values)  # type: ignore[arg-type]
        except StopIteration as done:
            return done.value, asked
        asked += 1
        values = records.get(query, [])


@pytest.mark.parametrize(
    ("address", "records", "name", "asked"),
    [
        (IPV4, {POINTER: ["A.Seek.Example."], (NAME, "A"): ["203.0.113.1", IPV4]}, NAME, 2),
        (IPV6, {POINTER_6: [NAME], (NAME, "AAAA"): ["2001:db8:0::1"]}, NAME, 2),
        (IPV4, {POINTER: ["evil.example", NAME], (NAME, "A"): [IPV4]}, NAME, 2),
        (IPV4, {}, "", 1),
        (IPV4, {POINTER: ["a.seek.example.evil.example", "seek.example"]}, "", 1),
        (IPV4, {POINTER: [NAME]}, "", 2),
        (IPV4, {POINTER: [NAME], (NAME, "A"): ["203.0.113.1", "no address"]}, "", 2),
        (IPV4, {POINTER: [*["evil.example"] * MAX_NAMES, NAME], (NAME, "A"): [IPV4]}, "", 1),
    ],
    ids=["IPv4", "IPv6", "two names", "no name", "another suffix", "no address", "leads elsewhere", "too many names"],
)
def test_a_name_is_believed_if_it_is_the_operators_and_leads_back(
    address: str, records: Records, name: str, asked: int
) -> None:
    assert name_of(address, records) == (name, asked)
