from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import zstandard

from noai_guard.record.event_files import read_events
from noai_guard.record.event_record import encode
from noai_guard.record.file_output import FilesOutput, day_of
from noai_guard.record.retention import prune
from tests.record.test_event_record import RECORD

TODAY = date(2026, 11, 29)


def log(folder: Path, day: str, ending: str = ".jsonl.zst", *more: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"events-{day}T101112.131415-0a1b2c3d{ending}"
    content = b"\n".join((encode(replace(RECORD, client="203.0.113.7")), *more, b""))
    file.write_bytes(zstandard.compress(content) if ending.endswith(".zst") else content)
    return file


def test_files_of_days_before_the_last_ones_are_removed_and_no_others(tmp_path: Path) -> None:
    old, kept = log(tmp_path, "20261030"), log(tmp_path, "20261031")
    other = tmp_path / "events-of-last-year.jsonl"
    other.write_text("mine")
    done = prune(tmp_path, 30, today=TODAY)
    assert done.removed == [old]
    assert kept.exists()
    assert other.read_text() == "mine"


def test_what_a_dead_process_left_is_compressed_or_removed(tmp_path: Path) -> None:
    old, left = log(tmp_path, "20250101", ".jsonl"), log(tmp_path, "20261128", ".jsonl")
    done = prune(tmp_path, 30, today=TODAY)
    assert done.removed == [old]
    assert done.sealed == [left.with_name(f"{left.name}.zst")]
    assert not left.exists()
    assert len(list(read_events(done.sealed))) == 1


def test_a_file_that_is_written_to_is_left_alone(tmp_path: Path) -> None:
    output = FilesOutput(tmp_path, 10_000)
    output.write([encode(RECORD)])
    done = prune(tmp_path, 1, today=date(2090, 1, 1))
    assert len(done.in_use) == 1
    assert (done.removed, done.sealed) == ([], [])
    output.close()
    assert len(prune(tmp_path, 1, today=date(2090, 1, 1)).removed) == 1


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.zst"])
def test_addresses_are_taken_out_of_older_events(tmp_path: Path, ending: str) -> None:
    log(tmp_path, "20261020", ending, b"no event")
    log(tmp_path, "20261128")
    done = prune(tmp_path, 300, today=TODAY, strip=30)
    assert len(done.stripped) == 1
    assert (done.problems.bad_lines, done.problems.named) == (
        1,
        [f"{tmp_path}/events-20261020T101112.131415-0a1b2c3d{ending}:2: the line is not JSON"],
    )
    assert [event.record.client for event in read_events([tmp_path])] == ["", "203.0.113.7"]
    assert all(replace(event.record, client=RECORD.client) == RECORD for event in read_events([tmp_path]))
    assert prune(tmp_path, 300, today=TODAY, strip=30).stripped == []


@pytest.mark.parametrize(
    ("keep_keys", "left"), [(False, ["2026-11-29.key"]), (True, ["2026-10-31.key", "2026-11-28.key", "2026-11-29.key"])]
)
def test_keys_go_with_their_day_or_with_their_events(tmp_path: Path, keep_keys: bool, left: list[str]) -> None:
    (tmp_path / "keys").mkdir()
    for day in ("2026-10-30", "2026-10-31", "2026-11-28", "2026-11-29"):
        (tmp_path / "keys" / f"{day}.key").write_text("00" * 32)
    prune(tmp_path, 30, today=TODAY, keep_keys=keep_keys)
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == left


@pytest.mark.parametrize(
    "name", ["events-20261399T101112.131415-0a1b2c3d.jsonl", "events.jsonl", "events-2026.jsonl.zst"]
)
def test_a_name_that_is_not_ours_has_no_day(name: str) -> None:
    assert day_of(Path(name)) is None
