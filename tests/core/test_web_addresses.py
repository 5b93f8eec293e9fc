"""Every spelling of an address on this machine or its own network is known as one."""

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.core.web_addresses import (
    absolute_url,
    is_inside,
    is_inside_address,
    is_web_address,
    leads_inside,
    numeric_host,
    origin_of,
    path_of,
)

INSIDE = (
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0X7F.0.0.1", "0177.0.0.1", "017700000001",
    "0", "0.0.0.0", "10.1.2.3", "192.168.1.1", "172.16.0.1", "100.64.0.1", "169.254.169.254", "0xA9FEA9FE", "2852039166",
    "224.0.0.1", "255.255.255.255", "127.0.0.1.", "0x7f.1.", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::169.254.169.254]", "[2002:7f00:1::]", "[fe80::1]", "[fe80::1%25eth0]",
    "[::1%25lo]", "[fd00::1]", "[fec0::1]", "[ff02::1]", "localhost", "LOCALHOST", "localhost.", "a.localhost",
    "printer.local", "printer.local.", "metadata.google.internal", "nas.home.arpa", "localhost.localdomain",
    "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "\u2460\u2461\u2466.0.0.1",
)  # fmt: skip
OPEN = (
    "music.example", "8.8.8.8", "134744072", "0x08080808", "010.8.8.8", "[2606:4700::1111]", "[::ffff:8.8.8.8]",
    "[64:ff9b::808:808]", "localhost.example", "internal.example", "127.0.0.1.example", "1.2.3.4.5", "256.1.1.1.1", "0x",
    "local.example", "notlocal", "a.0x7f.b",
)  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
def test_every_spelling_of_an_address_inside_is_known(host: str) -> None:
    assert is_inside(f"http://{host}/")
    assert is_inside(f"https://{host}:8443/a?b")
    assert leads_inside("https://music.example/", f"http://{host}/")
    assert not leads_inside("http://192.168.0.5/", f"http://{host}/")


@pytest.mark.parametrize("host", [host for host in OPEN if host != "0x"])
def test_a_host_on_the_open_network_is_none(host: str) -> None:
    assert not is_inside(f"http://{host}/")


@pytest.mark.parametrize(
    "url", ["http://music.example@127.0.0.1/", "http://@127.0.0.1/", "http://a:b@127.0.0.1/", "http://127.0.0.1\\@music.example/",
            "http://music.example\\.127.0.0.1/"]
)  # fmt: skip
def test_an_address_that_readers_split_differently_is_no_address_of_the_web(url: str) -> None:
    assert not is_web_address(url)


@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.sampled_from(["d", "o", "x"]))
def test_all_spellings_are_the_address_that_inet_aton_reads(value: int, dots: int, base: str) -> None:
    whole = value.to_bytes(4, "big")
    parts = [*whole[:dots], int.from_bytes(whole[dots:], "big")]
    forms = {"d": "{}", "o": "0{:o}", "x": "0x{:x}"}
    host = ".".join(forms[base].format(part) for part in parts)
    assert socket.inet_aton(host) == whole
    assert numeric_host(f"http://{host}/") == IPv4Address(value)


@given(st.text(max_size=40))
def test_no_text_makes_the_reading_of_hosts_fail(text: str) -> None:
    is_inside(f"http://{text}/")
    is_inside(text)
    is_web_address(f"http://{text}/")


@given(st.integers(0, 2**128 - 1))
def test_every_ipv6_address_is_judged(value: int) -> None:
    assert is_inside_address(IPv6Address(value)) in (True, False)


@pytest.mark.parametrize(
    ("base", "link", "absolute"),
    [
        ("https://a.example/b/", "c?d", "https://a.example/b/c?d"),
        ("https://a.example/", " //b.example/x ", "https://b.example/x"),
        ("https://a.example/", "mailto:x@y.example", ""),
        ("https://a.example/", "http://[::1", ""),
        ("https://a.example/", "http://a.example:99999/", ""),
    ],
)
def test_a_link_is_an_absolute_address_of_the_web_or_none(base: str, link: str, absolute: str) -> None:
    assert absolute_url(base, link) == absolute


def test_an_address_has_an_origin_and_a_path_with_its_query() -> None:
    assert origin_of("https://a.example:8443/b?c") == "https://a.example:8443"
    assert path_of("https://a.example/b?c#d") == "/b?c"
    assert path_of("https://a.example") == "/"
    assert not is_inside("http://[::1")
    assert numeric_host("http://1.2.3.4.5/") is None
    assert is_inside_address(IPv6Address("2001:0:4136:e378:8000:63bf:80ff:fffe"))
