import pytest

from noai_guard.core.address_headers import HEADERS, MAX_NODE, Hop, hops, parse_node


@pytest.mark.parametrize(
    ("node", "hop"),
    [
        ("203.0.113.9", Hop("203.0.113.9")),
        ("203.0.113.9:51000", Hop("203.0.113.9")),
        ("[2001:DB8:0::1]:443", Hop("2001:db8::1")),
        ("fe80::1%eth0", Hop("fe80::1")),
        ("::ffff:203.0.113.9", Hop("203.0.113.9")),
        ("unknown", Hop(None, "address_undisclosed")),
        ("_hidden", Hop(None, "address_undisclosed")),
        ("_" + "x" * MAX_NODE, Hop(None, "address_undisclosed")),
        ("203.0.113.9:65536", Hop(None, "address_malformed")),
        ("1:2:3", Hop(None, "address_malformed")),
        ("x" * (MAX_NODE + 1), Hop(None, "address_malformed")),
    ],
)
def test_a_node_is_an_address_or_a_problem(node: str, hop: Hop) -> None:
    assert parse_node(node) == hop


def test_hops_are_read_from_the_right_over_all_lines() -> None:
    lines = [b"192.0.2.1, 192.0.2.2", b"192.0.2.3"]
    assert [hop.address for hop in hops(b"x-forwarded-for", lines, 100)] == ["192.0.2.3", "192.0.2.2", "192.0.2.1"]


def test_forwarded_elements_are_read_from_the_right() -> None:
    lines = [b'for=192.0.2.1;host="a, b", for="[2001:db8::1]:80"']
    assert [hop.address for hop in hops(b"forwarded", lines, 100)] == ["2001:db8::1", "192.0.2.1"]


def test_a_header_of_one_address_has_one_hop() -> None:
    assert list(hops(b"x-real-ip", [b" 192.0.2.1 "], 100)) == [Hop("192.0.2.1")]
    assert list(hops(b"x-real-ip", [b"192.0.2.1", b"192.0.2.1"], 100)) == [Hop(None, "header_repeated")]


def test_no_more_bytes_are_read_than_the_limit() -> None:
    assert list(hops(b"x-forwarded-for", [b"192.0.2.1,192.0.2.2,192.0.2.3"], 20)) == [
        Hop("192.0.2.3"),
        Hop("192.0.2.2"),
        Hop(None, "header_too_large"),
    ]


def test_names_of_headers_are_in_lower_case() -> None:
    assert all(name == name.lower() for name in HEADERS)
