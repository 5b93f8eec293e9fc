"""TDMRep, read as the specification says: the first entry that matches counts."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.core.policy import Policy, Site
from noai_guard.core.uses import Notice
from noai_guard.declarations import tdmrep
from tests.declarations.declaration_readers import google_allows, schema, tdmrep_reservation
from tests.declarations.generated_policies import ANY_PATTERNS, PATHS, SUPPORTED_PATTERNS, policies

STANCE = replace(load_stance("no-ai"), site=Site(tdm_policy="https://band.example/tdm.json"))
CLOSED = dict(STANCE.usages)
OPEN = {**CLOSED, Usage.TRAIN_AI: Action.ALLOW}
EMPTY = Catalog(())


def published(policy: Policy) -> Any:
    compiled = CompiledPolicy(policy, EMPTY)
    document = compiled.documents.get(tdmrep.PATH)
    return json.loads(document.body) if document else None


@pytest.mark.parametrize(
    ("rules", "path", "expected"),
    [
        ([{"location": "/", "tdm-reservation": 1}], "/x", (1, None)),
        ([{"location": "/", "tdm-reservation": 1}, {"location": "/free/", "tdm-reservation": 0}], "/free/x", (1, None)),
        ([{"location": "/free/", "tdm-reservation": 0}, {"location": "/", "tdm-reservation": 1}], "/free/x", (0, None)),
        ([{"location": "/i/*.jpg", "tdm-reservation": 0}], "/i/a.jpg", (0, None)),
        ([{"location": "/i/*.jpg$", "tdm-reservation": 0}], "/i/a.jpg?x", (None, None)),
        ([{"location": "/A/", "tdm-reservation": 1}], "/a/", (None, None)),
        ({"location": "/", "tdm-reservation": 1}, "/", (None, None)),
        ([{"location": "/", "tdm-reservation": True}], "/", (None, None)),
        ([{"location": "/", "tdm-reservation": 2}], "/", (None, None)),
        ([{"location": "/", "tdm-reservation": 1, "tdm-policy": "p"}], "/", (1, "p")),
        ([{"location": "/", "tdm-reservation": 0, "tdm-policy": "p"}], "/", (0, None)),
    ],
)
def test_the_reader_behaves_as_the_specification_says(
    rules: object, path: str, expected: tuple[int | None, str | None]
) -> None:
    assert tdmrep_reservation(rules, path) == expected


def test_the_default_stance_reserves_everything() -> None:
    assert published(load_stance("no-ai")) == [{"location": "/", "tdm-reservation": 1}]


def test_a_site_that_reserves_no_mining_publishes_no_file() -> None:
    assert published(replace(STANCE, usages=OPEN)) is None


RESERVED_OR_OPEN: st.SearchStrategy[Mapping[Usage, Action]] = st.sampled_from([CLOSED, OPEN])


def reserved_by(policy: Policy, path: str) -> int:
    table = DecisionTable(policy, EMPTY)
    return int(table.path_class(path).path_policy.reserves(Usage.TRAIN_AI))


@settings(max_examples=300, deadline=None)
@given(policies(STANCE, SUPPORTED_PATTERNS, RESERVED_OR_OPEN), PATHS)
def test_the_first_entry_that_matches_agrees_with_the_policy(policy: Policy, path: str) -> None:
    rules = published(policy)
    if rules is None:
        assert not reserved_by(policy, path)
        return
    reserved, address = tdmrep_reservation(rules, quote(path, safe="/&"))
    assert reserved == reserved_by(policy, path)
    assert address == ("https://band.example/tdm.json" if reserved else None)


@settings(max_examples=300, deadline=None)
@given(policies(STANCE, ANY_PATTERNS, RESERVED_OR_OPEN), PATHS)
def test_the_file_never_opens_a_reserved_path(policy: Policy, path: str) -> None:
    rules = published(policy)
    if reserved_by(policy, path):
        assert tdmrep_reservation(rules, quote(path, safe="/&"))[0] == 1


ADDRESS = "https://band.example/tdm-policy.json"
SITE = Site(url="https://band.example/", owner="Tape Club", contact="mailto:rights@band.example")


def offer(policy: Policy) -> Any:
    document = CompiledPolicy(policy, EMPTY).documents.get(tdmrep.POLICY_PATH)
    return json.loads(document.body) if document else None


def with_site(site: Site, **changes: Any) -> Policy:
    return replace(load_stance("no-ai"), site=site, **changes)


def named_policies(policy: Policy, number: int = 0) -> tuple[list[str], list[str], list[str]]:
    """The tdm-policy of the file (for the whole site), of the header and of the metas of a path policy."""
    declared = CompiledPolicy(policy, EMPTY).declared[policy.all_path_policies[number]]
    page = html5lib.parse(b"<!doctype html><head>" + declared.tags, namespaceHTMLElements=False)
    metas = [meta.get("content", "") for meta in page.iter("meta") if meta.get("name") == "tdm-policy"]
    fields = [value.decode() for name, value in declared.fields if name == b"tdm-policy"]
    entries = [
        rule["tdm-policy"] for rule in published(policy) or () if rule["location"] == "/" and "tdm-policy" in rule
    ]
    return entries, fields, metas


def test_a_site_with_an_address_offers_a_licence_to_those_who_ask() -> None:
    assert offer(with_site(SITE)) == {
        "@context": ["http://www.w3.org/ns/odrl.jsonld", "http://www.w3.org/ns/tdmrep.jsonld"],
        "@type": "Offer",
        "profile": "http://www.w3.org/ns/tdmrep",
        "uid": ADDRESS,
        "assigner": {
            "uid": "https://band.example/",
            "vcard:fn": "Tape Club",
            "vcard:hasEmail": "mailto:rights@band.example",
            "vcard:hasURL": "https://band.example/.well-known/noai",
        },
        "permission": [{"action": "tdm:mine", "duty": [{"action": "obtainConsent"}]}],
    }


def test_file_header_and_meta_have_the_address_of_the_policy() -> None:
    assert named_policies(with_site(SITE)) == ([ADDRESS], [ADDRESS], [ADDRESS])


def test_the_header_says_that_mining_is_reserved() -> None:
    assert dict(CompiledPolicy(STANCE, EMPTY).site_declared.fields)[b"tdm-reservation"] == b"1"


def test_where_nothing_is_reserved_no_policy_is_named() -> None:
    policy = with_site(SITE, path_policies=(PathPolicy("/press/**", {**CLOSED, Usage.TRAIN_AI: Action.ALLOW}),))
    assert named_policies(policy, 1) == ([ADDRESS], [], [])
    assert [rule for rule in published(policy) if rule["tdm-reservation"] == 0 and "tdm-policy" in rule] == []
    assert offer(with_site(SITE, usages=OPEN)) is None


@pytest.mark.parametrize(("site", "named"), [
    (Site(), []),
    (replace(SITE, tdm_policy="https://elsewhere.example/p"), ["https://elsewhere.example/p"]),
    (Site(tdm_policy="https://elsewhere.example/p"), ["https://elsewhere.example/p"]),
])  # fmt: skip
def test_no_offer_without_an_address_or_beside_a_policy_of_the_site(site: Site, named: list[str]) -> None:
    assert offer(with_site(site)) is None
    assert named_policies(with_site(site)) == (named, named, named)


def test_a_licence_that_is_sold_must_be_paid_for() -> None:
    sold = {**CLOSED, Usage.TRAIN_AI: Action.LICENSE_REQUIRED}
    paid = [{"action": "obtainConsent"}, {"action": "compensate"}]
    assert offer(with_site(SITE, usages=sold))["permission"][0]["duty"] == paid
    partly = with_site(SITE, path_policies=(PathPolicy("/stems/**", sold),))
    assert offer(partly)["permission"][0]["duty"] == paid[:1]


def test_check_says_if_nobody_can_be_asked() -> None:
    assert "set site.url" in "".join(tdmrep.STANDARD.limitations(with_site(Site())))
    assert "set site.contact" in "".join(tdmrep.STANDARD.limitations(with_site(Site(url="https://band.example"))))
    for site in (SITE, Site(tdm_policy="https://x.example")):
        assert list(tdmrep.STANDARD.limitations(with_site(site))) == []


def test_check_says_if_only_other_usages_than_training_are_reserved() -> None:
    (limitation,) = tdmrep.STANDARD.limitations(with_site(Site(), usages={**OPEN, Usage.DATA_BROKER: Action.ALLOW}))
    assert "for /** it cannot express that ai-agent, ai-input, ai-search, scraper is reserved" in limitation


def test_a_refused_crawler_may_read_whom_to_ask() -> None:
    compiled = CompiledPolicy(with_site(SITE), load_catalog())
    assert google_allows(compiled.documents["/robots.txt"].body, "GPTBot", tdmrep.POLICY_PATH)


def test_a_notice_stands_in_the_policy_word_for_word() -> None:
    notices = (Notice('All "rights" </script>\n\nare reserved.', "Society & Co", "en"), Notice("Tout."))
    policy = with_site(SITE, notices=notices)
    assert offer(policy)["dc:description"] == [
        {"@value": 'Society & Co: All "rights" </script>\n\nare reserved.', "@language": "en"}, "Tout."]  # fmt: skip
    schema("tdm-policy").validate(offer(policy))


@pytest.mark.parametrize(("site", "usages"), [
    (Site(), CLOSED), (replace(SITE, tdm_policy="https://x.example"), CLOSED), (SITE, OPEN)])  # fmt: skip
def test_check_says_if_notices_stand_in_no_policy(site: Site, usages: dict[Usage, Action]) -> None:
    policy = with_site(site, usages=usages, notices=(Notice("All."),))
    assert "notices are not declared" in "".join(tdmrep.STANDARD.limitations(policy))
    assert "notices" not in "".join(tdmrep.STANDARD.limitations(replace(policy, notices=())))


texts = st.text(st.characters(exclude_categories=[]))
addresses = st.sampled_from(["https://band.example", "http://band.example:8000/a", "https://bänd.example/ä b"])


@settings(deadline=None)
@given(
    policies(STANCE, ANY_PATTERNS, RESERVED_OR_OPEN),
    addresses,
    texts,
    st.one_of(texts.map("mailto:{}@x.example".format), addresses),
    st.lists(st.builds(Notice, texts, texts, texts), max_size=2),
)
def test_both_files_are_valid_against_their_schemas(
    policy: Policy, url: str, owner: str, contact: str, notices: list[Notice]
) -> None:
    policy = replace(policy, site=Site(url=url, owner=owner, contact=contact), notices=tuple(notices))
    if (rules := published(policy)) is not None:
        schema("tdmrep").validate(rules)
        schema("tdm-policy").validate(offer(policy))


@pytest.mark.parametrize("change", [
    {"@type": "Agreement"}, {"@context": "http://www.w3.org/ns/odrl.jsonld"}, {"prohibition": []}, {"permission": []},
    {"assigner": {"uid": "https://band.example/"}}, {"uid": "policy"},
])  # fmt: skip
def test_the_schema_of_the_policy_rejects_mistakes(change: dict[str, Any]) -> None:
    assert not schema("tdm-policy").is_valid({**offer(with_site(SITE)), **change})
