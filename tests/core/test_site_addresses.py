from dataclasses import replace

import pytest

from noai_guard import load_stance
from noai_guard.core.policy import Site
from noai_guard.core.site_addresses import (
    ascii_uri,
    contact_text,
    document_address,
    page_address,
    policy_address,
    site_host,
)
from noai_guard.core.text import one_line

SITE = Site(url="https://label.example/")


def test_the_address_of_a_document_is_below_that_of_the_site() -> None:
    assert document_address(SITE, "/robots.txt") == "https://label.example/robots.txt"
    assert document_address(Site(), "/robots.txt") == "/robots.txt"


def test_the_policy_is_explained_on_our_page_or_on_one_of_the_site() -> None:
    assert policy_address(SITE) == "https://label.example/.well-known/noai"
    assert policy_address(Site()) == "/.well-known/noai"
    assert policy_address(replace(SITE, policy_page="https://other.example/ai")) == "https://other.example/ai"


@pytest.mark.parametrize(
    ("page", "declarations", "address"),
    [
        ("/ai", {}, "https://label.example/ai"),
        ("/ai", {"policy_page": False}, ""),
        ("https://other.example/ai", {"policy_page": False}, "https://other.example/ai"),
    ],
)
def test_a_page_that_is_not_published_has_no_address(page: str, declarations: dict[str, bool], address: str) -> None:
    policy = replace(load_stance(), site=replace(SITE, policy_page=page), declarations=declarations)
    assert page_address(policy) == address


def test_an_address_is_safe_in_a_header_field_and_between_brackets() -> None:
    assert (
        ascii_uri('https://a.example/ü <"\\>\r\n%20?b=c#d') == "https://a.example/%C3%BC%20%3C%22%5C%3E%0D%0A%20?b=c#d"
    )
    assert ascii_uri("/\ud800") == "/?"


def test_a_contact_is_shown_as_people_write_it() -> None:
    assert contact_text(Site(contact="mailto:rights%2Bai@label.example")) == "rights+ai@label.example"
    assert contact_text(Site(contact="https://label.example/contact")) == "https://label.example/contact"


def test_a_text_of_several_lines_becomes_one() -> None:
    assert one_line("  a\r\nb\t\tc\x00\u2028d\ud800 ") == "a b c d"


def test_the_host_of_a_site_is_in_lower_case_and_empty_where_nobody_knows_it() -> None:
    assert site_host(Site(url="https://Label.example:8443/music")) == "label.example"
    assert site_host(Site()) == ""
