"""/license.xml, read by a parser of XML and evaluated as RSL 1.0 says."""

from dataclasses import replace
from urllib.parse import quote

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.audit.readers.rsl import RslFile
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.core.policy import Policy, Site
from noai_guard.core.uses import Notice
from noai_guard.declarations import rsl
from tests.declarations.declaration_readers import RslReader, child, google_allows, rsl_problems
from tests.declarations.generated_policies import ANY_PATTERNS, PATHS, SUPPORTED_PATTERNS, policies

SITE = Site(url="https://band.example", owner="Tape & Club <Records>", contact="mailto:rights@band.example")
STANCE = replace(load_stance("no-ai"), site=SITE)
OPEN = dict.fromkeys(Usage, Action.ALLOW)
EMPTY = Catalog(())
LINK = '<https://band.example/license.xml>; rel="license"; type="application/rsl+xml"'
NAMESPACE = "{https://rslstandard.org/rsl}"


def read(policy: Policy) -> RslReader:
    return RslReader(CompiledPolicy(policy, EMPTY).documents["/license.xml"].body)


def links(policy: Policy) -> list[str]:
    return [value.decode() for name, value in CompiledPolicy(policy, EMPTY).site_declared.fields if name == b"link"]


def document(content: str) -> bytes:
    return f'<rsl xmlns="https://rslstandard.org/rsl">{content}</rsl>'.encode()


def content(url: str, terms: str) -> str:
    return f'<content url="{url}"><license>{terms}</license></content>'


def permits(words: str) -> str:
    return f'<permits type="usage">{words}</permits>'


def prohibits(words: str) -> str:
    return f'<prohibits type="usage">{words}</prohibits>'


@pytest.mark.parametrize(
    ("contents", "path", "usage", "expected"),
    [
        (content("/", permits("search") + prohibits("ai-all")), "/t/a.mp3", "search", True),
        (content("/", permits("search") + prohibits("ai-all")), "/t/a.mp3", "ai-index", False),
        (content("/", permits("search")), "/x", "ai-input", False),
        (content("/", permits("ai-train") + prohibits("ai-all")), "/x", "ai-train", False),
        (content("/", permits("all")) + content("/a/", prohibits("ai-train")), "/a/x", "ai-train", False),
        (content("/", permits("all")) + content("/a/", prohibits("ai-train")), "/a/x", "ai-input", True),
        (content("/", permits("all")) + content("/a/", prohibits("ai-train")), "/b", "ai-train", True),
        (content("/a/", permits("all")), "/b", "search", None),
    ],
)
def test_the_reader_evaluates_as_the_standard_says(contents: str, path: str, usage: str, expected: bool | None) -> None:
    assert RslReader(document(contents)).allows(path, usage) is expected


@pytest.mark.parametrize("wrong", [
    document("<content url='/'><license><permit type='usage'>search</permit></license></content>"),
    document(content("/", "")).replace(b"https://", b"http://"),
    document("<content url='/'/>"),
])  # fmt: skip
def test_the_reader_rejects_documents_that_do_not_conform(wrong: bytes) -> None:
    with pytest.raises(ValueError, match=r"RSL|license"):
        RslReader(wrong)


@pytest.mark.parametrize("terms", [
    "<permit type='usage'>search</permit>", permits("search, ai-index"), permits("ai"), permits("all") + permits("search"),
    "<permits>all</permits>", "<payment type='cash'/>", "<legal type='attestation'>True</legal>",
])  # fmt: skip
def test_the_schema_rejects_terms_that_do_not_conform(terms: str) -> None:
    assert rsl_problems(document(content("/", terms)))
    assert rsl_problems(document(content("/", permits("search ai-index") + prohibits("ai-train")))) == []


@pytest.mark.parametrize(
    ("stance", "permitted", "prohibited"),
    [
        ("no-ai", "search", "ai-all"),
        ("search-only", "search", "ai-all"),
        ("no-training", "search ai-input ai-index", "ai-train"),
    ],
)
def test_a_stance_is_one_licence_for_the_whole_site(stance: str, permitted: str, prohibited: str) -> None:
    (only,) = read(replace(load_stance(stance), site=SITE)).contents
    terms = {element.tag.removeprefix(NAMESPACE): element.text for element in only[0]}
    assert terms == {"permits": permitted, "prohibits": prohibited, "legal": "mailto:rights@band.example"}
    assert only.get("url") == "/"
    assert only.get("server") is None


def test_it_names_the_holder_of_the_rights_and_links_to_the_policy_page() -> None:
    (only,) = read(STANCE).contents
    holder = child(only, f"{NAMESPACE}copyright")
    assert holder.text == "Tape & Club <Records>"
    assert dict(holder.attrib) == {"contactEmail": "rights@band.example"}
    assert child(only, f"{NAMESPACE}terms").text == "https://band.example/.well-known/noai"


def test_a_contact_on_the_web_is_an_address_and_a_page_that_is_off_is_not_named() -> None:
    policy = replace(STANCE, site=replace(SITE, contact="https://band.example/ask?a=1&b=2"),
                     declarations={**STANCE.declarations, "policy_page": False})  # fmt: skip
    (only,) = read(policy).contents
    assert child(only, f"{NAMESPACE}copyright").get("contactUrl") == "https://band.example/ask?a=1&b=2"
    assert only.find(f"{NAMESPACE}terms") is None


NOTICES = (Notice('All "rights" ]]> </rsl>\n\nare reserved.', "Society & Co", "en"), Notice("Tout."))
RIGHTS = "{http://purl.org/dc/elements/1.1/}rights"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


def test_notices_stand_once_word_for_word_and_the_terms_lead_to_them_on_the_page() -> None:
    policy = replace(STANCE, notices=NOTICES, path_policies=(PathPolicy("/press/**", OPEN),))
    document = read(policy)
    assert [(notice.text, notice.get(LANGUAGE)) for notice in document.root.iter(RIGHTS)] == [
        ('Society & Co: All "rights" ]]> </rsl>\n\nare reserved.', "en"), ("Tout.", None)]  # fmt: skip
    assert {child(content, f"{NAMESPACE}terms").text for content in document.contents} == {
        "https://band.example/.well-known/noai#notices"}  # fmt: skip
    assert rsl_problems(CompiledPolicy(policy, EMPTY).documents["/license.xml"].body) == []
    parsed = RslFile(CompiledPolicy(policy, EMPTY).documents["/license.xml"].body)
    assert parsed.preferences("https://band.example/a") == {"train-ai": False, "ai-use": False, "search": True}


def test_a_page_elsewhere_or_switched_off_is_not_said_to_have_the_notices() -> None:
    elsewhere = replace(STANCE, notices=NOTICES, site=replace(SITE, policy_page="https://band.example/ai"))
    assert child(read(elsewhere).contents[0], f"{NAMESPACE}terms").text == "https://band.example/ai"
    off = replace(STANCE, notices=NOTICES, declarations={**STANCE.declarations, "policy_page": False})
    assert read(off).contents[0].find(f"{NAMESPACE}terms") is None
    assert len([*read(off).root.iter(RIGHTS)]) == 2


def test_check_says_that_notices_are_not_declared_where_nothing_is_reserved() -> None:
    policy = replace(STANCE, notices=NOTICES, usages=OPEN)
    assert "notices are not declared" in "".join(rsl.STANDARD.limitations(policy))
    assert not list(rsl.STANDARD.limitations(replace(STANCE, notices=NOTICES)))


def test_a_site_without_facts_has_terms_only() -> None:
    (only,) = read(load_stance("no-ai")).contents
    assert [element.tag.removeprefix(NAMESPACE) for element in only.iter()] == [
        "content", "license", "permits", "prohibits", "terms"]  # fmt: skip


def test_where_everything_is_reserved_everything_is_prohibited() -> None:
    policy = replace(STANCE, usages=dict.fromkeys(Usage, Action.LICENSE_REQUIRED))
    assert read(policy).contents[0][0][0].text == "all"


SHOP = replace(SITE, licence="https://band.example/licence?a=1&b=2")
SOLD = Action.LICENSE_REQUIRED


def licences(policy: Policy, number: int = 0) -> list[list[tuple[str, str | None, str]]]:
    """Return (name, type, text) of all elements of each licence."""
    return [
        [(element.tag.removeprefix(NAMESPACE), element.get("type"), (element.text or "").strip())
         for element in licence.iter() if element is not licence]
        for licence in read(policy).contents[number].iter(f"{NAMESPACE}license")
    ]  # fmt: skip


def test_what_is_sold_is_offered_with_where_to_buy_it() -> None:
    policy = replace(STANCE, site=SHOP, usages={**STANCE.usages, Usage.TRAIN_AI: SOLD})
    assert licences(policy) == [
        [("permits", "usage", "search"), ("prohibits", "usage", "ai-input ai-index"),
         ("legal", "contact", "mailto:rights@band.example")],
        [("permits", "usage", "ai-train"), ("payment", "training", ""), ("custom", None, SHOP.licence)],
    ]  # fmt: skip
    assert rsl_problems(CompiledPolicy(policy, EMPTY).documents["/license.xml"].body) == []


def test_each_kind_of_use_is_offered_for_a_payment_of_its_kind() -> None:
    everything = replace(STANCE, site=SHOP, usages=dict.fromkeys(Usage, SOLD))
    assert licences(everything) == [
        [("permits", "usage", words), ("payment", payment, ""), ("custom", None, SHOP.licence)]
        for payment, words in (("training", "ai-train"), ("use", "ai-input ai-index"), ("crawl", "search"))
    ]
    assert rsl_problems(CompiledPolicy(everything, EMPTY).documents["/license.xml"].body) == []


@pytest.mark.parametrize(
    ("usages", "offered"),
    [
        ({Usage.AI_INPUT: SOLD, Usage.AI_AGENT: Action.ALLOW}, True),
        ({Usage.AI_INPUT: SOLD, Usage.AI_AGENT: Action.LOG}, True),
        ({Usage.AI_INPUT: SOLD, Usage.AI_AGENT: Action.DENY}, False),
        ({Usage.AI_INPUT: SOLD, Usage.AI_AGENT: Action.THROTTLE}, False),
        ({Usage.AI_INPUT: Action.DENY, Usage.AI_AGENT: Action.DENY}, False),
    ],
)
def test_a_word_is_offered_if_all_that_it_stands_for_is(usages: dict[Usage, Action], offered: bool) -> None:
    document = read(replace(STANCE, site=SHOP, usages={**STANCE.usages, **usages}))
    assert document.offers("/a", "ai-input") is offered
    assert document.allows("/a", "ai-input") is False


def test_without_a_licence_nothing_is_offered_and_check_says_so() -> None:
    policy = replace(STANCE, usages={**STANCE.usages, Usage.TRAIN_AI: SOLD})
    assert licences(policy) == [
        [("permits", "usage", "search"), ("prohibits", "usage", "ai-all"),
         ("legal", "contact", "mailto:rights@band.example")]]  # fmt: skip
    (limitation,) = [said for said in rsl.STANDARD.limitations(policy) if "site.licence" in said]
    assert "license_required" in limitation
    assert not list(rsl.STANDARD.limitations(replace(policy, site=SHOP)))


def test_a_part_of_the_site_may_sell_what_another_refuses() -> None:
    parts = (PathPolicy("/press/**", {**STANCE.usages, Usage.TRAIN_AI: SOLD}), PathPolicy("/a-?", STANCE.usages))
    document = read(replace(STANCE, site=SHOP, path_policies=parts))
    assert document.offers("/press/x", "ai-train")
    assert not document.offers("/tracks/x", "ai-train")
    selling = replace(STANCE, site=SHOP, usages={**STANCE.usages, Usage.TRAIN_AI: SOLD}, path_policies=parts[1:])
    assert read(selling).offers("/tracks/x", "ai-train")
    assert not read(selling).offers("/a-x", "ai-train")


def test_it_is_served_as_rsl_and_linked_in_every_form() -> None:
    compiled = CompiledPolicy(STANCE, EMPTY)
    assert compiled.documents["/license.xml"].media_type == "application/rsl+xml"
    assert links(STANCE) == [LINK]
    assert b"\nLicense: https://band.example/license.xml\n" in compiled.documents["/robots.txt"].body
    page = html5lib.parse(b"<!doctype html><head>" + compiled.site_declared.tags, namespaceHTMLElements=False)
    (link,) = child(page, "head").findall("link")
    assert link.attrib == {
        "rel": "license", "type": "application/rsl+xml", "href": "https://band.example/license.xml"}  # fmt: skip


def test_a_licence_of_the_sites_own_stands_beside_it() -> None:
    own = replace(STANCE, site=replace(SITE, licence="https://band.example/licence"))
    assert links(own) == ['<https://band.example/licence>; rel="license"', LINK]


@pytest.mark.parametrize("url", ["", "http://band.example"])
def test_without_an_https_address_nothing_leads_to_it(url: str) -> None:
    policy = replace(STANCE, site=replace(SITE, url=url))
    compiled = CompiledPolicy(policy, EMPTY)
    assert links(policy) == []
    assert b"license.xml" not in compiled.site_declared.tags
    assert b"License:" not in compiled.documents["/robots.txt"].body
    assert "/license.xml" in compiled.documents
    (limitation,) = rsl.STANDARD.limitations(policy)
    assert "site.url" in limitation
    assert list(rsl.STANDARD.limitations(STANCE)) == []


def test_a_site_that_reserves_nothing_gives_no_licence() -> None:
    compiled = CompiledPolicy(replace(STANCE, usages=OPEN), EMPTY)
    assert "/license.xml" not in compiled.documents
    assert b"License:" not in compiled.documents["/robots.txt"].body
    assert compiled.site_declared.fields == ()


def test_the_licence_line_joins_no_groups_and_the_refused_may_read_the_licence() -> None:
    compiled = CompiledPolicy(STANCE, load_catalog())
    merged = compiled.merged_robots[b"User-agent: Bingbot\nCrawl-delay: 3\n\nUser-agent: GPTBot\nDisallow: /\n"].body
    for robots in (compiled.documents["/robots.txt"].body, merged):
        assert google_allows(robots, "Googlebot", "/")
        assert not google_allows(robots, "GPTBot", "/")
        assert google_allows(robots, "GPTBot", "/license.xml")


texts = st.text(st.characters(exclude_categories=[]))


@settings(deadline=None)
@given(texts, texts, st.text(st.characters(exclude_categories=["Cs"])), st.builds(Notice, texts, texts, texts))
def test_no_fact_of_a_site_breaks_the_document(owner: str, contact: str, url: str, notice: Notice) -> None:
    site = Site(url=f"https://band.example/{url}", owner=owner, name=owner, contact=contact, policy_page=f"/{url}")
    compiled = CompiledPolicy(replace(STANCE, site=site, notices=(notice,)), EMPTY)
    assert rsl_problems(compiled.documents["/license.xml"].body) == []
    (only,) = RslReader(compiled.documents["/license.xml"].body).contents
    assert {element.tag for element in only.iter()} <= {
        f"{NAMESPACE}{name}" for name in ("content", "license", "permits", "prohibits", "legal", "copyright", "terms")}  # fmt: skip
    assert compiled.site_declared.tags.isascii()
    for value in links(compiled.policy):
        assert (value.count("<"), value.count(">"), "\n" in value) == (1, 1, False)


USAGES = {
    "search": [Usage.SEARCH], "ai-train": [Usage.TRAIN_AI], "ai-index": [Usage.AI_SEARCH],
    "ai-input": [Usage.AI_INPUT, Usage.AI_AGENT],
}  # fmt: skip


def reserved(policy: Policy, path: str, word: str) -> bool:
    table = DecisionTable(policy, EMPTY)
    return any(map(table.path_class(path).path_policy.reserves, USAGES[word]))


@settings(max_examples=150, deadline=None)
@given(policies(STANCE, SUPPORTED_PATTERNS), PATHS)
def test_a_reader_finds_for_every_path_what_the_policy_says(policy: Policy, path: str) -> None:
    if any(path_policy.reserves_anything for path_policy in policy.all_path_policies):
        document = read(policy)
        for word in USAGES:
            assert document.allows(quote(path, safe="/&"), word) is not reserved(policy, path, word)


@settings(max_examples=300, deadline=None)
@given(policies(STANCE, ANY_PATTERNS), PATHS)
def test_a_reserved_usage_is_never_licensed(policy: Policy, path: str) -> None:
    if any(path_policy.reserves_anything for path_policy in policy.all_path_policies):
        document = read(policy)
        assert rsl_problems(CompiledPolicy(policy, EMPTY).documents["/license.xml"].body) == []
        for word in USAGES:
            assert not (reserved(policy, path, word) and document.allows(quote(path, safe="/&"), word))
