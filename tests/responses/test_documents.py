"""Documents as files and as HTTP responses."""

import pytest

from noai_guard.core.model import Document
from noai_guard.responses.documents import document_file, document_headers, document_response

DOCUMENT = Document("/x", "text/plain", b"one")


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("/robots.txt", "robots.txt"),
        ("/.well-known/noai", ".well-known/noai"),
        ("/policy/", "policy/index.html"),
        ("/../../etc/passwd", "etc/passwd"),
    ],
)
def test_a_document_is_a_file_below_the_root_of_the_site(path: str, file: str) -> None:
    assert document_file(Document(path, "text/plain", b"")) == file


def test_a_document_is_cacheable_for_an_hour_and_has_an_etag_of_its_content() -> None:
    one, other = (dict(document_headers(Document("/x", "text/plain", body))) for body in (b"one", b"two!"))
    assert one[b"content-length"] == b"3"
    assert one[b"cache-control"] == b"public, max-age=3600"
    assert one[b"etag"] != other[b"etag"]


def test_the_etag_of_robots_txt_is_weak_and_does_not_depend_on_the_date() -> None:
    bodies = (b"# Generated %s by noai-guard 1.\nUser-agent: *\n" % date for date in (b"2026-11-23", b"2031-01-01"))
    one, other = (dict(document_headers(Document("/robots.txt", "text/plain", body))) for body in bodies)
    assert one[b"etag"] == other[b"etag"]
    assert one[b"etag"].startswith(b'W/"')


def test_get_sends_the_body_and_head_only_the_headers() -> None:
    get, head = (document_response(DOCUMENT, method, []) for method in ("GET", "HEAD"))
    assert (get.status, get.body) == (200, b"one")
    assert (head.status, head.headers, head.body) == (200, get.headers, b"")


@pytest.mark.parametrize("name", [b"if-none-match", b"If-None-Match"])
def test_a_client_that_has_the_document_gets_304_without_content_headers(name: bytes) -> None:
    etag = dict(document_headers(DOCUMENT))[b"etag"]
    for value in (etag, b'"other", ' + etag, b" * "):
        response = document_response(DOCUMENT, "GET", [(name, value)])
        assert (response.status, response.body) == (304, b"")
        assert not {b"content-length", b"content-type"} & set(dict(response.headers))
    assert document_response(DOCUMENT, "GET", [(name, b'"other"')]).status == 200
