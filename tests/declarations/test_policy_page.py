"""Policy page, read by a strict parser of HTML."""

import re
from dataclasses import replace
from importlib.resources import files
from typing import Any

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.agent_outcomes import AgentOutcomes
from noai_guard.core.catalog import Catalog
from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Action, Agent, Mode, OptOut, PathPolicy, Usage
from noai_guard.core.policy import Creators, Policy, Site
from noai_guard.core.uses import KNOWN_USES, Notice, Use
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.wishes import Choice, WorkWishes
from noai_guard.core.works import Works
from noai_guard.declarations import policy_page
from noai_guard.declarations.robots_txt import undated
from noai_guard.resources import texts
from noai_guard.responses.documents import document_headers
from noai_guard.version import __version__

STANCE = load_stance("no-ai")
SITE = Site("https://band.example", "Band", "The <Ünited> & Artists", "mailto:ask@band.example", "/.well-known/noai",
            "https://band.example/licence")  # fmt: skip


def page(policy: Policy) -> tuple[Any, str]:
    body = CompiledPolicy(policy, Catalog(())).documents["/.well-known/noai"].body
    parser = html5lib.HTMLParser(namespaceHTMLElements=False, strict=True)
    return parser.parse(body, transport_encoding="utf-8"), body.decode()


def answers(table: Any) -> dict[str, str]:
    return {row.find("th/b").text: row.find("td").text for row in table.iter("tr")}


@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
def test_a_site_without_facts_has_a_complete_page(stance: str) -> None:
    tree, text = page(load_stance(stance))
    assert tree.get("lang") == "en"
    assert len(tree.findall(".//h1")) == 1
    assert "People who listen" in text
    assert "Article 4(3) of Directive (EU) 2019/790" in text
    assert not list(tree.iter("script"))
    assert not [element for element in tree.iter() if element.get("src") or element.tag == "link"]
    assert all(row.find("th").get("scope") == "row" for row in tree.iter("tr"))


def test_it_names_the_owner_and_links_contact_licence_and_documents() -> None:
    tree, text = page(replace(STANCE, site=SITE))
    assert "The &lt;Ünited&gt; &amp; Artists" in text
    links = {link.get("href"): link for link in tree.iter("a")}
    assert links["mailto:ask@band.example"].text == "ask@band.example"
    assert links["https://band.example/licence"].get("rel") == "license"
    assert {"/robots.txt", "/.well-known/tdmrep.json"} <= set(links)


def test_the_table_has_the_actions_of_the_policy() -> None:
    tree, _ = page(STANCE)
    (table,) = tree.iter("table")
    actions = answers(table)
    assert actions["Training AI"] == actions["AI search"] == "No"
    assert actions["Search engines"] == actions["Players"] == "Welcome"
    assert len(actions) == 14


def test_a_path_policy_lists_its_differences() -> None:
    path_policies = (
        PathPolicy("/press/**", {**STANCE.usages, Usage.TRAIN_AI: Action.LICENSE_REQUIRED, Usage.SEO: Action.THROTTLE}),
        PathPolicy("/tracks/<b>", STANCE.usages),
    )
    tree, text = page(replace(STANCE, path_policies=path_policies))
    _, press = tree.iter("table")
    assert answers(press) == {"Training AI": "With a licence", "SEO tools": "In moderation"}
    assert "/tracks/&lt;b&gt;" in text
    assert "The same as on the whole site." in text


def test_the_title_claims_no_more_than_the_policy() -> None:
    def title(policy: Policy) -> str:
        return str(page(policy)[0].find(".//h1").text)

    assert title(STANCE) == "People are welcome. AI is not."
    assert title(load_stance("no-training")) == "People are welcome. AI training is not."
    assert title(replace(STANCE, usages=dict.fromkeys(Usage, Action.ALLOW))) == "How this site may be used"


def test_a_page_elsewhere_is_not_published_here() -> None:
    policy = replace(STANCE, site=replace(SITE, policy_page="https://band.example/ai"))
    compiled = CompiledPolicy(policy, Catalog(()))
    assert set(compiled.documents) == {"/robots.txt", "/license.xml", "/.well-known/tdmrep.json", "/tdm-policy.json"}
    assert b"# In plain words: https://band.example/ai\n" in compiled.documents["/robots.txt"].body


usages_of_a_part = st.fixed_dictionaries(
    {usage: st.sampled_from([Action.ALLOW, Action.DENY, Action.THROTTLE]) for usage in Usage}
)
switches = st.fixed_dictionaries({key: st.booleans() for key in ("tdmrep", "rsl")} | {
    "robots_txt": st.sampled_from(["merge", "off"])})  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(usages_of_a_part, st.lists(usages_of_a_part, max_size=2), switches)
def test_every_link_leads_to_a_published_document(
    usages: dict[Usage, Action], parts: list[dict[Usage, Action]], declarations: dict[str, Any]
) -> None:
    path_policies = tuple(PathPolicy(f"/{number}/**", part) for number, part in enumerate(parts))
    policy = replace(
        STANCE, usages=usages, path_policies=path_policies, declarations={**STANCE.declarations, **declarations}
    )
    documents = CompiledPolicy(policy, Catalog(())).documents
    tree, _ = page(policy)
    links = {link.get("href") for link in tree.iter("a")}
    assert links <= set(documents)
    assert links == {"/robots.txt", "/.well-known/tdmrep.json", "/license.xml"} & set(documents)


AGENTS = (
    Agent("TrainBot", "Model & Co", (Usage.TRAIN_AI,), ("TrainBot",)),
    Agent("Token-Extended", "Token-Extended", (Usage.TRAIN_AI,), (), "Token-Extended", robots_only=True),
    Agent("Both", "Example", (Usage.SEARCH,), ("Both",), "Both", opt_out=OptOut((Usage.TRAIN_AI,), "noarchive")),
    Agent("Like a browser", "Example", (Usage.AI_AGENT,)),
    Agent("SearchBot", "Example", (Usage.SEARCH,), ("SearchBot",)),
    Agent("SlowBot", "Example", (Usage.SEO,), ("SlowBot",)),
)
SLOW = replace(STANCE, usages={**STANCE.usages, Usage.SEO: Action.THROTTLE})


def of_agents(policy: Policy) -> tuple[list[str], list[str], str]:
    """Return who is listed as refused, who as asked, and all of the page."""
    body = CompiledPolicy(policy, Catalog(AGENTS)).documents["/.well-known/noai"].body
    tree = html5lib.HTMLParser(namespaceHTMLElements=False, strict=True).parse(body, transport_encoding="utf-8")
    refused = ["".join(item.itertext()) for item in tree.findall(".//details/ul/li")]
    asked = ["".join(item.itertext()) for item in tree.findall(".//main/ul/li")]
    return refused, asked, body.decode()


def test_refused_agents_are_listed_by_name_apart_from_those_that_are_only_asked() -> None:
    refused, asked, text = of_agents(SLOW)
    assert refused == ["TrainBot Model & Co"]
    assert "refused by name: 1<" in text
    assert asked == ["Both Example X-Robots-Tag: noarchive", "Token-Extended robots.txt: Token-Extended"]
    assert "Only asked: 2." in text
    assert "This site refuses 1 of the 6 programs that it knows. From 1 more it takes only some requests." in text
    for name in ("Like a browser", "SearchBot", "SlowBot"):
        assert name not in text


def test_what_is_switched_off_asks_nobody() -> None:
    off = {"robots_txt": "off", "x_robots_tag": False, "html_meta": False}
    _, asked, _ = of_agents(replace(STANCE, declarations={**STANCE.declarations, **off}))
    assert asked == ["Both Example (not asked here)", "Token-Extended (not asked here)"]


def test_a_site_that_only_watches_claims_no_refusal() -> None:
    refused, asked, text = of_agents(replace(SLOW, mode=Mode.MONITOR))
    assert (len(refused), len(asked)) == (1, 2)
    assert "It refuses nobody." in text
    assert "would refuse 1 of the 6 programs" in text
    assert "would take only some requests" in text
    assert "would be refused by name: 1<" in text
    assert "This site refuses" not in text
    assert "refuses nobody" not in of_agents(SLOW)[2]


@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
def test_the_search_engines_that_feed_ai_are_named_and_the_numbers_are_those_of_every_summary(stance: str) -> None:
    catalog, policy = load_catalog(), load_stance(stance)
    body = CompiledPolicy(policy, catalog).documents["/.well-known/noai"].body
    tree = html5lib.HTMLParser(namespaceHTMLElements=False, strict=True).parse(body, transport_encoding="utf-8")
    asked = {item.text.strip() for item in tree.findall(".//main/ul/li")}
    assert {"Googlebot", "Google-Extended", "bingbot", "Applebot", "Applebot-Extended"} <= asked
    outcomes = AgentOutcomes.of(DecisionTable(policy, catalog))
    assert asked == {agent.name for agent in (*outcomes.asked, *outcomes.inseparable)}
    assert len(tree.findall(".//details/ul/li")) == len(outcomes.refused)
    assert f"refuses {len(outcomes.refused)} of the {outcomes.known} programs" in body.decode()


def test_it_says_when_and_by_what_it_was_made_and_nothing_else_depends_on_the_day() -> None:
    one, other = (CompiledPolicy(STANCE, Catalog(()), day).documents["/.well-known/noai"] for day in DAYS)
    assert f"As of <time>{DAYS[0]}</time>. Kept by noai-guard {__version__}." in one.body.decode()
    assert one.body != other.body
    assert undated(one.body) == undated(other.body)
    assert dict(document_headers(one))[b"etag"] == dict(document_headers(other))[b"etag"]
    assert f">Kept by noai-guard {__version__}.<" in page(STANCE)[1]


USES = (
    *(Use(use, "The Label", trains_generative_models=False) for use in KNOWN_USES),
    Use("Our <own>", "Vendor & Co", False, 'https://vendor.example/"><script>'),
    Use("matching", "Vendor", trains_generative_models=False, licence="Contract <7>"),
)


def test_uses_inside_the_house_stand_apart_and_are_called_a_declaration() -> None:
    tree, text = page(replace(STANCE, uses=USES))
    programs, own = tree.iter("table")
    rows = [["".join(cell.itertext()) for cell in (row.find("th"), row.find("td"))] for row in own.find("tbody")]
    assert [answer for _, answer in rows] == ["No"] * len(USES)
    assert rows[0][0] == "Recommendationchoosing what a listener may likeDone by: The LabelNo licence is named."
    assert rows[4][0] == 'Our <own>Done by: Vendor & CoLicence: https://vendor.example/"><script>'
    assert rows[5][0] == "matchingDone by: VendorLicence: Contract <7>"
    assert own.find(".//a").get("href") == "https://vendor.example/%22%3E%3Cscript%3E"
    assert [head.get("scope") for head in own.find("thead/tr")] == ["col", "col"]
    assert "They are a declaration of the site; the program that keeps this page cannot check them." in text
    assert answers(programs) == answers(next(page(STANCE)[0].iter("table")))
    assert tree.find(".//h1").text == "People are welcome. AI is not."
    assert "does with the works" not in page(STANCE)[1]


TRAINING = (*USES, Use("voice <models>", "Vendor", trains_generative_models=True))


@pytest.mark.parametrize(("stance", "title"), [
    ("no-ai", "People are welcome. The AI of others is not."),
    ("no-training", "People are welcome. AI training by others is not."),
])  # fmt: skip
def test_a_site_that_trains_does_not_say_that_ai_is_not_welcome(stance: str, title: str) -> None:
    tree, _ = page(replace(load_stance(stance), uses=TRAINING))
    assert tree.find(".//h1").text == title
    assert title.rstrip(".") in tree.find("head/title").text
    _, first = tree.findall(".//p[@class='lead']")
    assert first.text.endswith("trained on its works, by itself or for it: voice <models>.")
    *_, last = tree.iter("tr")
    assert (last.find("td").text, last.find("td").get("class")) == ("Yes", "no")


def test_where_training_is_welcome_the_title_stays_and_the_use_is_named() -> None:
    tree, text = page(replace(STANCE, usages=dict.fromkeys(Usage, Action.ALLOW), uses=TRAINING))
    assert tree.find(".//h1").text == "How this site may be used"
    assert "by itself or for it: voice &lt;models&gt;." in text


def test_uses_are_in_no_other_document_and_in_no_header() -> None:
    plain, declaring = (
        CompiledPolicy(replace(STANCE, site=SITE, uses=uses), Catalog(AGENTS)) for uses in ((), TRAINING)
    )
    assert plain.site_declared.fields == declaring.site_declared.fields
    assert plain.site_declared.tags == declaring.site_declared.tags
    page_path = "/.well-known/noai"
    assert {path: document for path, document in plain.documents.items() if path != page_path} == {
        path: document for path, document in declaring.documents.items() if path != page_path}  # fmt: skip


def test_notices_stand_word_for_word_in_their_language() -> None:
    notices = (Notice("All <b>rights</b>\nreserved.\n\n & more", "Society <i>", "en"), Notice("ب", lang='a"b'))
    tree, _ = page(replace(STANCE, notices=notices))
    assert tree.find(".//h2[@id='notices']").text == "Notices"
    first, second = tree.iter("blockquote")
    assert ["".join(p.itertext()) for p in first] == ["All <b>rights</b>\nreserved.", " & more", "Society <i>"]
    assert (first.get("lang"), first.get("dir")) == ("en", "auto")
    assert (second.get("lang"), [p.text for p in second]) == ('a"b', ["ب"])
    assert 'id="notices"' not in page(STANCE)[1]
    robots = CompiledPolicy(replace(STANCE, notices=notices), Catalog(())).documents["/robots.txt"].body
    assert robots == CompiledPolicy(STANCE, Catalog(())).documents["/robots.txt"].body


DAYS = ("2026-11-23", "2026-11-24")
GERMAN = {
    "lang": "de", "heading_no_ai": "Menschen sind willkommen. KI nicht.", "train-ai": "KI & Training <b>",
    "refused_names": "Abgewiesen werden: {refused}", "lead": "{owner} sagt {hier}, was Programme dürfen.",
}  # fmt: skip


def test_where_creators_decide_the_page_says_so_and_for_how_many_works_and_whom_to_ask() -> None:
    works = replace(STANCE, site=SITE, works=Works(["/audio/{work}.mp3"]))
    said = "Creators decide, work by work"
    assert said not in page(works)[1]
    assert said not in page(replace(STANCE, site=SITE, creators=Creators(asked=True)))[1]
    for creators in (Creators(asked=True), Creators(index=WishIndex(known=False))):
        text = page(replace(works, creators=creators))[1]
        assert said in text
        assert "has a wish:" not in text
    no = {Usage.TRAIN_AI: Choice.DISALLOW}
    index = WishIndex([WorkWishes("tide", no), WorkWishes("foam", no), WorkWishes("ebb", {})])
    tree, text = page(replace(works, creators=Creators(index=index)))
    assert "has a wish: 2." in text
    assert "the stricter of both counts" in text
    assert [link.text for link in tree.iter("a") if link.get("href") == SITE.contact] == ["ask@band.example"] * 2
    decided = page(replace(works, creators=Creators(index=index, decide=True)))[1]
    assert "whatever this page says" in decided
    assert "the stricter of both counts" not in decided
    nobody = page(replace(works, site=replace(SITE, contact=""), creators=Creators(index=index)))[1]
    assert "ask for your own page" not in nobody


def test_another_language_replaces_each_text_and_what_is_missing_is_marked_as_english() -> None:
    policy = replace(SLOW, site=SITE, page_texts=GERMAN)
    tree, _ = page(policy)
    assert (tree.get("lang"), tree.get("dir")) == ("de", "ltr")
    assert tree.find(".//h1").text == "Menschen sind willkommen. KI nicht."
    assert tree.find("head/title").text == "Menschen sind willkommen. KI nicht · The <Ünited> & Artists"
    assert tree.find(".//tr/th/b").text == "KI & Training <b>"
    assert tree.find(".//p[@class='lead']").text == "The <Ünited> & Artists sagt {hier}, was Programme dürfen."
    what = tree.find(".//tr/th/span/span")
    assert (what.get("lang"), what.text) == ("en", "collecting works to train generative models")
    assert "Abgewiesen werden: 1<" in of_agents(replace(SLOW, page_texts=GERMAN))[2]
    (limitation,) = policy_page.STANDARD.limitations(policy)
    assert "stay English: heading_no_training" in limitation
    assert '<span lang="en"' not in page(SLOW)[1]


def test_a_complete_translation_has_no_english_left() -> None:
    english = texts(policy_page.TEXTS)
    own = {key: f"[{' '.join(f'{{{word}}}' for word in policy_page.PLACEHOLDER.findall(said))}]"
           for key, said in english.items()} | {"lang": "ar", "direction": "rtl"}  # fmt: skip
    parts = (PathPolicy("/press/**", {**STANCE.usages, Usage.SEO: Action.LICENSE_REQUIRED}),
             PathPolicy("/a*", STANCE.usages))  # fmt: skip
    for mode in Mode:
        policy = replace(SLOW, site=SITE, page_texts=own, path_policies=parts, mode=mode, uses=TRAINING)
        tree, text = page(policy)
        assert (tree.get("lang"), tree.get("dir")) == ("ar", "rtl")
        assert 'lang="en"' not in text
        assert not [said for said in english.values() if len(said) > 10 and said in text]
        assert not list(policy_page.STANDARD.limitations(policy))


def test_every_text_has_its_place_on_some_page() -> None:
    source = (files("noai_guard") / "declarations/policy_page.py").read_text()
    computed = (
        {usage.value for usage in Usage}
        | {*KNOWN_USES, "heading_others_no_ai", "heading_others_no_training"}
        | {f"answer_{action}" for action in Action}
    )
    for key in texts(policy_page.TEXTS):
        base = key.removesuffix("_what").removesuffix("_monitor")
        assert base in computed or f'"{base}"' in source or f"'{base}'" in source or f"{base}{{" in source, key


@pytest.mark.parametrize(("pattern", "heading"), [
    ("/press/**", "Under <code>/press</code>"), ("/**/*.flac", "For <code>/**/*.flac</code>"), ("/a", "For <code>/a</code>"),
    ("/a*/**", "For <code>/a*/**</code>"),
])  # fmt: skip
def test_a_path_policy_has_a_heading_in_plain_words(pattern: str, heading: str) -> None:
    _, text = page(replace(STANCE, path_policies=(PathPolicy(pattern, STANCE.usages),)))
    assert f"<h2>{heading}</h2>" in text


@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
def test_it_is_accessible(stance: str) -> None:
    policy = replace(load_stance(stance), site=SITE, path_policies=(PathPolicy("/press/**", STANCE.usages),))
    tree, text = page(replace(policy, uses=TRAINING, notices=(Notice("All.", "Society"),)))
    assert tree.find("head/meta[@name='viewport']").get("content") == "width=device-width, initial-scale=1"
    assert [element.tag for element in tree.find("body")] == ["main"]
    levels = [int(element.tag[1]) for element in tree.iter() if element.tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}
    assert all(table.find("caption").text for table in tree.iter("table"))
    assert all("".join(link.itertext()).strip() for link in tree.iter("a"))
    assert "prefers-color-scheme:dark" in text
    for theme in re.findall(r":root\{[^}]*\}", text):
        colours = dict(re.findall(r"--(\w+):(#[0-9a-f]{3,6})", theme))
        for ground in ("paper", "card"):
            for ink in ("ink", "soft", "no", "some", "yes"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2.2 defines it; 4.5 is enough for text."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
