"""A policy made ready to serve."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.model import Document
from noai_guard.responses.documents import document_headers
from noai_guard.responses.header_fields import Declared
from noai_guard.responses.negotiation import chosen_format
from noai_guard.responses.refusal import Format

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
XHR = (b"x-requested-with", b"XMLHttpRequest")
STANCE = load_stance("no-ai")
CATALOG = load_catalog()


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
def test_a_refusal_takes_the_form_that_the_client_can_use(path, method, headers, expected):
    assert chosen_format(path, method, headers) is expected


names = st.sampled_from([b"accept", b"range", b"sec-fetch-dest", b"x-requested-with", b"icy-metadata", b"cookie"])


@given(st.text(), st.text(max_size=8), st.lists(st.tuples(names, st.binary(max_size=50)), max_size=9))
def test_any_request_has_a_format(path, method, headers):
    assert chosen_format(path, method, headers) in Format


OURS = (
    (b"x-robots-tag", b"noai, noimageai"),
    (b"content-usage", b"train-ai=n"),
    (b"tdm-reservation", b"1"),
    (b"tdm-policy", b"https://band.example/tdm"),
    (b"link", b'<https://band.example/l>; rel="license"'),
)
DECLARED = Declared(OURS, b"<meta>")


def names_without(*left_out: bytes) -> list[tuple[bytes, bytes]]:
    return [field for field in OURS if field[0] not in left_out]


@pytest.mark.parametrize(
    ("own", "added"),
    [
        ([], list(OURS)),
        ([(b"content-length", b"3")], list(OURS)),
        ([(b"content-usage", b"train-ai=y")], names_without(b"content-usage")),
        ([(b"Content-Usage", b"train-ai=y")], names_without(b"content-usage")),
        ([(b"CONTENT-USAGE", b"train-ai=y")], names_without(b"content-usage")),
        ([(b"tdm-reservation", b"0")], names_without(b"tdm-reservation", b"tdm-policy")),
        ([(b"tdm-policy", b"https://x")], names_without(b"tdm-policy")),
        ([(b"x-robots-tag", b"noindex")], list(OURS)),
        ([(b"x-robots-tag", b"noai, noimageai")], names_without(b"x-robots-tag")),
        ([(b"X-Robots-Tag", b" noai, noimageai ")], names_without(b"x-robots-tag")),
        ([(b"link", b"</next>; rel=next"), (b"link", b"</a>")], list(OURS)),
    ],
)
def test_ours_stand_beside_an_apps_own_by_the_stated_rule(own, added):
    assert DECLARED.added_to(own)[0] == own + added


def test_the_apps_headers_are_not_touched():
    own = [(b"link", b"</next>; rel=next")]
    assert DECLARED.added_to(own)[0] is not own
    assert own == [(b"link", b"</next>; rel=next")]


@pytest.mark.parametrize(
    ("content_type", "html"),
    [(b"text/html", True), (b"Text/HTML; charset=utf-8", True), (b"application/json", False), (b"text/plain", False)],
)
def test_html_is_known_by_its_content_type(content_type, html):
    assert DECLARED.added_to([(b"content-type", content_type)])[1] is html
    assert DECLARED.added_to([(b"Content-Type", content_type)])[1] is html
    assert Declared(OURS, b"").added_to([(b"content-type", content_type)])[1] is False


def test_a_section_that_declares_nothing_adds_nothing():
    own = [(b"content-type", b"text/html")]
    assert Declared((), b"").added_to(own) == (own, False)


def test_documents_may_be_kept_for_an_hour_and_asked_for_again_by_their_tag():
    one, other = (dict(document_headers(Document("/x", "text/plain", body))) for body in (b"one", b"two!"))
    assert one[b"content-length"] == b"3"
    assert one[b"cache-control"] == b"public, max-age=3600"
    assert one[b"etag"] != other[b"etag"]


def test_a_merged_robots_txt_is_made_once():
    compiled = CompiledPolicy(STANCE, CATALOG)
    assert (
        compiled.merged_robots[b"User-agent: *\nDisallow: /a\n"]
        is compiled.merged_robots[b"User-agent: *\nDisallow: /a\n"]
    )


def test_the_same_refusal_is_prepared_once():
    compiled = CompiledPolicy(STANCE, CATALOG)
    verdict = compiled.guard.judged("/", b"GPTBot/1.0")
    assert compiled.refusal(verdict, "/", "GET", []) is compiled.refusal(verdict, "/other", "GET", [accept(b"*/*")])
