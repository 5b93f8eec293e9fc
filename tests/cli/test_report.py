"""noai-guard report."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Write
from tests.record.events_kit import event, write_events

SITE = "extends: no-ai\nsite: {name: Night Ferry}\n"
OCTOBER = ("--since", "2026-10", "--until", "2026-10")


@pytest.fixture
def events(tmp_path: Path) -> str:
    write_events(tmp_path / "events", [event(), event(operator="Meta"), event(path="/artists/ines/1")])
    return str(tmp_path / "events")


def test_a_report_is_html_by_default(run: Run, write: Write, events: str) -> None:
    output = run("report", *OCTOBER, "--events", events, "--policy", write(SITE)).stdout
    assert output.startswith("<!doctype html>")
    assert "Night Ferry" in output
    assert "3 requests noted" in output


@pytest.mark.parametrize(
    ("name", "begin"), [("r.csv", "month,operator"), ("r.JSON", "{"), ("r.html", "<!doc"), ("r", "<!doc")]
)
def test_the_name_of_the_file_says_the_format(
    name: str, begin: str, run: Run, write: Write, events: str, tmp_path: Path
) -> None:
    result = run("report", *OCTOBER, "--events", events, "--policy", write(SITE), "--out", str(tmp_path / name))
    assert result.stdout == ""
    assert f"wrote {tmp_path / name}" in result.stderr
    assert (tmp_path / name).read_text().startswith(begin)


def test_path_and_operator_select(run: Run, events: str) -> None:
    def count(*arguments: str) -> int:
        output = run("report", *OCTOBER, "--events", events, "--format", "json", *arguments).stdout
        return int(json.loads(output)["totals"]["events"])

    assert count() == 3
    assert count("--operator", "meta") == 1
    assert count("--path", "/artists/ines/**") == 1
    assert count("--path", "/artists/ines/**", "--operator", "Meta") == 0


def test_what_cannot_be_read_is_a_note(run: Run, write: Write, events: str) -> None:
    with (Path(events) / "events-2026-10.jsonl").open("ab") as file:
        file.write(b"noise\n")
    output = run("report", *OCTOBER, "--events", events, "--format", "csv").stderr
    assert "note: Lines that are no events, and are not counted: 1" in output


def test_show_prints_the_events_behind_a_figure(run: Run, events: str) -> None:
    result = run("report", *OCTOBER, "--events", events, "--show", "operator=OpenAI, outcome=refused")
    lines = result.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["events-2026-10.jsonl:1", "events-2026-10.jsonl:3"]
    assert "2 events: 2 refused, 0 got content (0 bytes); 1 works asked for, 0 got; SHA-256" in result.stderr


def test_an_operator_of_whom_there_is_nothing_is_questioned(run: Run, events: str) -> None:
    result = run("report", *OCTOBER, "--events", events, "--operator", "Opn AI", "--format", "csv")
    assert "no event is of 'Opn AI'; did you mean 'OpenAI'?" in result.stderr
    result = run("report", *OCTOBER, "--events", events, "--operator", "bytedance", "--format", "csv")
    assert "no event is of 'bytedance'; the operator is known, and nothing of it was noted" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--since", "yesterday"), "is no month, day or moment; write 2026-10"),
        (("--since", "2026-10", "--show", "x"), "names no events; write fact=value"),
        (("--since", "2026-10", "--path", "/["), "`[` has no meaning"),
        (("--since", "2026-10", "--public", "--format", "csv"), "write --format html or json"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], problem: str, run: Run, events: str) -> None:
    output = run("report", *arguments, "--events", events, code=2).output
    assert problem in output
    assert output.count("\n") == 1


def test_the_events_are_where_the_policy_says_unless_told_otherwise(
    run: Run, write: Write, events: str, tmp_path: Path
) -> None:
    policy = write(f"{SITE}events: {{folder: events}}\n")
    assert "2026-10,OpenAI" in run("report", *OCTOBER, "--policy", policy, "--format", "csv").stdout
    write_events(tmp_path / "elsewhere", [event(operator="Meta")])
    elsewhere = ("--events", str(tmp_path / "elsewhere"))
    assert "OpenAI" not in run("report", *OCTOBER, "--policy", policy, "--format", "csv", *elsewhere).stdout
    output = run("report", "--since", "2026-10", "--policy", write(SITE), code=2).output
    assert "the policy keeps no event log; name the folder of one by --events, or write events: {}" in output


def test_a_folder_without_events_and_a_place_that_cannot_be_written(run: Run, events: str, tmp_path: Path) -> None:
    assert "holds no events" in run("report", *OCTOBER, "--events", str(tmp_path), code=2).output
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "file" / "report.html")
    assert "cannot be written" in run("report", *OCTOBER, "--events", events, "--out", out, code=2).output


def test_a_condition_that_no_event_meets_is_questioned(run: Run, events: str) -> None:
    shown = run("report", *OCTOBER, "--events", events, "--show", "operator=OpenAl, outcome=refused")
    assert shown.stdout == ""
    assert "0 events" in shown.stderr
    assert "note: no event has operator='OpenAl'; did you mean 'OpenAI'?" in shown.stderr
    output = run("report", *OCTOBER, "--events", events, "--show", "operatr=OpenAI, outcome=refusd", code=2).output
    assert output.splitlines() == [
        "E003 --show: events have no 'operatr'; did you mean 'operator'?",
        "E004 --show: no event has outcome='refusd'; did you mean 'refused'?",
    ]


def test_the_public_page_names_no_client(run: Run, write: Write, events: str) -> None:
    policy = write(SITE)
    page = run("report", *OCTOBER, "--events", events, "--policy", policy, "--public").stdout
    assert "AI at Night Ferry" in page
    assert "/audio/salt.mp3" not in page
    assert "~00ff" not in page
    output = run("report", *OCTOBER, "--events", events, "--policy", policy, "--public", "--format", "json").stdout
    assert {"month": "2026-10", "operator": "Meta", "outcome": "refused", "requests": 1} in json.loads(output)[
        "requests"
    ]
