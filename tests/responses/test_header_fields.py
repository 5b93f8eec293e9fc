"""Header fields that are added to the responses of the app."""

import pytest

from noai_guard.core.model import HeaderField
from noai_guard.responses.header_fields import Declared, native, one_line_per_name

OURS = (
    (b"x-robots-tag", b"noai, noimageai"),
    (b"content-usage", b"train-ai=n"),
    (b"tdm-reservation", b"1"),
    (b"tdm-policy", b"https://band.example/tdm"),
    (b"link", b'<https://band.example/l>; rel="license"'),
)
DECLARED = Declared(OURS, b"<meta>")


def ours_without(*left_out: bytes) -> list[HeaderField]:
    return [field for field in OURS if field[0] not in left_out]


@pytest.mark.parametrize(
    ("sent", "added"),
    [
        ([], list(OURS)),
        ([(b"content-length", b"3")], list(OURS)),
        ([(b"content-usage", b"train-ai=y")], ours_without(b"content-usage")),
        ([(b"Content-Usage", b"train-ai=y")], ours_without(b"content-usage")),
        ([(b"CONTENT-USAGE", b"train-ai=y")], ours_without(b"content-usage")),
        ([(b"tdm-reservation", b"0")], ours_without(b"tdm-reservation", b"tdm-policy")),
        ([(b"tdm-policy", b"https://x")], ours_without(b"tdm-policy")),
        ([(b"x-robots-tag", b"noindex")], list(OURS)),
        ([(b"x-robots-tag", b"noai, noimageai")], ours_without(b"x-robots-tag")),
        ([(b"X-Robots-Tag", b" noai, noimageai ")], ours_without(b"x-robots-tag")),
        ([(b"link", b"</next>; rel=next"), (b"link", b"</a>")], list(OURS)),
    ],
)
def test_the_apps_field_replaces_ours_unless_the_name_is_repeatable(
    sent: list[HeaderField], added: list[HeaderField]
) -> None:
    assert DECLARED.added_to(sent)[0] == sent + added


def test_the_list_of_the_app_is_not_changed() -> None:
    sent = [(b"link", b"</next>; rel=next")]
    assert DECLARED.added_to(sent)[0] is not sent
    assert sent == [(b"link", b"</next>; rel=next")]


@pytest.mark.parametrize(
    ("content_type", "html"),
    [(b"text/html", True), (b"Text/HTML; charset=utf-8", True), (b"application/json", False), (b"text/plain", False)],
)
def test_html_is_recognised_by_its_content_type(content_type: bytes, html: bool) -> None:
    assert DECLARED.added_to([(b"content-type", content_type)])[1] is html
    assert DECLARED.added_to([(b"Content-Type", content_type)])[1] is html
    assert Declared(OURS, b"").added_to([(b"content-type", content_type)])[1] is False


def test_a_path_policy_that_declares_nothing_adds_nothing() -> None:
    sent = [(b"content-type", b"text/html")]
    assert Declared((), b"").added_to(sent) == (sent, False)


def test_wsgi_gets_the_same_fields_as_native_strings() -> None:
    assert native([(b"link", b"<\xe9>")]) == [("link", "<\xe9>")]
    assert DECLARED.native_fields == native(OURS)
    assert {name.encode() for name in DECLARED.native_watched} == DECLARED.watched


def test_lines_of_one_name_are_joined_by_commas() -> None:
    fields = [(b"link", b"<a>"), (b"x-robots-tag", b"noai"), (b"link", b""), (b"link", b"<b>")]
    assert one_line_per_name(fields) == {b"link": b"<a>, <b>", b"x-robots-tag": b"noai"}
