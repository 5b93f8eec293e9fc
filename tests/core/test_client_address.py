import asyncio
import contextlib
import ipaddress
import os
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.core.address_headers import HEADERS
from noai_guard.core.client_address import (
    PROBLEMS,
    ClientAddress,
    SeenClient,
    address_block,
    client_address,
    may_be_rewritten,
    proxy_headers_rewritten,
    told,
)
from noai_guard.core.trusted_proxies import TrustedProxies
from tests.core.property_settings import PROPERTY
from tests.cost import function_calls

Headers = list[tuple[bytes, bytes]]

NETWORKS = ("10.0.0.0/8", "192.0.2.7", "fd00::/8", "unix:")
PROXY = "10.0.0.1"
CLIENT = "203.0.113.9"
LIAR = "6.6.6.6"


def trusting(header: str, peers: Sequence[str] = NETWORKS, max_hops: int = 32) -> TrustedProxies:
    trusted, problems = TrustedProxies.parse(peers, header, max_hops)
    assert problems == ()
    return trusted


def client_of(header: str, lines: Sequence[bytes], peer: str | None = PROXY) -> ClientAddress:
    return client_address(peer, [(header.encode(), line) for line in lines], trusting(header))


XFF = {
    # name: (peer, lines, address, problem)
    "one hop": (PROXY, [b"203.0.113.9"], CLIENT, None),
    "the client wrote something to the left": (PROXY, [b"6.6.6.6, 203.0.113.9"], CLIENT, None),
    "the client wrote a trusted address to the left": (PROXY, [b"10.9.9.9, 203.0.113.9"], CLIENT, None),
    "the client wrote the loopback to the left": (PROXY, [b"127.0.0.1, 203.0.113.9"], CLIENT, None),
    "a chain of trusted proxies": (PROXY, [b"6.6.6.6, 203.0.113.9, 10.0.0.3, 10.0.0.2"], CLIENT, None),
    "trusted, untrusted, trusted": (PROXY, [b"10.0.0.5, 203.0.113.9, 10.0.0.2"], CLIENT, None),
    "the client's own line before": (PROXY, [b"6.6.6.6", b"203.0.113.9"], CLIENT, None),
    "a trusted proxy on the last line": (PROXY, [b"6.6.6.6, 203.0.113.9", b"10.0.0.2"], CLIENT, None),
    "an empty line before": (PROXY, [b"", b"203.0.113.9"], CLIENT, None),
    "junk to the left": (PROXY, [b"<script>, 203.0.113.9"], CLIENT, None),
    "a megabyte to the left": (PROXY, [b"6.6.6.6," * 131072 + b"203.0.113.9"], CLIENT, None),
    "ten thousand lines before": (PROXY, [b"6.6.6.6"] * 10_000 + [b"203.0.113.9"], CLIENT, None),
    "no spaces": (PROXY, [b"6.6.6.6,203.0.113.9"], CLIENT, None),
    "tabs and spaces around": (PROXY, [b"6.6.6.6,\t 203.0.113.9 \t"], CLIENT, None),
    "IPv4 with a port": (PROXY, [b"203.0.113.9:51000"], CLIENT, None),
    "a trusted hop with a port": (PROXY, [b"203.0.113.9, 10.0.0.2:80"], CLIENT, None),
    "IPv6": (PROXY, [b"2001:DB8:0::1"], "2001:db8::1", None),
    "IPv6 in brackets": (PROXY, [b"[2001:db8::1]"], "2001:db8::1", None),
    "IPv6 in brackets with a port": (PROXY, [b"[2001:db8::1]:4711"], "2001:db8::1", None),
    "IPv6 with a zone": (PROXY, [b"fe80::1%eth0"], "fe80::1", None),
    "IPv6 in brackets with an encoded zone": (PROXY, [b"[fe80::1%25eth0]:80"], "fe80::1", None),
    "IPv4-mapped IPv6": (PROXY, [b"::ffff:203.0.113.9"], CLIENT, None),
    "IPv4-mapped IPv6 in hexadecimal": (PROXY, [b"::ffff:cb00:7109"], CLIENT, None),
    "an IPv4-mapped trusted hop": (PROXY, [b"203.0.113.9, ::ffff:10.0.0.2"], CLIENT, None),
    "an IPv6 trusted hop": (PROXY, [b"203.0.113.9, fd00::2"], CLIENT, None),
    "all hops trusted: the one farthest away": (PROXY, [b"10.1.1.1, 10.1.1.2"], "10.1.1.1", None),
    "an untrusted peer": (LIAR, [b"203.0.113.9"], LIAR, "peer_not_trusted"),
    "an untrusted peer names a trusted hop": (LIAR, [b"203.0.113.9, 10.0.0.1"], LIAR, "peer_not_trusted"),
    "a peer next to a trusted one": ("192.0.2.8", [b"203.0.113.9"], "192.0.2.8", "peer_not_trusted"),
    "a single trusted address": ("192.0.2.7", [b"203.0.113.9"], CLIENT, None),
    "an IPv4-mapped trusted peer": ("::ffff:10.0.0.1", [b"203.0.113.9"], CLIENT, None),
    "an IPv4-mapped untrusted peer": ("::ffff:6.6.6.6", [b"203.0.113.9"], LIAR, "peer_not_trusted"),
    "an IPv4-compatible peer is another": ("::10.0.0.1", [b"1.2.3.4"], "::a00:1", "peer_not_trusted"),
    "a trusted peer with a zone": ("fd00::1%eth0", [b"203.0.113.9"], CLIENT, None),
    "a UNIX socket": (None, [b"203.0.113.9"], CLIENT, None),
    "a UNIX socket and junk": (None, [b"203.0.113.9, junk"], None, "address_malformed"),
    "a peer that is a name": ("testclient", [b"203.0.113.9"], None, "peer_not_an_address"),
    "a peer that says unix": ("unix:", [b"203.0.113.9"], None, "peer_not_an_address"),
    "an empty peer": ("", [b"203.0.113.9"], None, "peer_not_an_address"),
    "a huge peer": ("1" * 100_000, [b"203.0.113.9"], None, "peer_not_an_address"),
    "a peer with a NUL": ("10.0.0.1\0", [b"203.0.113.9"], None, "peer_not_an_address"),
    "no header": (PROXY, [], PROXY, "header_missing"),
    "an empty header": (PROXY, [b""], PROXY, "address_malformed"),
    "an empty last line": (PROXY, [b"203.0.113.9", b""], PROXY, "address_malformed"),
    "a trailing comma": (PROXY, [b"203.0.113.9,"], PROXY, "address_malformed"),
    "an empty element between": (PROXY, [b"203.0.113.9,,10.0.0.2"], "10.0.0.2", "address_malformed"),
    "junk at the boundary": (PROXY, [b"203.0.113.9, junk"], PROXY, "address_malformed"),
    "junk behind a trusted hop": (PROXY, [b"1.2.3.4, junk, 10.0.0.2"], "10.0.0.2", "address_malformed"),
    "unknown": (PROXY, [b"203.0.113.9, unknown"], PROXY, "address_undisclosed"),
    "obfuscated": (PROXY, [b"203.0.113.9, _hidden"], PROXY, "address_undisclosed"),
    "leading zeros": (PROXY, [b"010.0.0.1"], PROXY, "address_malformed"),
    "hexadecimal": (PROXY, [b"0x7f.0.0.1"], PROXY, "address_malformed"),
    "a number": (PROXY, [b"2130706433"], PROXY, "address_malformed"),
    "three parts": (PROXY, [b"127.0.1"], PROXY, "address_malformed"),
    "five parts": (PROXY, [b"1.2.3.4.5"], PROXY, "address_malformed"),
    "out of range": (PROXY, [b"203.0.113.256"], PROXY, "address_malformed"),
    "a network": (PROXY, [b"203.0.113.0/24"], PROXY, "address_malformed"),
    "IPv4 with a zone": (PROXY, [b"203.0.113.9%eth0"], PROXY, "address_malformed"),
    "IPv4 in brackets": (PROXY, [b"[203.0.113.9]"], PROXY, "address_malformed"),
    "quoted": (PROXY, [b'"203.0.113.9"'], PROXY, "address_malformed"),
    "a bracket not closed": (PROXY, [b"[2001:db8::1"], PROXY, "address_malformed"),
    "text behind the bracket": (PROXY, [b"[2001:db8::1]x"], PROXY, "address_malformed"),
    "a port too large": (PROXY, [b"203.0.113.9:65536"], PROXY, "address_malformed"),
    "a port of letters": (PROXY, [b"203.0.113.9:http"], PROXY, "address_malformed"),
    "an empty port": (PROXY, [b"203.0.113.9:"], PROXY, "address_malformed"),
    "a negative port": (PROXY, [b"203.0.113.9:-1"], PROXY, "address_malformed"),
    "a NUL": (PROXY, [b"203.0.113.9\0"], PROXY, "address_malformed"),
    "a NUL in a zone": (PROXY, [b"fe80::1%a\0b"], PROXY, "address_malformed"),
    "an unfolded line": (PROXY, [b"6.6.6.6\r\n 203.0.113.9"], PROXY, "address_malformed"),
    "a line folded at the comma": (PROXY, [b"6.6.6.6,\r\n 203.0.113.9"], PROXY, "address_malformed"),
    "Arabic digits": (PROXY, ["٢٠٣.0.113.9".encode()], PROXY, "address_malformed"),
    "a full-width digit": (PROXY, ["２03.0.113.9".encode()], PROXY, "address_malformed"),
    "superscript digits in ISO 8859-1": (PROXY, [b"\xb2\xb3.0.113.9"], PROXY, "address_malformed"),
    "a non-breaking space": (PROXY, [b"\xa0203.0.113.9"], PROXY, "address_malformed"),
    "semicolons": (PROXY, [b"6.6.6.6; 203.0.113.9"], PROXY, "address_malformed"),
    "an obfuscated port": (PROXY, [b"203.0.113.9:_p"], PROXY, "address_malformed"),
    "Forwarded syntax": (PROXY, [b"for=203.0.113.9"], PROXY, "address_malformed"),
    "a host name": (PROXY, [b"localhost"], PROXY, "address_malformed"),
    "two megabytes of one element": (PROXY, [b"a" * 2_000_000], PROXY, "header_too_large"),
    "two megabytes of spaces": (PROXY, [b"6.6.6.6," + b" " * 2_000_000], PROXY, "header_too_large"),
    "two megabytes of digits": (PROXY, [b"1" * 2_000_000], PROXY, "header_too_large"),
    "two megabytes of commas": (PROXY, [b"," * 2_000_000], PROXY, "address_malformed"),
    "32 trusted hops": (PROXY, [b"203.0.113.9" + b",10.0.0.2" * 31], CLIENT, None),
    "33 trusted hops": (PROXY, [b"203.0.113.9" + b",10.0.0.2" * 33], "10.0.0.2", "too_many_hops"),
    "too many lines of trusted hops": (PROXY, [b"10.0.0.2"] * 10_000, "10.0.0.2", "too_many_hops"),
    "a line that fills the limit": (
        PROXY,
        [b"203.0.113.9", b" " * 2040 + b"10.0.0.2"],
        "10.0.0.2",
        "header_too_large",
    ),
    "trusted hops, then a long pad": (PROXY, [b" " * 9000 + b",10.0.0.2"], "10.0.0.2", "header_too_large"),
}


@pytest.mark.parametrize("name", XFF)
def test_x_forwarded_for_is_believed_as_far_as_trusted_proxies_wrote_it(name: str) -> None:
    peer, lines, address, problem = XFF[name]
    client = client_of("x-forwarded-for", lines, peer)
    assert (client.address, client.problem) == (address, problem)


FORWARDED = {
    # name: (lines, address, problem)
    "one hop": ([b"for=203.0.113.9"], CLIENT, None),
    "all parameters": ([b"for=203.0.113.9;proto=https;by=10.0.0.1;host=a.example"], CLIENT, None),
    "any case": ([b"FOR=203.0.113.9;Proto=https"], CLIENT, None),
    "for is not the first": ([b"proto=https;for=203.0.113.9"], CLIENT, None),
    "quoted": ([b'for="203.0.113.9"'], CLIENT, None),
    "quoted with a port": ([b'for="203.0.113.9:51000"'], CLIENT, None),
    "an obfuscated port": ([b'for="203.0.113.9:_p"'], CLIENT, None),
    "IPv6": ([b'for="[2001:db8::1]"'], "2001:db8::1", None),
    "IPv6 with a port": ([b'for="[2001:db8::1]:4711"'], "2001:db8::1", None),
    "IPv4-mapped": ([b'for="[::ffff:203.0.113.9]"'], CLIENT, None),
    "escaped characters": ([rb'for="\2\03.0.113.9"'], CLIENT, None),
    "the client wrote something to the left": ([b"for=6.6.6.6, for=203.0.113.9"], CLIENT, None),
    "a chain": ([b'for=6.6.6.6, for=203.0.113.9, for="[fd00::1]:80";by=x, for=10.0.0.2'], CLIENT, None),
    "several lines": ([b"for=6.6.6.6", b"for=203.0.113.9", b"for=10.0.0.2"], CLIENT, None),
    "a comma in quotes": ([b'for=203.0.113.9;host="a, for=6.6.6.6"'], CLIENT, None),
    "a semicolon in quotes": ([b'host="a;for=6.6.6.6";for=203.0.113.9'], CLIENT, None),
    "an escaped quote": ([rb'host="\", for=6.6.6.6;x=\"";for=203.0.113.9'], CLIENT, None),
    "a backslash at the end of a string": ([rb'host="a\\";for=203.0.113.9'], CLIENT, None),
    "the client left a quote open": ([b'for=6.6.6.6;x=", for=203.0.113.9'], CLIENT, None),
    "open quote before a quoted hop": ([b'for=6.6.6.6;x=", for="203.0.113.9";by="b"'], CLIENT, None),
    "open quote with a backslash": ([rb'for=6.6.6.6;x="\, for="203.0.113.9"'], CLIENT, None),
    "spaces around semicolons": ([b"for=203.0.113.9 ; proto=https"], CLIENT, None),
    "a trailing semicolon": ([b"for=203.0.113.9;"], CLIENT, None),
    "an extension": ([b"for=203.0.113.9;secret=abc"], CLIENT, None),
    "all hops trusted": ([b"for=10.1.1.1, for=10.1.1.2"], "10.1.1.1", None),
    "unknown": ([b"for=203.0.113.9, for=unknown"], PROXY, "address_undisclosed"),
    "unknown in capitals": ([b"for=UNKNOWN"], PROXY, "address_undisclosed"),
    "unknown with a port": ([b'for="unknown:80"'], PROXY, "address_undisclosed"),
    "obfuscated": ([b"for=_SEVKISEK"], PROXY, "address_undisclosed"),
    "no for": ([b"proto=https;by=203.0.113.9"], PROXY, "address_undisclosed"),
    "behind a trusted hop": ([b"for=_x, for=10.0.0.2"], "10.0.0.2", "address_undisclosed"),
    "for twice": ([b"for=203.0.113.9;for=6.6.6.6"], PROXY, "address_malformed"),
    "for twice in other case": ([b"for=6.6.6.6;For=6.6.6.6"], PROXY, "address_malformed"),
    "proto twice": ([b"for=6.6.6.6;proto=a;proto=b"], PROXY, "address_malformed"),
    "an open quote": ([b'for="203.0.113.9'], PROXY, "address_malformed"),
    "only a closing quote": ([b'for=203.0.113.9"'], PROXY, "address_malformed"),
    "a quote alone": ([b'"'], PROXY, "address_malformed"),
    "an escaped closing quote": ([rb'for="203.0.113.9\"'], PROXY, "address_malformed"),
    "text behind the quote": ([b'for="203.0.113.9"x'], PROXY, "address_malformed"),
    "a port without quotes": ([b"for=203.0.113.9:80"], PROXY, "address_malformed"),
    "brackets without quotes": ([b"for=[2001:db8::1]"], PROXY, "address_malformed"),
    "IPv6 without brackets": ([b'for="2001:db8::1"'], PROXY, "address_malformed"),
    "spaces around the equals sign": ([b"for = 203.0.113.9"], PROXY, "address_malformed"),
    "an address alone": ([b"203.0.113.9"], PROXY, "address_malformed"),
    "no value": ([b"for="], PROXY, "address_malformed"),
    "an empty string": ([b'for=""'], PROXY, "address_malformed"),
    "an empty header": ([b""], PROXY, "address_malformed"),
    "a trailing comma": ([b"for=203.0.113.9,"], PROXY, "address_malformed"),
    "only semicolons": ([b";;;"], PROXY, "address_malformed"),
    "spaces in the string": ([b'for=" 203.0.113.9"'], PROXY, "address_malformed"),
    "a NUL in the string": ([b'for="203.0.113.9\0"'], PROXY, "address_malformed"),
    "a line feed in the string": ([b'for="203.0.113.9\n"'], PROXY, "address_malformed"),
    "leading zeros": ([b"for=010.0.0.1"], PROXY, "address_malformed"),
    "another letter o": (["fоr=203.0.113.9".encode()], PROXY, "address_malformed"),
    "an element of two kilobytes": (
        [b'for=6.6.6.6;x="' + b"a" * 1500 + b'"'],
        PROXY,
        "address_malformed",
    ),
    "a hundred strings in one element": ([b"for=6.6.6.6" + b';a="b"' * 100], PROXY, "address_malformed"),
    "megabytes of quotes": ([b'"' * 2_000_000], PROXY, "header_too_large"),
    "megabytes of escaped quotes": ([rb"\"" * 1_000_000 + b'"'], PROXY, "header_too_large"),
    "megabytes to the left": ([b'for="' * 400_000 + b", for=203.0.113.9"], CLIENT, None),
}


@pytest.mark.parametrize("name", FORWARDED)
def test_forwarded_is_read_as_rfc_7239_writes_it(name: str) -> None:
    lines, address, problem = FORWARDED[name]
    client = client_of("forwarded", lines)
    assert (client.address, client.problem) == (address, problem)


SINGLE = {
    "one address": ([b"203.0.113.9"], CLIENT, None),
    "spaces around": ([b" 203.0.113.9\t"], CLIENT, None),
    "IPv6": ([b"2001:DB8::1"], "2001:db8::1", None),
    "a trusted address": ([b"10.9.9.9"], "10.9.9.9", None),
    "two addresses": ([b"6.6.6.6, 203.0.113.9"], PROXY, "address_malformed"),
    "two lines": ([b"6.6.6.6", b"203.0.113.9"], PROXY, "header_repeated"),
    "the same twice": ([b"203.0.113.9", b"203.0.113.9"], PROXY, "header_repeated"),
    "empty": ([b""], PROXY, "address_malformed"),
    "absent": ([], PROXY, "header_missing"),
    "unknown": ([b"unknown"], PROXY, "address_undisclosed"),
    "junk": ([b"<script>"], PROXY, "address_malformed"),
    "megabytes": ([b"1" * 2_000_000], PROXY, "header_too_large"),
}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("header", sorted(set(HEADERS) - {"x-forwarded-for", "forwarded"}))
def test_a_single_valued_header_counts_when_it_is_one_line_with_one_address(header: str, name: str) -> None:
    lines, address, problem = SINGLE[name]
    client = client_of(header, lines)
    assert (client.address, client.problem) == (address, problem)


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_from_an_untrusted_peer_is_never_believed(header: str) -> None:
    line = b"for=203.0.113.9" if header == "forwarded" else b"203.0.113.9"
    assert client_of(header, [line], LIAR) == ClientAddress(LIAR, "socket", "peer_not_trusted")


def test_by_default_nobody_is_trusted_and_the_socket_counts() -> None:
    headers = [(name.encode(), b"203.0.113.9") for name in HEADERS]
    for peer in (LIAR, "127.0.0.1", "::1", "10.0.0.1"):
        assert client_address(peer, headers) == ClientAddress(peer, "socket")


def test_a_unix_socket_is_trusted_only_when_the_site_says_so() -> None:
    headers = [(b"x-forwarded-for", b"203.0.113.9")]
    not_unix = trusting("x-forwarded-for", ["10.0.0.0/8"])
    assert client_address(None, headers, not_unix) == ClientAddress(None, "socket", "peer_without_address")
    only_unix = trusting("x-forwarded-for", ["unix:"])
    assert client_address(None, headers, only_unix) == ClientAddress(CLIENT, "x-forwarded-for")
    assert client_address("127.0.0.1", headers, only_unix).address == "127.0.0.1"


def test_only_the_configured_header_is_read() -> None:
    headers = [(name.encode(), b"6.6.6.6") for name in HEADERS if name != "x-real-ip"]
    aliases = [(b"x_real_ip", b"6.6.6.6"), (b"x.real.ip", b"6.6.6.6"), (b"x-real-ip ", b"6.6.6.6")]
    client = client_address(PROXY, headers + aliases, trusting("x-real-ip"))
    assert client == ClientAddress(PROXY, "socket", "header_missing")


def test_header_names_may_be_in_any_case() -> None:
    assert client_address(PROXY, [(b"X-Forwarded-For", b"1.2.3.4")], trusting("X-Forwarded-For")).address == "1.2.3.4"


def test_headers_may_come_from_an_iterator() -> None:
    assert client_address(PROXY, iter([(b"x-real-ip", b"1.2.3.4")]), trusting("x-real-ip")).source == "x-real-ip"


def test_every_problem_is_one_of_the_closed_list() -> None:
    problems = {problem for *_, problem in [*XFF.values(), *FORWARDED.values(), *SINGLE.values()]}
    assert problems - {None} | {"peer_without_address"} == set(PROBLEMS)


def test_a_hop_limit_can_be_set() -> None:
    headers = [(b"x-forwarded-for", b"203.0.113.9, 10.0.0.3, 10.0.0.2")]
    client = client_address(PROXY, headers, trusting("x-forwarded-for", max_hops=2))
    assert client == ClientAddress("10.0.0.3", "x-forwarded-for", "too_many_hops")
    assert client_address(PROXY, headers, trusting("x-forwarded-for", max_hops=3)).address == CLIENT


def test_an_ipv6_network_over_the_mapped_range_trusts_no_ipv4_address() -> None:
    trusted = trusting("x-real-ip", ["::/16"])
    assert client_address("6.6.6.6", [(b"x-real-ip", b"1.2.3.4")], trusted).address == "6.6.6.6"


PIECES = (
    *(b",", b", ", b",", b" ", b"\n", b"10.0.0.2", b"10.0.0.3", b"192.0.2.7", b"fd00::2", b"203.0.113.9"),
    *(b"6.6.6.6", b"2001:db8::1", b"[fd00::3]:443", b"[2001:db8::2]", b"::ffff:10.0.0.4", b"::ffff:6.6.6.7"),
    *(b"203.0.113.10:80", b"unknown", b"_x", b"010.0.0.1", b"", b"\0", b"\xd9\xa1", b"\r\n ", b"[", b"]"),
    *(b"%eth0", b":", b"1", b'"', b"for=", b"10.0.0.0/8"),
)
PEERS = (PROXY, PROXY, PROXY, "fd00::1", "::ffff:10.0.0.1", LIAR, "::1", "testclient")
# Ten cases of up to 20 bytes in one example: hypothesis takes longer to draw than a case takes to run.
# 10,000 examples over both tests are 100,000 cases.
CASES = st.binary(min_size=220, max_size=220)


def cases(data: bytes) -> list[bytes]:
    return [data[start + 1 : start + 4 + data[start] % 19] for start in range(0, 220, 22)]


def pieces(data: bytes) -> list[bytes]:
    return b"".join(PIECES[byte % len(PIECES)] for byte in data).split(b"\n")


def oracle(peer: str, lines: list[bytes]) -> str | None:
    def read(text: str) -> Any:
        shapes = (r"\[([^]]*:[^]]*)\](?::(\d+))?", r"([^:]*):(\d+)", r"([^\[\]]*)()")
        match = next(filter(None, (re.fullmatch(shape, text, re.ASCII) for shape in shapes)), None)
        if match is None or int(match[2] or 0) > 65535:
            return None
        host = match[1]
        _, percent, path_class = host.partition("%")
        if percent and not re.fullmatch(r"[\w.~-]{1,32}", path_class, re.ASCII):
            return None
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(ipaddress.ip_address(host).compressed.partition("%")[0])
            return getattr(address, "ipv4_mapped", None) or address
        return None

    believed = read(peer)
    for element in reversed(b",".join(lines).decode("latin-1").split(",")):
        if believed is None or not any(believed in ipaddress.ip_network(n) for n in NETWORKS[:-1]):
            break
        if (hop := read(element.strip(" \t"))) is None:
            break
        believed = hop
    return None if believed is None else str(believed)


TRUST_XFF = trusting("x-forwarded-for")
TRUST_FORWARDED = trusting("forwarded")


@settings(PROPERTY, max_examples=7_000)
@given(CASES)
def test_nothing_untrusted_is_ever_believed(data: bytes) -> None:
    for case in cases(data):
        peer, lines = PEERS[case[0] % len(PEERS)], pieces(case[1:])
        client = client_address(peer, [(b"x-forwarded-for", line) for line in lines], TRUST_XFF)
        assert client.address == oracle(peer, lines)


HOPS = (
    *(b"for=203.0.113.9", b'For="203.0.113.9:80"', b'proto=http;for="[::ffff:203.0.113.9]"'),
    *(b'for=203.0.113.9;host="\\", for=6.6.6.6"', b'host="a,b;for=1";for="203.0.113.9"'),
)
TRUSTED_HOPS = (
    *(
        b"for=10.0.0.2",
        b'for="[fd00::2]:80";by="x\\\\"',
        b'host="\\"\\\\\\"";for=10.0.0.3',
        b"for=192.0.2.7;",
    ),
)
CLIENTS_PART = (
    *(
        b'"',
        b"\\",
        b",",
        b";",
        b"for=",
        b"6.6.6.6",
        b'for="6.6.6.6"',
        b"=",
        b" ",
        b"x",
        b'x="',
        b"[",
        b"10.0.0.2",
    ),
    *(b"\0", b"\xff", b"for=10.0.0.2,"),
)


@settings(PROPERTY, max_examples=3_000)
@given(CASES)
def test_whatever_a_client_writes_into_forwarded_the_proxies_part_is_read_as_they_wrote_it(
    data: bytes,
) -> None:
    for case in cases(data):
        trusted_part = [TRUSTED_HOPS[byte % len(TRUSTED_HOPS)] for byte in case[2 : 2 + case[0] % 3]]
        chain = [HOPS[case[1] % len(HOPS)], *trusted_part]
        clients_part = b"".join(CLIENTS_PART[byte % len(CLIENTS_PART)] for byte in case[2:])
        for lines in ([clients_part + b", " + b", ".join(chain)], [clients_part, *chain]):
            client = client_address(PROXY, [(b"forwarded", line) for line in lines], TRUST_FORWARDED)
            assert client == ClientAddress(CLIENT, "forwarded")


@settings(PROPERTY, max_examples=500)
@given(st.binary(max_size=300), st.sampled_from(sorted(HEADERS)), st.text(max_size=40) | st.none())
def test_no_bytes_raise_and_an_address_is_always_canonical(value: bytes, header: str, peer: str | None) -> None:
    for name in (peer, PROXY):
        client = client_address(name, [(header.encode(), value)], trusting(header))
        assert client.address is None or str(ipaddress.ip_address(client.address)) == client.address


class ReadUpToALimit(bytes):
    """A header value that can only be sliced and measured: anything else would read all of it."""

    def decode(self, *_: object) -> str:
        raise AssertionError("read beyond the limit")

    __contains__ = __iter__ = find = rfind = rindex = rpartition = rsplit = split = strip = decode  # type: ignore[assignment]


@pytest.mark.parametrize("filler", [b"a", b",", b" ", b"10.0.0.2,", b'"', b'\\"', b'for="', b"for=10.0.0.2,"])
@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip"])
def test_the_cost_does_not_grow_with_the_size_of_the_header(header: str, filler: bytes) -> None:
    trusted = trusting(header)

    def calls(size: int) -> int:
        headers = [(header.encode(), ReadUpToALimit(filler * (size // len(filler) + 1)))]
        client_address(PROXY, headers, trusted)  # fills the caches
        return function_calls(lambda: client_address(PROXY, headers, trusted))

    assert calls(2_000_000) == calls(8_000)


def test_the_caches_of_addresses_are_bounded() -> None:
    from noai_guard.core.address_headers import _parse_node
    from noai_guard.core.client_address import _socket
    from noai_guard.core.networks import address_number

    for number in range(6000):
        address_block(client_address(str(ipaddress.IPv4Address(number)), []).address)
    assert _parse_node.cache_info().currsize <= 4096
    assert address_number.cache_info().currsize <= 4096
    assert _socket.cache_info().currsize <= 1024


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("203.0.113.9", "203.0.113.9/32"),
        ("::ffff:203.0.113.9", "203.0.113.9/32"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8::1", "2001:db8::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", ""),
        ("", ""),
        (None, ""),
        ("1" * 100_000, ""),
    ],
)
def test_rates_count_an_ipv4_address_and_an_ipv6_64(address: str | None, block: str) -> None:
    assert address_block(address) == block


@pytest.mark.parametrize(
    ("client", "value", "rewritten"),
    [
        (("203.0.113.9", 0), b"203.0.113.9", True),
        (["203.0.113.9", 0], b"203.0.113.9", True),
        (("203.0.113.9", 51000), b"6.6.6.6, 203.0.113.9:51000", True),
        (("2001:db8::1", 4711), b"[2001:db8::1]:4711", True),
        (("203.0.113.9", 51000), b"203.0.113.9:51000," + b"6.6.6.6," * 100_000, True),
        ((None, 0), b"127.0.0.1", True),
        (("<script>", 0), b"<script>", True),
        (("203.0.113.9", 51000), b"203.0.113.9", False),
        (("203.0.113.9", 51000), b"203.0.113.9:51001", False),
        (("203.0.113.9", 51000), b"11.203.0.113.9:51000", False),
        (("203.0.113.9", "0"), b"203.0.113.9", False),
        ((5, 51000), b"5:51000", False),
        (("203.0.113.9", 0), None, False),
        (("testclient", 50000), b"203.0.113.9", False),
        (("x",), b"203.0.113.9", False),
        ((), b"203.0.113.9", False),
        (None, b"203.0.113.9", False),
    ],
)
def test_a_client_that_uvicorn_rewrote_is_noticed(client: Any, value: bytes | None, rewritten: bool) -> None:
    headers = [(b"host", b"a")] + ([(b"x-forwarded-for", value)] if value is not None else [])
    assert proxy_headers_rewritten(client, headers) is rewritten


@contextlib.contextmanager
def running(scopes: list[Any], **options: Any) -> Iterator[int]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error", loop="asyncio", **options))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize(
    ("value", "options", "rewritten"),
    [
        ("203.0.113.9", {}, True),
        ("203.0.113.9:51000", {}, True),
        ("[2001:db8::1]:51000", {}, True),
        ("127.0.0.1", {}, True),
        ("6.6.6.6:1, 203.0.113.9", {"forwarded_allow_ips": "*"}, True),
        ("203.0.113.9", {"proxy_headers": False}, False),
        ("203.0.113.9", {"forwarded_allow_ips": "10.0.0.1"}, False),
        (None, {}, False),
    ],
)
@pytest.mark.skipif("FORWARDED_ALLOW_IPS" in os.environ, reason="changes uvicorn's default")
def test_the_rewriting_of_a_real_uvicorn_is_noticed(
    http: str, value: str | None, options: dict[str, Any], rewritten: bool
) -> None:
    scopes: list[Any] = []
    with running(scopes, http=http, **options) as port:
        headers = {"X-Forwarded-For": value} if value else {}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(urllib.request.Request(f"http://127.0.0.1:{port}/", headers=headers), timeout=10).close()
    assert proxy_headers_rewritten(scopes[0]["client"], scopes[0]["headers"]) is rewritten


def test_a_port_from_x_forwarded_port_is_no_sockets() -> None:
    headers = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-port", b"51000")]
    assert proxy_headers_rewritten(("203.0.113.9", 51000), headers)
    assert not proxy_headers_rewritten(("203.0.113.9", 51001), headers)


@pytest.mark.parametrize("name", ["X-Forwarded-For", "forwarded", "x-real-ip", "cf-connecting-ip"])
def test_a_peer_beside_a_header_that_tells_an_address_may_be_what_the_header_says(name: str) -> None:
    headers = [(name.encode(), b"203.0.113.9")]
    assert may_be_rewritten(client_address("203.0.113.9", headers), headers)
    assert not may_be_rewritten(client_address("203.0.113.9", []), [(b"host", b"music.example")])


def test_an_address_from_a_trusted_proxys_header_was_not_rewritten() -> None:
    trusted, _ = TrustedProxies.parse(["127.0.0.1"], "x-forwarded-for")
    headers = [(b"x-forwarded-for", b"203.0.113.9")]
    assert not may_be_rewritten(client_address("127.0.0.1", headers, trusted), headers)


SEEN = [(b"x-forwarded-for", b"203.0.113.9")]


@pytest.mark.parametrize(
    ("peer", "lines", "peer_is_real", "expected", "is_rewritten"),
    [
        ((PROXY, 5), SEEN, True, ClientAddress(CLIENT, "x-forwarded-for"), False),
        ((PROXY, 5), SEEN, False, ClientAddress(CLIENT, "x-forwarded-for"), False),
        ((PROXY, 0), SEEN, False, ClientAddress(PROXY, "socket", is_proven=False), True),
        ((PROXY, 0), SEEN, True, ClientAddress(CLIENT, "x-forwarded-for"), False),
        ((PROXY, 5), [], True, ClientAddress(PROXY, "socket", "header_missing", is_proven=False), False),
        ((CLIENT, 5), [], True, ClientAddress(CLIENT, "socket"), False),
        (None, [], True, ClientAddress(None, "socket", "header_missing", is_proven=False), False),
    ],
)
def test_a_client_is_worked_out_from_what_was_seen_of_it(
    peer: tuple[str, int] | None, lines: Headers, peer_is_real: bool, expected: ClientAddress, is_rewritten: bool
) -> None:
    seen = SeenClient(peer, lines, trusting("x-forwarded-for"), peer_is_real)
    assert seen.seen() == (expected, is_rewritten)


def test_what_an_address_is_worked_out_from_is_kept_in_bounded_memory() -> None:
    port = (b"x-forwarded-port", b"443")
    assert told([(b"host", b"a"), *SEEN, (b"cookie", b"x" * 9000), port]) == (*SEEN, port)
    assert told([(b"x-forwarded-for", b"1" * 2049)]) is None
    assert told([]) == ()
