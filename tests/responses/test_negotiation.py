"""Format of a refusal, by what the client accepts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.core.model import HeaderField
from noai_guard.responses.negotiation import chosen_format
from noai_guard.responses.refusal import Format

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
XHR = (b"x-requested-with", b"XMLHttpRequest")


def accept(value: bytes) -> tuple[bytes, bytes]:
    return b"accept", value


def dest(value: bytes) -> tuple[bytes, bytes]:
    return b"sec-fetch-dest", value


@pytest.mark.parametrize(
    ("path", "method", "headers", "expected"),
    [
        ("/", "GET", [], Format.TEXT),
        ("/", "GET", [accept(b"*/*")], Format.TEXT),
        ("/", "GET", [accept(BROWSER)], Format.HTML),
        ("/", "HEAD", [accept(BROWSER)], Format.HTML),
        ("/", "GET", [accept(b"TEXT/HTML")], Format.HTML),
        ("/", "GET", [accept(BROWSER), dest(b"document")], Format.HTML),
        ("/", "GET", [accept(BROWSER), dest(b"iframe")], Format.HTML),
        ("/", "POST", [accept(BROWSER)], Format.TEXT),
        ("/", "GET", [accept(BROWSER), XHR], Format.TEXT),
        ("/", "GET", [accept(BROWSER), dest(b"empty")], Format.TEXT),
        ("/", "GET", [accept(BROWSER), dest(b"audio")], Format.TEXT),
        ("/", "GET", [accept(BROWSER), (b"range", b"bytes=0-")], Format.TEXT),
        ("/", "GET", [accept(BROWSER), (b"icy-metadata", b"1")], Format.TEXT),
        ("/", "GET", [accept(b"audio/*;q=0.9,text/html;q=0.1")], Format.TEXT),
        ("/", "GET", [accept(b"application/json")], Format.JSON),
        ("/", "GET", [accept(b"application/ld+json")], Format.JSON),
        ("/", "POST", [accept(b"application/json")], Format.JSON),
        ("/", "GET", [accept(b"application/json"), XHR], Format.JSON),
        ("/", "GET", [accept(b"application/json, text/html")], Format.JSON),
        ("/", "GET", [accept(b"text/html, application/json")], Format.HTML),
        ("/a.mp3", "GET", [accept(BROWSER)], Format.TEXT),
        ("/a.MP3", "GET", [accept(b"application/json")], Format.TEXT),
        ("/live/x.m3u8", "GET", [accept(BROWSER)], Format.TEXT),
        ("/live/x.mpd", "GET", [accept(BROWSER)], Format.TEXT),
        ("/a.mp3/page", "GET", [accept(BROWSER)], Format.HTML),
        ("/", "GET", [accept(b"image/*"), accept(b"text/html")], Format.HTML),
        ("/", "GET", [(b"Accept-Language", b"text/html")], Format.TEXT),
    ],
)
def test_a_refusal_has_the_format_that_the_client_can_use(
    path: str, method: str, headers: list[HeaderField], expected: Format
) -> None:
    assert chosen_format(path, method, headers) is expected


names = st.sampled_from([b"accept", b"range", b"sec-fetch-dest", b"x-requested-with", b"icy-metadata", b"cookie"])


@given(st.text(), st.text(max_size=8), st.lists(st.tuples(names, st.binary(max_size=50)), max_size=9))
def test_any_request_has_a_format(path: str, method: str, headers: list[HeaderField]) -> None:
    assert chosen_format(path, method, headers) in Format
