import os
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.record.event_files import ReadProblems, _lines, event_files, read_events
from noai_guard.record.event_record import MAX_LINE_BYTES, EventRecord, encode
from noai_guard.record.file_output import seal

RECORD = EventRecord(time=datetime(2026, 11, 29, tzinfo=UTC), claim="GPTBot", path="/audio/a.mp3")


def log_of(numbers: range) -> bytes:
    """Return an event log whose events have these numbers as their bytes."""
    return b"".join(encode(replace(RECORD, bytes=number)) + b"\n" for number in numbers)


def numbers_in(*paths: Path, problems: ReadProblems | None = None) -> list[int | None]:
    return [event.record.bytes for event in read_events(paths, problems)]


def test_what_is_no_file_in_a_folder_of_events_is_neither_read_nor_waited_for(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "events", tmp_path / "secret"
    folder.mkdir()
    elsewhere.write_bytes(b"secret")
    os.mkfifo(folder / "events-20261128T000000.000000-0a1b2c3d.jsonl")
    (folder / "events-20261128T000000.000000-0a1b2c3e.jsonl").mkdir()
    (folder / "events-20261128T000000.000000-0a1b2c3f.jsonl").symlink_to(elsewhere)
    (folder / "events-gone.jsonl").symlink_to(tmp_path / "nowhere")
    assert [file.name for file in event_files([folder])] == ["events-20261128T000000.000000-0a1b2c3f.jsonl"]
    assert seal(folder) == []
    assert elsewhere.exists()


@pytest.fixture(params=[".jsonl", ".jsonl.zst"])
def written(request: pytest.FixtureRequest, tmp_path: Path):
    """Return a function that writes bytes as a plain or a compressed log."""

    def write(content: bytes) -> Path:
        file = tmp_path / f"events{request.param}"
        file.write_bytes(zstandard.compress(content) if request.param.endswith(".zst") else content)
        return file

    return write


def test_every_event_is_read_with_the_place_where_it_stands(written) -> None:
    file, problems = written(log_of(range(3))), ReadProblems()
    events = list(read_events([file], problems))
    assert [(event.file, event.number, event.record.bytes) for event in events] == [
        (str(file), n + 1, n) for n in range(3)
    ]
    assert [event.line for event in events] == log_of(range(3)).splitlines()
    assert not problems


def test_bad_lines_are_counted_and_named_and_the_others_are_read(written) -> None:
    long = b'{"time":"' + b"x" * 3 * MAX_LINE_BYTES + b'"}\n'
    file, problems = (
        written(log_of(range(1)) + b"{}\n" + log_of(range(1, 2)) + long + b"\n\xff\n" + log_of(range(2, 3))),
        ReadProblems(),
    )
    assert numbers_in(file, problems=problems) == [0, 1, 2]
    assert problems.bad_lines == 4
    assert problems.named == [
        f"{file}:2: time is missing",
        f"{file}:4: the line is longer than 131,072 bytes",
        f"{file}:5: the line is not JSON",
        f"{file}:6: the line is not JSON",
    ]


def test_a_line_that_was_being_written_is_not_a_bad_one(written) -> None:
    file, problems = written(log_of(range(2))[:-20]), ReadProblems()
    assert numbers_in(file, problems=problems) == [0]
    assert (problems.bad_lines, problems.torn_files) == (0, 1)
    assert problems.named == [f"{file}:2: the file ends within this line"]


def test_a_last_line_without_its_end_is_read_if_it_is_whole(written) -> None:
    assert numbers_in(written(log_of(range(2))[:-1])) == [0, 1]


def test_of_a_torn_frame_all_that_was_flushed_is_read(tmp_path: Path) -> None:
    writer = zstandard.ZstdCompressor().compressobj()
    flushed = writer.compress(log_of(range(1000))) + writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    file, problems = tmp_path / "events.jsonl.zst", ReadProblems()
    file.write_bytes(flushed + (writer.compress(log_of(range(1000, 2000))) + writer.flush())[:-100])
    assert numbers_in(file, problems=problems)[:1000] == list(range(1000))
    assert problems.torn_files >= 1
    assert f"{file}: the file ends within a compressed frame" in problems.named


def test_frames_that_were_put_together_are_one_log(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl.zst"
    file.write_bytes(b"".join(zstandard.compress(log_of(range(n, n + 1))) for n in range(50)))
    assert numbers_in(file) == list(range(50))


def test_before_a_damage_everything_is_read_and_the_next_file_too(tmp_path: Path) -> None:
    damaged, good = tmp_path / "a.jsonl.zst", tmp_path / "b.jsonl"
    damaged.write_bytes(zstandard.compress(log_of(range(1))) + b"no frame at all")
    good.write_bytes(log_of(range(1, 2)))
    problems = ReadProblems()
    assert numbers_in(damaged, tmp_path / "missing.jsonl", good, problems=problems) == [0, 1]
    assert problems.unreadable_files == 2
    assert [name.partition(": ")[2] for name in problems.named] == [
        "damaged: only what stands before the damage is read",
        "cannot be read: No such file or directory",
    ]


@settings(max_examples=60)
@given(cut=st.integers(0, 3000), flipped=st.integers(0, 3000))
def test_a_file_may_be_cut_and_damaged_anywhere(tmp_path_factory, cut: int, flipped: int) -> None:
    content = bytearray(zstandard.compress(log_of(range(20))))
    content[flipped % len(content)] ^= 0x55
    file = tmp_path_factory.mktemp("cut") / "events.jsonl.zst"
    file.write_bytes(content[: cut % len(content)])
    assert len(numbers_in(file)) <= 21


@given(st.lists(st.binary(max_size=20)), st.integers(1, 7))
def test_lines_do_not_depend_on_how_the_file_is_read(lines: list[bytes], size: int) -> None:
    content = b"\n".join(lines)
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    expected = content.split(b"\n")
    read = list(_lines(chunks))
    assert [line for _, line, _ in read] == (expected if expected[-1] else expected[:-1])
    assert all(is_whole for _, _, is_whole in read[: len(expected) - 1])


def test_a_folder_stands_for_its_logs_by_name_without_those_that_stand_there_twice(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl.zst", "c.jsonl", "c.jsonl.zst", "notes.txt", "d.jsonl.zst.part"):
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in event_files([tmp_path, tmp_path / "a.jsonl.zst"])] == [
        "a.jsonl.zst",
        "b.jsonl",
        "c.jsonl.zst",
    ]


def test_a_file_that_is_compressed_between_listing_and_reading_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(log_of(range(2))))
    assert numbers_in(tmp_path / "a.jsonl") == [0, 1]


@pytest.mark.parametrize("bomb", [b"\n" * 2**15, b"x" * 2**27], ids=["empty lines", "one line"])
def test_a_compression_bomb_is_read_in_bounded_memory(tmp_path: Path, bomb: bytes) -> None:
    file = tmp_path / "bomb.jsonl.zst"
    file.write_bytes(zstandard.compress(bomb))
    problems = ReadProblems()
    tracemalloc.start()
    try:
        assert numbers_in(file, problems=problems) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024 * 1024
    assert len(problems.named) <= 100
