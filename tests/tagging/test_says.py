"""What tags say: the policy of the file's path, and what the creator of the work wishes, as the guard goes by it."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from noai_guard import NoAIMiddleware
from noai_guard.asgi_types import Receive, Scope, Send
from noai_guard.config import check_policy_text, load_catalog
from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Usage
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.wishes import WISHED_USAGES, Choice, WorkWishes
from noai_guard.errors import Unanswered
from noai_guard.tagging.fields import Fields
from noai_guard.tagging.says import Says, WishOf, fields_of, limitations

POLICY = """
extends: no-ai
site: {url: "https://music.example", owner: "Example Music", contact: "rights@music.example"}
works: ["/tracks/{work}.mp3"]
paths:
  /open/**:
    usages: {train-ai: yes, ai-input: yes, ai-search: yes, ai-agent: yes, scraper: yes, data-broker: yes}
  /train/**:
    usages: {ai-input: yes, ai-search: yes, ai-agent: yes}
  /closed/**:
    usages: {search: no}
  /answers/**:
    usages: {train-ai: yes}
"""


def table(text: str = POLICY) -> DecisionTable:
    policy, problems = check_policy_text(text.encode())
    assert policy is not None, [str(problem) for problem in problems]
    return DecisionTable(policy, load_catalog())


def says(text: str = POLICY, wish_of: WishOf | None = None) -> Says:
    return Says(table(text), wish_of)


@pytest.mark.parametrize(
    ("path", "reservation", "usage", "mining"),
    [
        ("/a.mp3", "1", "train-ai=n, ai-use=n, search=y", "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING"),
        ("/open/a.mp3", "0", "train-ai=y, ai-use=y, search=y", "DMI-ALLOWED"),
        ("/train/a.mp3", "1", "train-ai=n, ai-use=y, search=y", "DMI-PROHIBITED-GENAIMLTRAINING"),
        ("/closed/a.mp3", "1", "train-ai=n, ai-use=n, search=n", "DMI-PROHIBITED"),
        ("/answers/a.mp3", "0", "train-ai=y, ai-use=n, search=y", ""),
    ],
)
def test_a_file_says_what_the_policy_says_of_its_path(path: str, reservation: str, usage: str, mining: str) -> None:
    fields = says().fields(path)
    assert (fields.reservation, fields.usage, fields.mining) == (reservation, usage, mining)
    assert (fields.owner, fields.page) == ("Example Music", "https://music.example/.well-known/noai")
    assert fields.policy == ("https://music.example/tdm-policy.json" if reservation == "1" else "")


@pytest.mark.parametrize("decide", [False, True])
@pytest.mark.parametrize("path", ["/tracks/tide.mp3", "/open/tide.mp3", "/train/tide.mp3", "/closed/tide.mp3"])
@given(choices=st.fixed_dictionaries({}, optional=dict.fromkeys(WISHED_USAGES, st.sampled_from(Choice))))
def test_a_wish_means_in_tags_what_it_means_to_the_guard(path: str, decide: bool, choices: dict[Usage, Choice]) -> None:
    works = POLICY.replace("works: [", 'works: ["/open/{work}.mp3", "/train/{work}.mp3", "/closed/{work}.mp3", ')
    text = works + ("creators: decide\n" if decide else "")
    catalogued = table(text).changed(
        lambda policy: replace(
            policy, creators=replace(policy.creators, index=WishIndex([WorkWishes("tide", choices)]))
        )
    )
    fields = says(text, {"tide": choices}.get).fields(path)
    assert fields == Says(catalogued).fields(path)
    (verdict,) = {catalogued.verdict(None, catalogued.path_classes[path])}
    assert fields == fields_of(catalogued.policy, verdict.path_policy)


def test_what_a_creator_disallows_is_reserved_and_what_one_allows_opens_the_site_only_if_creators_decide() -> None:
    wishes = {"opened": dict.fromkeys(WISHED_USAGES, Choice.ALLOW), "closed": {Usage.AI_INPUT: Choice.DISALLOW}}
    known = says(wish_of=wishes.get)
    assert known.fields("/tracks/opened.mp3") == known.fields("/tracks/other.mp3")
    decided = says(f"{POLICY}creators: decide\n", wishes.get)
    assert decided.fields("/tracks/opened.mp3").mining == "DMI-ALLOWED"
    assert decided.fields("/tracks/opened.mp3").usage == "train-ai=y, ai-use=y, search=y"
    half_open = says(POLICY.replace('"/tracks/', '"/train/'), wishes.get)
    assert half_open.fields("/train/other.mp3").usage == "train-ai=n, ai-use=y, search=y"
    assert half_open.fields("/train/closed.mp3").usage == "train-ai=n, ai-use=n, search=y"


def test_nobody_loses_the_listing_in_search_engines_by_a_wish() -> None:
    refused = dict.fromkeys(WISHED_USAGES, Choice.DISALLOW)
    assert says(wish_of=lambda work: refused).fields("/tracks/closed.mp3").mining == (
        "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING"
    )
    with pytest.raises(Unanswered, match="creators have no say in search"):
        says(wish_of=lambda work: {Usage.SEARCH: Choice.DISALLOW}).fields("/tracks/closed.mp3")


def test_a_function_answers_as_one_for_the_middleware_does() -> None:
    everybody = says(
        f"{POLICY}creators: decide\n", lambda work: {"train-ai": True, "ai-input": "allow", "scraper": None}
    )
    assert everybody.fields("/tracks/tide.mp3").usage == "train-ai=y, ai-use=n, search=y"
    with pytest.raises(Unanswered, match="wishes= has to return"):
        says(wish_of=lambda work: {"train-ai": "perhaps"}).fields("/tracks/tide.mp3")
    asked: list[str] = []
    says(wish_of=lambda work: asked.append(work)).fields("/elsewhere.mp3")
    assert not asked


def test_a_function_is_asked_about_every_work_that_servers_may_read_in_a_path() -> None:
    wishes = {"tide": {Usage.AI_SEARCH: Choice.ALLOW}, "foam": {Usage.TRAIN_AI: Choice.DISALLOW}}
    opened = POLICY.replace("extends: no-ai", "extends: no-ai\nusages: {train-ai: yes}")
    assert says(opened, wishes.get).fields("/tracks/x/../foam.mp3").reservation == "1"
    assert says(opened, wishes.get).fields("/TRACKS/foam.mp3").reservation == "1"
    assert says(opened, wishes.get).fields("/tracks/tide.mp3").reservation == "0"


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing: no request is sent."""


def test_an_upload_is_tagged_by_what_the_guard_goes_by(tmp_path: Path) -> None:
    (tmp_path / "noai.yaml").write_text(f"{POLICY}wishes: catalogue.csv\ncreators: decide\n")
    (tmp_path / "catalogue.csv").write_text("work,train-ai\ntide,allow\n")
    guard = NoAIMiddleware(nothing, tmp_path / "noai.yaml", registry=CollectorRegistry())
    assert Says(guard.runtime.compiled.guard.table).fields("/tracks/tide.mp3").reservation == "0"
    asking = NoAIMiddleware(nothing, tmp_path / "noai.yaml", registry=CollectorRegistry(), wishes=lambda work: None)
    table = asking.runtime.compiled.guard.table
    with pytest.raises(ValueError, match="give it to Says as wish_of"):
        Says(table)
    assert Says(table, lambda work: {"train-ai": "allow"}).fields("/tracks/tide.mp3").reservation == "0"


def test_of_a_path_that_servers_read_in_two_ways_the_stricter_counts() -> None:
    assert says().fields("/open/../a.mp3").reservation == "1"
    assert says().fields("/open/%2e%2e/a.mp3").reservation == "1"
    assert says().fields("/OPEN/a.mp3").reservation == "1"


def test_a_policy_that_says_the_same_everywhere_needs_no_paths() -> None:
    assert says().depends_on_path
    assert not says("extends: no-ai\n").depends_on_path


def test_what_tags_cannot_say_is_listed() -> None:
    nameless = says("extends: no-ai\n")
    assert nameless.fields("/").texts == Fields("1", "train-ai=n, ai-use=n, search=y").texts
    assert [sentence.partition(":")[0] for sentence in limitations(nameless.policy)] == ["Tags", "Tags"]
    assert list(limitations(says().policy)) == [
        "Tags: the policy names works and no wishes; if your app asks a function, tag with noai_guard.tagging, "
        "whose Says asks it too.",
        "Tags: PLUS has no value for what /answers/** reserves; plus:DataMining is left out.",
    ]
