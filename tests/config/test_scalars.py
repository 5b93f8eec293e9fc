import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.config import scalars
from noai_guard.config.schema_types import Rejection

SAFE = frozenset(map(chr, range(0x21, 0x7F))) - set('<>"\\')


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://example.org", "https://example.org"),
        ("HTTPS://Example.ORG./A", "https://example.org/A"),
        ("http://example.org:8080/a%20b?c=%C3%A4", "http://example.org:8080/a%20b?c=%C3%A4"),
        ("https://example.org/my licence", "https://example.org/my%20licence"),
        ('https://example.org/"><script>', "https://example.org/%22%3E%3Cscript%3E"),
        ("https://münchen.example", "https://xn--mnchen-3ya.example"),
        ("https://straße.example", "https://xn--strae-oqa.example"),
        ("https://例え。テスト/", "https://xn--r8jz45g.xn--zckzah/"),
        ("https://[2001:DB8::1]:8443/", "https://[2001:db8::1]:8443/"),
        ("https://192.0.2.1/", "https://192.0.2.1/"),
    ],
)
def test_a_web_address_is_kept_in_ascii(text: str, address: str) -> None:
    assert scalars.web_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "x", "//example.org", "https://", "https:///a", "ftp://example.org", "https://a..b", "https://-a.example",
     "https://a b.example", "https://a_b\\c", "https://me@example.org", "https://example.org:0x50", "https://[::1",
     "https://[1.2.3.4]", "https://\u2100.example", "https://%61.example", "https://" + "a" * 64 + ".example",
     "https://" + "a." * 130 + "example", "data:text/html,x", "https://\u00ad.example"],
)  # fmt: skip
def test_what_is_no_web_address_is_refused(text: str) -> None:
    problem = scalars.web_address(text)
    assert isinstance(problem, Rejection)
    assert problem.code == "P014"


@given(st.one_of(st.text(), st.text().map("https://{}".format), st.text().map("https://example.org/{}".format)))
def test_an_address_that_is_kept_can_stand_in_a_header(text: str) -> None:
    for convert in (scalars.web_address, scalars.site_address, scalars.contact, scalars.policy_page):
        kept = convert(text)
        assert isinstance(kept, Rejection) or (kept and SAFE.issuperset(kept))


@given(st.text(), st.text())
def test_an_e_mail_that_is_kept_can_stand_in_a_header(local: str, host: str) -> None:
    kept = scalars.contact(f"{local}@{host}.example")
    assert isinstance(kept, Rejection) or SAFE.issuperset(kept)


@given(st.one_of(st.text(), st.text().map("https://example.org/{}".format), st.text().map("https://{}.org".format)))
def test_an_address_that_is_kept_is_kept_as_it_is(text: str) -> None:
    kept = scalars.web_address(text)
    assert isinstance(kept, Rejection) or scalars.web_address(kept) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("rights@example.org", "mailto:rights@example.org"),
        ("mailto:rights+ai@Example.org", "mailto:rights+ai@example.org"),
        ("MAILTO:a@b.example", "mailto:a@b.example"),
        ("https://example.org/contact", "https://example.org/contact"),
    ],
)
def test_a_contact_is_an_address_to_click(text: str, kept: str) -> None:
    assert scalars.contact(text) == kept


@pytest.mark.parametrize(
    "text", ["", "@", "a@b", "a b@c.example", "a@b.example?bcc=x@y.z", "<a@b.example>", "Sam <a@b.example>", "tel:1",
             "a@b@c.example", "a@-.example"],
)  # fmt: skip
def test_what_is_no_contact_is_refused(text: str) -> None:
    assert isinstance(scalars.contact(text), Rejection)


@pytest.mark.parametrize("text", ["/ai-policy", "/legal/ai/", "/.well-known/noai", "https://example.org/ai"])
def test_a_policy_page_is_a_path_or_an_address(text: str) -> None:
    assert scalars.policy_page(text) == text


@pytest.mark.parametrize(
    "text", ["/", "", "//a", "/a/../b", "/a?b", "/a#b", "/a%20b", "/ä", "/a b", "/*", "ai", "/.well-known/tdmrep.json"]
)
def test_a_policy_page_that_could_not_be_served_is_refused(text: str) -> None:
    assert isinstance(scalars.policy_page(text), Rejection)


@given(st.text())
def test_no_text_makes_a_conversion_fail(text: str) -> None:
    for convert in (scalars.path_pattern, scalars.network, scalars.rule_id):
        assert isinstance(convert(text), str | Rejection)
