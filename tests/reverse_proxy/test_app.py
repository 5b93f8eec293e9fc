"""Requests reach the origin and responses the client, between raw sockets."""

import gzip
import time

import pytest

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from tests.middleware.asgi_kit import OURS, SCRAPER  # noqa: E402
from tests.raw_http import exchanged  # noqa: E402
from tests.reverse_proxy.proxy_kit import Origin, OriginRequest, Proxy, request_at_origin  # noqa: E402


def test_a_response_comes_back_with_its_fields_in_order_and_ours_behind(origin: Origin, proxy: Proxy) -> None:
    lines = [
        b"Set-Cookie: a=1; Path=/",
        b"X-One: 1",
        b"set-cookie: b=2",
        b"x-one: 2",
        b"Date: Mon, 01 Jan 2024 00:00:00 GMT",
    ]
    origin.route("/lines", lambda request: request.respond(b"hi", *lines))
    response = proxy.fetch("/lines")
    assert response.headers == [
        (b"content-length", b"2"), (b"set-cookie", b"a=1; Path=/"), (b"x-one", b"1"), (b"set-cookie", b"b=2"), (b"x-one", b"2"),
        (b"date", b"Mon, 01 Jan 2024 00:00:00 GMT"), *OURS, (b"connection", b"close"),
    ]  # fmt: skip
    assert (response.status, response.body, response.complete) == (200, b"hi", True)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/a%2Fb",
        "//a//b",
        "/a/../b",
        "/a/%2e%2e/b",
        "/a;p=1/b",
        "/a\\b",
        "/%",
        "/%zz%00",
        "/a?b?c=%2F&d=&&",
        "/?",
        "/a+b%20c",
    ],
)
def test_a_target_reaches_the_origin_as_it_was_sent(origin: Origin, proxy: Proxy, target: str) -> None:
    # ASGI does not tell an empty query from none.
    assert request_at_origin(origin, proxy, target).target.decode() == target.removesuffix("?")


def test_range_and_conditional_requests_and_their_responses_pass(origin: Origin, proxy: Proxy) -> None:
    def partial(request: OriginRequest) -> None:
        assert request.values(b"range") == [b"bytes=2-4"]
        request.respond(b"llo", b"Content-Range: bytes 2-4/5", b"Accept-Ranges: bytes", status=b"206 Partial Content")

    def known(request: OriginRequest) -> None:
        assert request.values(b"if-none-match") == [b'"x"']
        request.send(b'HTTP/1.1 304 Not Modified\r\netag: "x"\r\ncontent-length: 77\r\n\r\n')

    response = proxy.fetch(origin.route("/song.mp3", partial), b"Range: bytes=2-4")
    assert (response.status, response.body, response.values(b"content-range")) == (206, b"llo", [b"bytes 2-4/5"])
    response = proxy.fetch(origin.route("/known", known), b'If-None-Match: "x"')
    assert (response.status, response.body, response.values(b"etag"), response.values(b"content-length")) == (
        304,
        b"",
        [b'"x"'],
        [b"77"],
    )


def test_pipelined_requests_are_responded_to_in_order(origin: Origin, proxy: Proxy) -> None:
    def respond_late(request: OriginRequest) -> None:
        time.sleep(0.02)
        request.respond(request.target)

    for number in range(5):
        origin.route(f"/{number}th", respond_late)
    requests = b"".join(b"GET /%dth HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5))
    received = exchanged(proxy.port, requests, until=b"/4th")
    assert [received.index(b"/%dth" % number) for number in range(5)] == sorted(
        received.index(b"/%dth" % number) for number in range(5)
    )


def test_a_compressed_page_passes_unchanged(origin: Origin, proxy: Proxy) -> None:

    page = gzip.compress(b"<html><head></head></html>")
    origin.route("/gzip", lambda request: request.respond(page, b"content-type: text/html", b"content-encoding: gzip"))
    response = proxy.fetch("/gzip", b"Accept-Encoding: gzip")
    assert (response.body, response.values(b"content-encoding")) == (page, [b"gzip"])


def test_a_page_gets_metas_and_a_scraper_a_refusal(origin: Origin, proxy: Proxy) -> None:
    origin.route("/page", lambda request: request.respond(b"<html><head></head></html>", b"content-type: text/html"))
    assert b'<meta name="robots" content="noai, noimageai, noarchive, noml">' in proxy.fetch("/page").body
    before = len(origin.requests)
    assert proxy.fetch("/page", user_agent=SCRAPER).status == 403
    assert len(origin.requests) == before


def test_the_origins_robots_txt_is_merged(origin: Origin, proxy: Proxy) -> None:
    origin.route(
        "/robots.txt",
        lambda request: request.respond(b"User-agent: *\nDisallow: /private/\n", b"content-type: text/plain"),
    )
    body = proxy.fetch("/robots.txt").body
    assert b"Disallow: /private/" in body
    assert b"GPTBot" in body
