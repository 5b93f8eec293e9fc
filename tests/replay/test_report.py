"""Reports say the same in every form, and what clients sent stays text."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import html5lib
import pytest

from noai_guard.replay.report import FORMS
from noai_guard.replay.report.steps import steps
from noai_guard.replay.report.words import basis, heading
from noai_guard.replay.run import Replay
from noai_guard.replay.sources import Source
from noai_guard.replay.summary import Client, Group, LogFacts, Summary
from tests.replay.lines import log
from tests.replay.requests import OTHER_POLICY, REQUESTS, compiled

NOW = 1_795_000_000.0
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e=cmd|' /C calc'!A0"


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    file = tmp_path_factory.mktemp("replay") / "access.log"
    file.write_bytes(log("combined", REQUESTS) + b"nonsense <b>\n")
    replay = Replay([compiled(), compiled(OTHER_POLICY)], ["noai.yaml", "old.yaml"], NOW)
    replay.read(Source(str(file)))
    return replay.summary()


@pytest.fixture
def hostile(summary: Summary) -> Summary:
    client = Client(HOSTILE, HOSTILE, "GPTBot", "train-ai", "train-ai", 1, 2, 3, ("a",))
    formula = Group("=1+1", "@SUM(A1)", "-usage", "deny", 1, 2, 3, "allow")
    logs = (LogFacts(HOSTILE, "combined", 1, 1, 0, [HOSTILE], "", "", 0.0, 1.0),)
    return replace(summary, wronged=(client,), unclaimed=(client,), refused=(formula,), logs=logs)


def test_the_text_says_who_would_be_refused_with_requests_works_and_bytes(summary: Summary) -> None:
    text = FORMS["text"](summary)
    assert f"{summary.refused_requests} of {summary.requests} requests would be refused" in text
    assert "OpenAI" in text
    assert "1 could not be read" in text
    assert "nonsense <b>" in text
    assert "compared with old.yaml" in text


def test_json_holds_everything(summary: Summary) -> None:
    facts = json.loads(FORMS["json"](summary))
    assert facts["refused_requests"] == sum(group["requests"] for group in facts["refused"]) == summary.refused_requests
    assert facts["differences"]
    assert facts["period"] == ["2026-10-10", "2026-10-10"]
    assert facts["logs"][0]["samples"] == ["nonsense <b>"]


def test_csv_has_a_row_for_each_group(summary: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(FORMS["csv"](summary))))
    assert sum(int(row["requests"]) for row in rows if row["part"] == "refused") == summary.refused_requests
    assert {row["part"] for row in rows} >= {"refused", "differences"}


def test_no_cell_of_the_csv_is_computed(hostile: Summary) -> None:
    cells = [cell for row in csv.reader(io.StringIO(FORMS["csv"](hostile))) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert "'=1+1" in cells
    assert not [cell for cell in cells if "\x1b" in cell]


def test_a_terminal_is_told_nothing(hostile: Summary) -> None:
    text = FORMS["text"](hostile)
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_page_is_valid_has_no_script_and_escapes_what_clients_sent(hostile: Summary) -> None:
    page = FORMS["html"](hostile)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    html5lib.HTMLParser(strict=True).parse(page)


def test_works_are_not_given_where_the_policy_names_none(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    file.write_bytes(log("combined", REQUESTS))
    replay = Replay([compiled(OTHER_POLICY)], ["noai.yaml"], NOW)
    replay.read(Source(str(file)))
    summary = replay.summary()
    assert not summary.works_known
    assert any("no works:" in note for note in summary.notes)
    for form in FORMS.values():
        assert form(summary)


def test_lower_bounds_are_marked(summary: Summary) -> None:
    assert "≥ " in FORMS["text"](replace(summary, at_least=True))


def test_long_lists_say_how_much_is_left_out(summary: Summary) -> None:
    many = replace(summary, refused=summary.refused * 300)
    assert "more: --format json has them" in FORMS["text"](many)
    assert "more in the JSON" in FORMS["html"](many)


def test_what_could_not_be_judged_is_no_part_of_the_share(summary: Summary) -> None:
    group = replace(summary.refused[0], requests=25)
    some = replace(summary, refused=(group,), requests=150, unjudged=100)
    assert heading(some) == (
        "25 of 50 requests would be refused (50 %); 100 requests could not be judged, because the log holds no user agents"
    )
    assert heading(replace(some, requests=100)).startswith("100 requests could not be judged")
    assert heading(replace(some, requests=0, unjudged=0)) == "No request could be read"
    assert "1 further request might be refused by header fields" in basis(replace(summary, undecided=1))


def test_the_report_ends_with_what_to_type_next(summary: Summary) -> None:
    client = Client("it's $(rm -rf ~)\x1b[31m", "203.0.113.7", "", "", "", 90, 90, 3)
    refused = replace(client, agent="GPTBot", rule="train-ai")
    let_in = replace(summary.refused[0], action="allow")
    said = list(
        steps(
            replace(
                summary,
                unjudged=1,
                unchecked=1,
                wronged=(refused,),
                unclaimed=(client,),
                spoofed=(let_in,),
                monitors=True,
            )
        )
    )
    for text in (
        "noai-guard refresh",
        "agents: [GPTBot], action: allow",
        "spoofed: deny",
        "mode: enforce",
        "user agents",
    ):
        assert any(text in step for step in said), text
    quoted = "'it'\"'\"'s $(rm -rf ~)\\x1b[31m'"
    assert any(f"noai-guard agents add {quoted} --name SilentScraper --network 203.0.113.7" in step for step in said)
    assert list(steps(replace(summary, refused=(), wronged=(), logs=()))) == []
    for form in ("text", "html", "json"):
        assert "put the policy in force" in FORMS[form](summary)


def test_many_lines_that_could_not_be_read_are_the_first_thing_to_look_at(summary: Summary) -> None:
    [log] = summary.logs
    said = next(steps(replace(summary, logs=(replace(log, lines=10, bad=6),))))
    assert said.startswith("6 lines of 10 lines could not be read: look at those that")
