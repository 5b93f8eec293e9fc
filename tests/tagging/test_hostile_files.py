"""Files that strangers have made: bounded in time and memory, no traceback, and never half written."""

import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.tagging import Outcome, Result, tag_file
from noai_guard.tagging.fields import NOTHING, Fields
from noai_guard.tagging.formats import format_of
from noai_guard.tagging.source import FileSource, Unsafe
from tests.tagging.recordings import BY_FORMAT, FIELDS, recording
from tests.tagging.test_odd_files import frame, mpeg, tag_of

HEADS = {
    "MP3": b"ID3\3\0\0\0\0\1\0", "MP3 without tag": b"\xff\xfb\x90\x64", "FLAC": b"fLaC", "Ogg": b"OggS\0\2" + bytes(8),
    "M4A": b"\0\0\0\x18ftypM4A \0\0\0\0", "WAV": b"RIFF\x40\0\0\0WAVE", "AIFF": b"FORM\0\0\0\x40AIFF",
}  # fmt: skip


@settings(max_examples=2000)
@given(st.sampled_from(sorted(HEADS.values())), st.binary(max_size=600))
def test_any_bytes_are_tagged_or_left_alone(head: bytes, rest: bytes) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        file.write_bytes(head + rest)
        result = tag_file(file, FIELDS)
        assert result.outcome in (Outcome.TAGGED, Outcome.LEFT_ALONE)
        assert file.read_bytes() == head + rest or result.outcome is Outcome.TAGGED
        assert len(list(Path(folder).iterdir())) == 1


@pytest.mark.parametrize("name", BY_FORMAT.values(), ids=BY_FORMAT)
@settings(max_examples=400)
@given(data=st.data())
def test_a_recording_with_some_bytes_changed_keeps_all_else_or_is_left_alone(name: str, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        file = recording(Path(folder), name)
        content = bytearray(file.read_bytes())
        # Most of what can go wrong stands at the beginning; in an AAC file, at the end too.
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, min(2000, len(content) - 1)))
            place = len(content) - 1 - place if data.draw(st.booleans()) else place
            content[place] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):
            del content[data.draw(st.integers(0, len(content))) :]
        file.write_bytes(content)
        result = tag_file(file, FIELDS)
        assert result.outcome in (Outcome.TAGGED, Outcome.LEFT_ALONE), result
        if result.outcome is Outcome.LEFT_ALONE:
            assert file.read_bytes() == content
            assert result.reason
        else:
            assert tag_file(file, FIELDS).outcome is Outcome.CURRENT
            assert tag_file(file, NOTHING).outcome is Outcome.REMOVED


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)


@pytest.mark.parametrize("name", BY_FORMAT.values(), ids=BY_FORMAT)
@settings(max_examples=100)
@given(owner=texts, page=st.from_regex(r"https://[a-z]{1,20}\.example/[a-z%-]{0,30}", fullmatch=True))
def test_any_owner_is_read_back_by_mutagen(name: str, owner: str, page: str) -> None:
    with TemporaryDirectory() as folder:
        file = recording(Path(folder), name)
        result = tag_file(file, Fields("1", "train-ai=n", page, page, owner, "DMI-PROHIBITED"))
        assert (result.outcome, result.reason) == (Outcome.TAGGED, "")


@pytest.mark.parametrize("name", [b"TXXX", b"PRIV", b"APIC"])
def test_a_frame_of_a_gigabyte_in_a_megabyte_is_not_unpacked(tmp_path: Path, name: bytes) -> None:
    packed = zlib.compress(bytes(1 << 27), 9)
    file = tmp_path / "bomb.mp3"
    file.write_bytes(tag_of(4, frame(4, name, b"\x01\0\0\0" + packed, b"\0\x09")) + mpeg(tmp_path))
    result, peak = tagged_within_memory(file)
    assert result.outcome is (Outcome.LEFT_ALONE if name == b"TXXX" else Outcome.TAGGED)
    assert peak < 100 << 20


def tagged_within_memory(file: Path) -> tuple[Result, int]:
    """Tag a file, and return what became of it and the most memory that was in use, in bytes."""
    tag_file(file.with_name("first"), FIELDS)  # imports take memory too
    tracemalloc.start()
    try:
        return tag_file(file, FIELDS), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def huge(name: str) -> bytes:
    """Return a small beginning that announces much."""
    return {
        "ID3": b"ID3\4\0\0\x7f\x7f\x7f\x7f",
        "FLAC": b"fLaC\0\xff\xff\xff",
        "comments": b"fLaC\0\0\0\x22" + bytes(34) + b"\x84\0\0\x0c" + b"\xff\xff\xff\x7f" * 3,
        "M4A": b"\0\0\0\x08ftyp\0\0\0\1moov\xff\xff\xff\xff\xff\xff\xff\xf0",
        "WAV": b"RIFF\xf0\xff\xff\xffWAVEdata\xff\xff\xff\xff",
        "AIFF": b"FORM\xff\xff\xff\xf0AIFFSSND\xff\xff\xff\xff",
    }[name]


@pytest.mark.parametrize("name", ["ID3", "FLAC", "comments", "M4A", "WAV", "AIFF"])
@pytest.mark.parametrize("size", [64, 1 << 30], ids=["short", "sparse"])
def test_sizes_that_are_lies_cost_nothing(tmp_path: Path, name: str, size: int) -> None:
    file = tmp_path / "lie"
    file.write_bytes(huge(name))
    with file.open("r+b") as stream:
        stream.truncate(size)
    result, peak = tagged_within_memory(file)
    assert result.outcome is Outcome.LEFT_ALONE
    assert peak < 300 << 20


def ogg_pages(number: int) -> bytes:
    first = b"OggS\0\2" + bytes(20) + b"\1\x13" + b"OpusHead" + bytes(11)
    return first + b"".join(
        b"OggS\0\0" + bytes(12) + page.to_bytes(4, "little") + bytes(5) for page in range(1, number)
    )


def nested(number: int) -> bytes:
    names = [b"moov", *[b"trak"] * (number - 1)]
    return b"".join((8 * (number - depth)).to_bytes(4, "big") + name for depth, name in enumerate(names))


MANY: dict[str, Callable[[int], bytes]] = {
    "boxes": lambda number: b"\0\0\0\x08ftyp" + b"\0\0\0\x08free" * number,
    "nested boxes": lambda number: b"\0\0\0\x08ftyp" + nested(number),
    "chunks": lambda number: b"RIFF" + (4 + 8 * number).to_bytes(4, "little") + b"WAVE" + b"LIST\0\0\0\0" * number,
    "blocks": lambda number: b"fLaC\0\0\0\x22" + bytes(34) + b"\2\0\0\0" * number,
    "pages": ogg_pages,
    "frames": lambda number: tag_of(4, frame(4, b"TIT2", b"\3x") * number) + (b"\xff\xfb\x90\x64" + bytes(413)) * 3,
}  # fmt: skip


@pytest.mark.parametrize("kind", MANY)
def test_very_many_parts_are_left_alone_and_ten_times_as_many_do_not_take_a_hundred_times_as_long(
    tmp_path: Path, kind: str
) -> None:
    seconds = []
    for number in (20_000, 200_000):
        file = tmp_path / "many"
        file.write_bytes(MANY[kind](number))
        started = time.process_time()
        assert tag_file(file, FIELDS).outcome is Outcome.LEFT_ALONE
        seconds.append(time.process_time() - started)
    assert seconds[1] < 30 * (seconds[0] + 0.05)


@given(st.sampled_from(sorted(BY_FORMAT.values())), st.binary(max_size=300), st.integers(0, 300))
def test_reading_tags_of_any_bytes_returns_values_or_says_unsafe(name: str, junk: bytes, at: int) -> None:
    with TemporaryDirectory() as folder:
        file = recording(Path(folder), name)
        content = file.read_bytes()
        file.write_bytes(content[:at] + junk + content[at + len(junk) :])
        with file.open("rb") as stream:
            source = FileSource(stream)
            try:
                values = format_of(source).read(source)
            except Unsafe:
                return
            assert all(isinstance(value, str) for value in values.values())
