"""Requests that could mean two things are refused, or judged by their strictest reading."""

import re

import pytest

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from tests.middleware.asgi_kit import BROWSER, SCRAPER  # noqa: E402
from tests.raw_http import exchanged, parsed  # noqa: E402
from tests.reverse_proxy.proxy_kit import Origin, Proxy  # noqa: E402

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


SMUGGLING = {
    "length and chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED),
    "two lengths on a line": b"Content-Length: 0, %d\r\n\r\n" % len(SMUGGLED),
    "a signed length": b"Content-Length: +%d\r\n\r\n" % len(SMUGGLED),
    "a length in hex": b"Content-Length: 0x10\r\n\r\n",
    "a length with an underscore": b"Content-Length: 1_0\r\n\r\n",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and identity": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "gzip": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "xchunked": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked with a tab inside": b"Transfer-Encoding: chun\tked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a bare line feed in a name": b"X: y\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a null": b"X: y\x00z\r\n\r\n",
    "a bare carriage return": b"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad chunk size": b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a signed chunk size": b"Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than it says": b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "a huge chunk size": b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "two hosts": b"Host: y\r\n\r\n",
}


@pytest.mark.parametrize("how", SMUGGLING)
def test_a_request_with_two_ends_is_refused_and_its_connection_closed(
    separate_pair: tuple[Origin, Proxy], how: str
) -> None:
    origin, proxy = separate_pair
    before = len(origin.requests)
    received = exchanged(proxy.port, b"POST / HTTP/1.1\r\nHost: x\r\n" + SMUGGLING[how] + SMUGGLED)
    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"400"]
    assert not [request for request in origin.requests[before:] if request.target == b"/smuggled"]


@pytest.mark.parametrize(
    "line",
    [
        b"GET http:///x HTTP/1.1", b"GET x HTTP/1.1", b"GET ftp://x/y HTTP/1.1", b"CONNECT x:443 HTTP/1.1", b"GET ? HTTP/1.1",
        b"GET /a b HTTP/1.1", b"GET /\x01 HTTP/1.1", b"GET /", b"G\xc3\xa9T / HTTP/1.1",
    ],
)  # fmt: skip
def test_a_malformed_request_is_refused(origin: Origin, policy_proxy: Proxy, line: bytes) -> None:
    before = len(origin.requests)
    received = exchanged(policy_proxy.port, line + b"\r\nHost: x\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400 ")
    assert len(origin.requests) == before


@pytest.mark.parametrize("host", [b"a/b", b"a b", b"a?b", b"a@b", b"a#b", b"[::1", b"a\\b"])
def test_an_invalid_host_is_refused(policy_proxy: Proxy, host: bytes) -> None:
    assert policy_proxy.raw(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host).status == 400


@pytest.mark.parametrize("host", ["björk.example", "音楽.example:8080", "x.例え"])
def test_a_host_in_utf_8_reaches_the_upstream_as_it_came(origin: Origin, policy_proxy: Proxy, host: str) -> None:
    request = f"GET /songs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    assert policy_proxy.raw(request).status == 200
    seen = origin.requests[-1]
    assert (seen.values(b"host"), seen.values(b"x-forwarded-host")) == ([host.encode()], [host.encode()])
    assert seen.values(b"forwarded")[0].endswith(b';host="%b";proto=http' % host.encode())
    assert policy_proxy.raw(request.replace(b"/songs", b"/robots.txt")).status == 200


def test_an_absolute_target_names_the_host(origin: Origin, policy_proxy: Proxy) -> None:
    policy_proxy.raw(b"GET http://real.example/tracks?q=1 HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n")
    request = origin.requests[-1]
    assert (request.target, request.values(b"host"), request.values(b"x-forwarded-host")) == (
        b"/tracks?q=1",
        [b"real.example"],
        [b"real.example"],
    )
    policy_proxy.raw(b"GET http://real.example HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert origin.requests[-1].target == b"/"


def test_a_fragment_is_cut_off_before_the_request_is_judged(origin: Origin, policy_proxy: Proxy) -> None:
    policy_proxy.raw(
        b"GET /news#/tracks?x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: %b\r\n\r\n" % SCRAPER
    )
    assert origin.requests[-1].target == b"/news"


def test_options_for_the_whole_server_pass(origin: Origin, policy_proxy: Proxy) -> None:
    policy_proxy.raw(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert origin.requests[-1].head.startswith(b"OPTIONS * HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "target",
    [
        "/tracks/song", "/press/../tracks/song", "/press/%2e%2e/tracks/song", "/press/..;/tracks/song", "/press/..%2ftracks/song",
        "/press/%2e%2e%2ftracks/song", "/press/..\\tracks\\song", "/press/..%5ctracks/song", "/tracks/x/../../press/y", "//press/tracks/song",
        "/press%2Fsong", "/press/%252e%252e/tracks/song", "/news;x/../tracks", "/press;/../tracks", "/tracks/..;/press/x", "/press%252Fsong",
    ],
)  # fmt: skip
def test_a_path_that_can_be_read_as_a_reserved_one_is_judged_as_that(
    origin: Origin, policy_proxy: Proxy, target: str
) -> None:
    before = len(origin.requests)
    assert policy_proxy.fetch(target, user_agent=SCRAPER).status == 403
    assert len(origin.requests) == before
    assert policy_proxy.fetch(target, user_agent=BROWSER).status == 200
    assert origin.requests[-1].target.decode() == target


@pytest.mark.parametrize(
    "target", ["/press/kit", "/press//kit", "/press/./kit", "/news", "/press/a;b", "/press/a%20b", "/press/%25"]
)
def test_a_path_that_is_open_in_every_reading_is_open(policy_proxy: Proxy, target: str) -> None:
    assert policy_proxy.fetch(target, user_agent=SCRAPER).status == 200


def test_robots_txt_is_served_whatever_else_its_path_could_mean(policy_proxy: Proxy) -> None:
    assert policy_proxy.fetch("//robots.txt", user_agent=SCRAPER).status == 200


def test_a_pipelined_request_behind_a_refused_one_is_not_read(origin: Origin, policy_proxy: Proxy) -> None:
    before = len(origin.requests)
    received = exchanged(policy_proxy.port, b"GET /%00 HTTP/1.1\r\nHost: a/b\r\n\r\n" + SMUGGLED)
    assert parsed(received).status == 400
    assert len(origin.requests) == before


def test_a_response_has_one_date(origin: Origin, proxy: Proxy) -> None:
    assert len(proxy.fetch("/").values(b"date")) == 1
    assert len(proxy.fetch("/", user_agent=SCRAPER).values(b"date")) == 1
