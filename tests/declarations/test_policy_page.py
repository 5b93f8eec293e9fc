"""The page for people."""

from dataclasses import replace

import html5lib
import pytest

from noai_guard.catalog import Catalog
from noai_guard.front import Front
from noai_guard.loading import load_stance
from noai_guard.model import Action, Usage
from noai_guard.policy import Section, Site

STANCE = load_stance("no-ai")
SITE = Site("https://band.example", "Band", "The <Ünited> & Artists", "mailto:ask@band.example", "/.well-known/noai",
            "https://band.example/licence")  # fmt: skip


def page(policy):
    body = Front(policy, Catalog(())).documents["/.well-known/noai"].body
    parser = html5lib.HTMLParser(namespaceHTMLElements=False, strict=True)
    return parser.parse(body, transport_encoding="utf-8"), body.decode()


def answers(table):
    return {row.find("th/b").text: row.find("td").text for row in table.iter("tr")}


@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
def test_a_site_that_said_nothing_of_itself_has_a_whole_page(stance):
    tree, text = page(load_stance(stance))
    assert tree.get("lang") == "en"
    assert len(tree.findall(".//h1")) == 1
    assert "People who listen" in text
    assert "Article 4(3) of Directive (EU) 2019/790" in text
    assert not list(tree.iter("script"))
    assert not [element for element in tree.iter() if element.get("src") or element.tag == "link"]
    assert all(row.find("th").get("scope") == "row" for row in tree.iter("tr"))


def test_it_says_who_asks_what_and_whom_to_ask():
    tree, text = page(replace(STANCE, site=SITE))
    assert "The &lt;Ünited&gt; &amp; Artists" in text
    links = {link.get("href"): link for link in tree.iter("a")}
    assert links["mailto:ask@band.example"].text == "ask@band.example"
    assert links["https://band.example/licence"].get("rel") == "license"
    assert {"/robots.txt", "/.well-known/tdmrep.json"} <= set(links)


def test_the_table_says_what_the_policy_says():
    tree, _ = page(STANCE)
    (table,) = tree.iter("table")
    said = answers(table)
    assert said["Training AI"] == said["AI search"] == "No"
    assert said["Search engines"] == said["Players"] == "Welcome"
    assert len(said) == 14


def test_a_section_says_what_is_different_there():
    sections = (
        Section("/press/**", {**STANCE.usages, Usage.TRAIN_AI: Action.LICENSE_REQUIRED, Usage.SEO: Action.THROTTLE}),
        Section("/tracks/<b>", STANCE.usages),
    )
    tree, text = page(replace(STANCE, sections=sections))
    _, press = tree.iter("table")
    assert answers(press) == {"Training AI": "With a licence", "SEO tools": "In moderation"}
    assert "/tracks/&lt;b&gt;" in text
    assert "The same as on the whole site." in text


def test_the_title_claims_no_more_than_the_policy():
    def title(policy):
        return page(policy)[0].find(".//h1").text

    assert title(STANCE) == "People are welcome. AI is not."
    assert title(load_stance("no-training")) == "People are welcome. AI training is not."
    assert title(replace(STANCE, usages=dict.fromkeys(Usage, Action.ALLOW))) == "How this site may be used"


def test_a_page_elsewhere_is_not_published_here():
    policy = replace(STANCE, site=replace(SITE, policy_page="https://band.example/ai"))
    front = Front(policy, Catalog(()))
    assert set(front.documents) == {"/robots.txt", "/license.xml", "/.well-known/tdmrep.json", "/tdm-policy.json"}
    assert b"# In plain words: https://band.example/ai\n" in front.documents["/robots.txt"].body
