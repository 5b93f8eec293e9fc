"""What tags say: the policy of the file's path, and the stricter of site and creator."""

import pytest

from noai_guard.config import check_policy_text, load_catalog
from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Usage
from noai_guard.core.wishes import Choice, WorkWishes
from noai_guard.tagging.fields import Fields
from noai_guard.tagging.says import Says, limitations

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


def says(text: str = POLICY, **wishes: dict[Usage, Choice]) -> Says:
    policy, problems = check_policy_text(text.encode())
    assert policy is not None, [str(problem) for problem in problems]
    known = {name: WorkWishes(name, choices) for name, choices in wishes.items()}
    return Says(DecisionTable(policy, load_catalog()), known.get)


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


def test_what_a_creator_disallows_is_reserved_and_what_a_creator_allows_does_not_open_the_site() -> None:
    opened = {Usage.TRAIN_AI: Choice.ALLOW, Usage.AI_INPUT: Choice.ALLOW}
    closed = {Usage.SEARCH: Choice.DISALLOW, Usage.AI_INPUT: Choice.UNSET}
    known = says(opened=opened, closed=closed)
    assert known.fields("/tracks/opened.mp3") == known.fields("/tracks/other.mp3")
    assert known.fields("/tracks/closed.mp3").mining == "DMI-PROHIBITED"
    assert known.fields("/tracks/closed.mp3").usage == "train-ai=n, ai-use=n, search=n"


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
        "Tags: PLUS has no value for what /answers/** reserves; plus:DataMining is left out."
    ]
