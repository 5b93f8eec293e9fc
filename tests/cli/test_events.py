from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from noai_guard.core.model import Action
from noai_guard.record.event_files import read_events
from noai_guard.record.event_record import encode
from tests.cli.conftest import Run
from tests.record.test_event_record import RECORD

LET_IN = replace(RECORD, claim="CCBot", operator="Common Crawl", action=Action.LOG, status=200, path="/\x1b[31m")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a policy that keeps events for 90 days, and two files of them: of today and of a year ago."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "noai.yaml").write_text("events: {keep: 90 days}\n")
    (tmp_path / "noai-events").mkdir()
    for days in (0, 365):
        day = datetime.now(UTC) - timedelta(days=days)
        name = f"events-{day:%Y%m%d}T000000.000000-00000000.jsonl"
        (tmp_path / "noai-events" / name).write_bytes(b"\n".join((encode(RECORD), encode(LET_IN), b"")))
    return tmp_path


def test_show_prints_the_lines_of_the_files(run: Run, site: Path) -> None:
    shown = run("events", "show")
    assert shown.stdout.encode().splitlines() == [encode(RECORD), encode(LET_IN)] * 2
    assert run("events", "show", "--refused", "noai-events").stdout.encode().splitlines() == [encode(RECORD)] * 2
    assert run("events", "show", "--operator", "common crawl").stdout.encode().splitlines() == [encode(LET_IN)] * 2


def test_show_says_that_there_is_nothing_to_show(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run("events", "show", str(tmp_path / "empty"))
    assert (result.stdout, "empty: no such events" in result.stderr) == ("", True)


def test_show_names_what_cannot_be_read_and_exits_with_1(run: Run, site: Path) -> None:
    (site / "bad.jsonl").write_bytes(b"{}\n" + encode(RECORD))
    shown = run("events", "show", "bad.jsonl", "missing.jsonl", code=1)
    assert shown.stdout.encode().splitlines() == [encode(RECORD)]
    assert "bad.jsonl:1: time is missing" in shown.stderr
    assert "missing.jsonl: cannot be read" in shown.stderr
    assert "1 bad lines, 0 torn files, 1 unreadable files" in shown.stderr


def test_prune_removes_what_is_older_than_the_policy_says(run: Run, site: Path) -> None:
    pruned = run("events", "prune").stdout
    assert pruned.count("removed: ") == 1
    assert pruned.count("compressed: ") == 1
    assert len(list(read_events(["noai-events"]))) == 2
    assert run("events", "prune").stdout == "nothing is old enough\n"


def test_prune_takes_addresses_out_of_what_is_kept_longer(run: Run, site: Path) -> None:
    pruned = run("events", "prune", "--keep", "2 years", "--strip-addresses", "30 days").stdout
    assert pruned.count("without addresses now: ") == 1
    assert [event.record.client for event in read_events(["noai-events"])] == ["", "", RECORD.client, RECORD.client]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("prune", "--keep", "forever"), "write 90 days, 6 weeks, 12 months or 2 years"),
        (
            ("prune", "--policy", "other.yaml"),
            "the policy keeps no event log; write events: {keep: 12 months} into noai.yaml",
        ),
        (("show", "--policy", "other.yaml"), "the policy keeps no event log"),
    ],
)
def test_what_cannot_be_done_says_what_to_type(run: Run, site: Path, arguments: tuple[str, ...], said: str) -> None:
    (site / "other.yaml").write_text("mode: enforce\n")
    assert said in run("events", *arguments, code=2).stderr


def test_a_folder_that_is_not_there_yet_is_named(run: Run, site: Path) -> None:
    (site / "noai.yaml").write_text("events: {folder: missing}\n")
    assert "missing: there is no such folder" in run("events", "prune", code=2).stderr
