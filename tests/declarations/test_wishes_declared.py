"""What creators wish is declared in every form, and no form grants what a creator refuses."""

import json
from dataclasses import replace
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard import compiled as compiled_module
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog
from noai_guard.core import wish_index
from noai_guard.core.model import Usage
from noai_guard.core.policy import Creators, Policy
from noai_guard.core.promised import Promised
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.wishes import WISHED_USAGES, Choice, WorkWishes
from noai_guard.declarations import json_ld
from noai_guard.declarations.rsl import FeedTerms
from tests.declarations.declaration_readers import google_allows, rsl_problems, tdmrep_reservation

CATALOG = load_catalog()
TRAIN, SEARCH = Usage.TRAIN_AI, Usage.AI_SEARCH
NO, YES = Choice.DISALLOW, Choice.ALLOW
SITE = "site: {url: 'https://band.example', owner: Ines, licence: 'https://band.example/licence'}\n"
OPEN = f"extends: no-training\nusages: {{train-ai: yes, data-broker: yes, scraper: yes}}\n{SITE}"
CLOSED = f"extends: no-ai\n{SITE}"
WORKS = "works: ['/audio/{work}.mp3', '/hls/{work}/**']\n"
RSL = "{https://rslstandard.org/rsl}"


def policy(text: str, wishes: dict[str, dict[Usage, Choice]] | None, *, decide: bool = False) -> Policy:
    parsed, problems = check_policy_text(text.encode())
    assert parsed is not None, problems
    if wishes is None:
        return replace(parsed, creators=Creators(decide=decide, asked=True))
    index = WishIndex(WorkWishes(work, choices) for work, choices in wishes.items())
    return replace(parsed, creators=Creators(decide=decide, index=index))


def compiled(text: str, wishes: dict[str, dict[Usage, Choice]] | None, *, decide: bool = False) -> CompiledPolicy:
    return CompiledPolicy(policy(text, wishes, decide=decide), CATALOG)


def fields_on(of: CompiledPolicy, path: str) -> dict[str, str]:
    declared = of.declared_on(of.guard.judged(path, b"Mozilla/5.0 (X11)").path_policy)
    return {name.decode(): value.decode() for name, value in declared.fields}


def tdmrep(of: CompiledPolicy) -> object:
    return json.loads(of.documents["/.well-known/tdmrep.json"].body)


def test_header_fields_and_metas_follow_the_work() -> None:
    made = compiled(OPEN + WORKS, {"tide": {TRAIN: NO}})
    fields = fields_on(made, "/audio/tide.mp3")
    assert fields["tdm-reservation"] == "1"
    assert fields["content-usage"] == "train-ai=n, ai-use=y, search=y"
    assert fields["x-robots-tag"].startswith("noai")
    assert "ai-train=no" in fields["content-signal"]
    assert b"noai" in made.declared_on(made.guard.judged("/audio/tide.mp3", b"x y").path_policy).tags
    assert "tdm-reservation" not in fields_on(made, "/audio/other.mp3")


def test_documents_name_the_works() -> None:
    made = compiled(OPEN + WORKS, {"tide": {TRAIN: NO}, "foam": {SEARCH: NO}, "ebb": {}})
    robots = made.documents["/robots.txt"].body
    for path, agent, allowed in (
        ("/audio/tide.mp3", "GPTBot", False), ("/hls/tide/1.ts", "GPTBot", False), ("/audio/other.mp3", "GPTBot", True),
        ("/audio/foam.mp3", "OAI-SearchBot", False), ("/audio/tide.mp3", "OAI-SearchBot", True),
    ):  # fmt: skip
        assert google_allows(robots, agent, path) is allowed
    assert tdmrep_reservation(tdmrep(made), "/audio/tide.mp3")[0] == 1
    assert tdmrep_reservation(tdmrep(made), "/audio/foam.mp3")[0] == 0
    licence = made.documents["/license.xml"].body
    assert rsl_problems(licence) == []
    urls = [content.get("url") for content in ElementTree.fromstring(licence).iter(f"{RSL}content")]
    assert {"/audio/tide.mp3$", "/hls/tide/"} <= set(urls)
    assert made.declared_works.named == 2
    assert made.declared_works.all_named
    assert not [note for note in made.limitations if "creators" in note]


def test_a_rule_that_lets_an_agent_in_ends_at_the_works_that_are_closed_to_it() -> None:
    rule = "rules: [{agents: [GPTBot], action: allow}]\n"
    made = compiled(CLOSED + WORKS + rule, {"tide": {TRAIN: NO}, "foam": {SEARCH: NO}})
    robots = made.documents["/robots.txt"].body
    for path, allowed in (
        ("/audio/tide.mp3", False),
        ("/hls/tide/1.ts", False),
        ("/audio/foam.mp3", True),
        ("/", True),
    ):
        assert google_allows(robots, "GPTBot", path) is allowed
        assert made.guard.judged(path, b"GPTBot/1.2").action.refuses is not allowed
    unnecessary = compiled(CLOSED + WORKS, {"tide": {TRAIN: NO}})
    assert b"tide" not in unnecessary.documents["/robots.txt"].body


@pytest.mark.parametrize("name", ["caf\u00e9", "cafe\u0301"])
def test_a_work_is_named_in_both_forms_of_its_accents(name: str) -> None:
    robots = compiled(OPEN + WORKS, {name: {TRAIN: NO}}).documents["/robots.txt"].body.decode()
    assert "Disallow: /audio/caf%C3%A9.mp3$" in robots
    assert "Disallow: /audio/cafe%CC%81.mp3$" in robots


@pytest.mark.parametrize("name", ["Rock & Roll", "Don't (live)", "a+b, c=d!", "é & è"])
@pytest.mark.parametrize("safe", ["/!&'()*+,-.:;=@_~", "/!'()*", "/"])  # a browser, encodeURIComponent, rawurlencode
def test_a_work_is_named_as_links_encode_it(name: str, safe: str) -> None:
    made = compiled(OPEN + WORKS, {name: {TRAIN: NO}})
    path = quote(f"/audio/{name}.mp3", safe=safe)
    assert not google_allows(made.documents["/robots.txt"].body, "GPTBot", path)
    assert not google_allows(made.documents["/robots.txt"].body, "GPTBot", f"{path}?download=1")
    assert tdmrep_reservation(tdmrep(made), path)[0] == 1
    assert google_allows(made.documents["/robots.txt"].body, "GPTBot", "/audio/Rock")


def test_a_work_is_named_where_folder_and_file_spell_accents_differently() -> None:
    made = compiled(OPEN + "works: ['/m\u00fcsik/{work}.mp3']\n", {"caf\u00e9": {TRAIN: NO}})
    for name in ("caf\u00e9", "cafe\u0301"):
        path = quote(f"/m\u00fcsik/{name}.mp3")
        assert not google_allows(made.documents["/robots.txt"].body, "GPTBot", path)
        assert tdmrep_reservation(tdmrep(made), path)[0] == 1


@pytest.mark.parametrize(
    "own",
    [
        "paths: {/audio/**: {usages: {train-ai: no}}}\n",
        "rules: [{agents: [GPTBot], paths: [/audio/**], action: deny}]\n",
    ],
)
@pytest.mark.parametrize(
    "pattern", ["/a/**/{work}.ogg", "/**/{work}.flac", "/artists/*/{work}", "/audio/{work}/*/x.mp3"]
)
def test_works_that_no_document_can_name_take_nothing_from_what_the_site_declares(own: str, pattern: str) -> None:
    made = compiled(OPEN + own + f"works: ['{pattern}']\n", {"tide": {SEARCH: NO}})
    assert made.guard.judged("/audio/other.mp3", b"GPTBot/1.0").refuses
    assert not google_allows(made.documents["/robots.txt"].body, "GPTBot", "/audio/other.mp3")


def test_what_a_creator_allows_is_declared_where_creators_decide() -> None:
    made = compiled(CLOSED + WORKS, {"tide": {TRAIN: YES}}, decide=True)
    assert google_allows(made.documents["/robots.txt"].body, "GPTBot", "/audio/tide.mp3")
    assert not google_allows(made.documents["/robots.txt"].body, "GPTBot", "/audio/other.mp3")
    assert tdmrep_reservation(tdmrep(made), "/audio/tide.mp3")[0] == 0
    assert "train-ai=y" in fields_on(made, "/audio/tide.mp3")["content-usage"]
    assert compiled(CLOSED + WORKS, {"tide": {TRAIN: YES}}).declared_works.named == 0


def test_a_section_inside_a_work_keeps_the_wish_of_the_work() -> None:
    text = f"{OPEN}paths: {{/hls/tide/preview/**: {{usages: {{search: no}}}}, /audio/**: {{usages: {{seo: no}}}}}}\n{WORKS}"
    made = compiled(text, {"tide": {TRAIN: NO}})
    assert made.guard.judged("/hls/tide/preview/1.ts", b"GPTBot/1.0").rule == "wish"
    assert not google_allows(made.documents["/robots.txt"].body, "GPTBot", "/hls/tide/preview/1.ts")
    assert tdmrep_reservation(tdmrep(made), "/hls/tide/preview/1.ts")[0] == 1


@pytest.mark.parametrize("works", ["works: ['/artists/*/{work}.mp3']\n", WORKS])
def test_works_that_no_document_can_name_are_reserved_as_strictly_as_any(
    works: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes = {"tide": {TRAIN: NO}, "a*b": {SEARCH: NO}} if works is WORKS else {"tide": {TRAIN: NO}}
    made = compiled(OPEN + works, wishes)
    path = "/audio/a*b.mp3" if works is WORKS else "/artists/ines/tide.mp3"
    assert tdmrep_reservation(tdmrep(made), path)[0] == 1
    assert not made.declared_works.all_named
    assert [note for note in made.limitations if "the documents name" in note]
    # The header field of the response says what holds, also where nothing is reserved.
    other = "/audio/other.mp3" if works is WORKS else "/artists/ines/other.mp3"
    assert fields_on(made, other)["tdm-reservation"] == "0"


def test_a_function_that_is_asked_leaves_documents_with_all_that_may_be_reserved() -> None:
    made = compiled(OPEN + WORKS, None)
    assert tdmrep_reservation(tdmrep(made), "/audio/tide.mp3")[0] == 1
    assert tdmrep_reservation(tdmrep(made), "/press")[0] == 0
    assert [note for note in made.limitations if "no document names single works" in note]
    assert fields_on(made, "/audio/tide.mp3")["tdm-reservation"] == "0"


def test_robots_txt_names_works_as_far_as_it_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_module, "_MAX_ROBOTS_OF_WORKS", 60_000)
    made = compiled(OPEN + WORKS, {f"song-{number:04}": {TRAIN: NO} for number in range(1_000)})
    works = made.declared_works
    assert works.differing == 1_000
    assert 200 < works.named < 1_000
    assert 40_000 < len(made.documents["/robots.txt"].body) <= 60_000
    note = next(note for note in made.limitations if "the documents name" in note)
    assert f"{works.named:,} of the 1,000 works" in note
    assert tdmrep_reservation(tdmrep(made), "/audio/song-0999.mp3")[0] == 1
    assert made.guard.judged("/audio/song-0999.mp3", b"GPTBot/1.0").rule == "wish"


@pytest.mark.parametrize("limit", [1_000, 9_000])
def test_a_site_whose_own_part_is_long_names_fewer_works_or_none(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_module, "_MAX_ROBOTS_OF_WORKS", limit)
    monkeypatch.setattr(wish_index, "MAX_LISTED", 10_000)
    made = compiled(OPEN + WORKS, {f"song-{number:04}": {TRAIN: NO} for number in range(50)})
    assert (made.declared_works.named == 0) is (limit == 1_000)
    assert tdmrep_reservation(tdmrep(made), "/audio/song-0049.mp3")[0] == 1


def test_so_many_works_that_no_robots_txt_holds_them_are_fewer_then() -> None:
    made = compiled(OPEN + WORKS, {f"{'song' * 40}-{number:05}": {TRAIN: NO} for number in range(8_000)})
    assert 0 < made.declared_works.named < 8_000
    assert len(made.documents["/robots.txt"].body) <= 300 * 1024


def test_without_robots_txt_all_works_are_named() -> None:
    text = f"{OPEN}{WORKS}declarations: {{robots_txt: no}}\n"
    made = compiled(text, {f"song-{number:04}": {TRAIN: NO} for number in range(500)})
    assert made.declared_works.named == 500


def test_a_recording_in_json_ld_has_the_wish_of_its_creator() -> None:
    of = policy(CLOSED + WORKS, {"tide": {TRAIN: YES}}, decide=True)
    made = CompiledPolicy(of, CATALOG)
    tide = made.guard.judged("/audio/tide.mp3", b"x y").path_policy
    other = made.guard.judged("/audio/other.mp3", b"x y").path_policy
    recording = json_ld.recording(of, other, name="Other", isrc="de-a12-26-00001")
    assert recording["@type"] == "MusicRecording"
    assert recording["isrcCode"] == "DEA122600001"
    assert recording["usageInfo"] == "https://band.example/.well-known/noai"
    assert recording["license"] == "https://band.example/licence"
    assert "copyrightNotice" in recording
    assert "copyrightNotice" not in json_ld.recording(of, tide, name="Tide")
    assert "isrcCode" not in json_ld.recording(of, tide)
    with pytest.raises(ValueError, match="no ISRC"):
        json_ld.recording(of, tide, isrc="12")


def test_an_item_of_a_feed_has_the_wish_of_its_creator() -> None:
    terms = FeedTerms(policy(OPEN + WORKS, {"tide": {TRAIN: NO}}))
    assert "ai-train</rsl:prohibits>" in terms.element("https://band.example/audio/tide.mp3")
    assert terms.element("https://band.example/audio/other.mp3") == ""
    assert terms.element("https://band.example/press") == ""


def test_while_a_looser_promise_waits_documents_name_works_as_strictly_as_both_policies() -> None:
    wishes = {"tide": {TRAIN: NO}, "ebb": {TRAIN: YES}}
    looser, promised = policy(OPEN + WORKS, wishes), policy(CLOSED + WORKS, wishes)
    made = CompiledPolicy(looser, CATALOG, promised=Promised(policies=(promised,)))
    for path in ("/audio/tide.mp3", "/audio/ebb.mp3", "/audio/other.mp3"):
        assert not google_allows(made.documents["/robots.txt"].body, "GPTBot", path)
        assert tdmrep_reservation(tdmrep(made), path)[0] == 1
    opened = CompiledPolicy(looser, CATALOG, promised=Promised(policies=(looser,)))
    assert not google_allows(opened.documents["/robots.txt"].body, "GPTBot", "/audio/tide.mp3")
    assert google_allows(opened.documents["/robots.txt"].body, "GPTBot", "/audio/ebb.mp3")
    sections = opened.with_sections(10)
    assert sections.guard.judged("/audio/tide.mp3", b"GPTBot/1.0").refuses
    assert not sections.guard.judged("/audio/ebb.mp3", b"GPTBot/1.0").refuses
    assert made.with_sections(10).guard.judged("/audio/other.mp3", b"GPTBot/1.0").refuses


_NAMES = st.sampled_from(["tide", "foam", "a b", "café", "x&y", "$1", "a*", "%41", "Lied"])
_WISHES = st.dictionaries(_NAMES, st.dictionaries(st.sampled_from(WISHED_USAGES), st.sampled_from(Choice)), max_size=5)


@given(_WISHES, st.sampled_from([OPEN, CLOSED]), st.booleans(), _NAMES)
def test_no_document_grants_training_that_is_refused(
    wishes: dict[str, dict[Usage, Choice]], text: str, decide: bool, name: str
) -> None:
    made = compiled(text + WORKS, wishes, decide=decide)
    for path in (f"/audio/{name}.mp3", f"/hls/{name}/1.ts"):
        path_policy = made.guard.judged(path, b"x y").path_policy
        if path_policy.reserves(TRAIN):
            assert tdmrep_reservation(tdmrep(made), quote(path, safe="/!&'()*+,-.:;=@_~$"))[0] == 1
            assert "train-ai=n" in fields_on(made, path)["content-usage"]
