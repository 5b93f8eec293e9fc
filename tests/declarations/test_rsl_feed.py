"""RSL element for an app's own feed, read as XML, as RSL, and by a feed parser that does not know it."""

from collections.abc import Iterator
from dataclasses import replace

import feedparser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from noai_guard.config import load_stance
from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.core.policy import Policy, Site
from noai_guard.declarations.rsl import FeedTerms
from tests.declarations.declaration_readers import RslReader, rsl_problems

SITE = Site(url="https://band.example", owner="Tape & Club <Records>", contact="mailto:rights@band.example")
STANCE = replace(load_stance("no-ai"), site=SITE)
OPEN = dict.fromkeys(Usage, Action.ALLOW)
AUDIO = "https://band.example/audio/one.mp3"


def feed(policy: Policy, *urls: str, terms: bool = True) -> bytes:
    feed_terms = FeedTerms(policy)
    items = "".join(
        f'<item><title>{number}</title><guid>{number}</guid><enclosure url="{AUDIO}" length="1" type="audio/mpeg"/>'
        f"{feed_terms.element(url) if terms else ''}</item>"
        for number, url in enumerate(urls)
    )
    namespace = f" {feed_terms.namespace}" if terms else ""
    return f'<rss version="2.0"{namespace}><channel><title>All</title>{items}</channel></rss>'.encode(
        "utf-8", "replace"
    )


def licences(document: bytes) -> Iterator[bytes]:
    """Yield each `rsl:content` of a feed as an RSL document of its own."""
    for content in etree.fromstring(document).iter("{https://rslstandard.org/rsl}content"):
        root = etree.Element("{https://rslstandard.org/rsl}rsl")
        root.append(content)
        yield etree.tostring(root)


def test_an_item_has_the_terms_of_its_recording() -> None:
    (only,) = licences(feed(STANCE, AUDIO))
    assert rsl_problems(only) == []
    reader = RslReader(only)
    assert reader.contents[0].get("url") == AUDIO
    words = {word: reader.licenses(word) for word in ("search", "ai-train", "ai-input", "ai-index")}
    assert words == {"search": True, "ai-train": False, "ai-input": False, "ai-index": False}
    assert b"Tape &amp; Club &lt;Records&gt;" in only
    assert b"mailto:rights@band.example" in only


@pytest.mark.parametrize(
    "url", ["https://band.example/press/a?x=/y#z", "https://band.example//press/../press/b", "/press/c"]
)
def test_the_path_policy_of_the_url_counts(url: str) -> None:
    searchable = PathPolicy("/press/**", {**STANCE.usages, Usage.AI_SEARCH: Action.ALLOW})
    (only,) = licences(feed(replace(STANCE, path_policies=(searchable,)), url))
    assert RslReader(only).licenses("ai-index")
    assert not RslReader(only).licenses("ai-train")


def test_there_is_no_element_if_nothing_is_reserved_or_rsl_is_off() -> None:
    assert (
        FeedTerms(replace(STANCE, path_policies=(PathPolicy("/press/**", OPEN),))).element(
            "https://band.example/press/a"
        )
        == ""
    )
    assert FeedTerms(replace(STANCE, declarations={**STANCE.declarations, "rsl": False})).element(AUDIO) == ""


def test_a_feed_parser_reads_the_same_as_without_it() -> None:
    with_terms, without = (feedparser.parse(feed(STANCE, AUDIO, AUDIO, terms=terms)) for terms in (True, False))
    assert not with_terms.bozo
    assert len(with_terms.entries) == 2
    for one, other in zip(with_terms.entries, without.entries, strict=True):
        assert (one.title, one.id, one.enclosures) == (other.title, other.id, other.enclosures)


texts = st.text(st.characters(exclude_categories=[]))


@settings(deadline=None)
@given(texts, texts, texts, st.one_of(texts, texts.map("https://band.example/{}".format)))
def test_no_text_breaks_the_feed(owner: str, contact: str, page: str, url: str) -> None:
    site = Site(url=SITE.url, owner=owner, contact=contact, policy_page=f"/{page}")
    document = feed(replace(STANCE, site=site), url, AUDIO)
    assert not feedparser.parse(document).bozo
    items = list(etree.fromstring(document).iter("item"))
    assert [item.find("title").text for item in items] == ["0", "1"]
    assert [len(item.findall("{https://rslstandard.org/rsl}content")) for item in items] == [1, 1]
