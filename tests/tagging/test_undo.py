"""The way back leads to the same bytes, whatever was changed."""

from io import BytesIO
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.tagging import NOTHING, Options, Outcome, UndoFile, delta, tag_file, undo_file
from noai_guard.tagging.undo import NoUndoFile
from tests.tagging.recordings import BY_FORMAT, FIELDS, recording

parts = st.binary(min_size=1, max_size=3000).map(lambda part: part * 40)


@given(st.lists(st.tuples(parts, st.sampled_from(["both", "old", "new"])), max_size=6))
def test_a_delta_leads_from_any_file_to_any_other(pieces: list[tuple[bytes, str]]) -> None:
    old = b"".join(part for part, where in pieces if where != "new")
    new = b"".join(part for part, where in pieces if where != "old")
    with TemporaryFile() as one, TemporaryFile() as other:
        one.write(old)
        other.write(new)
        other.flush()
        way_back = delta.backwards(one, other)
        back = BytesIO()
        delta.apply(way_back, other, back)
        assert back.getvalue() == old


@pytest.mark.parametrize("name", BY_FORMAT.values(), ids=BY_FORMAT)
def test_the_way_back_is_about_as_long_as_the_tags_wherever_the_audio_has_moved(tmp_path: Path, name: str) -> None:
    file, undo = recording(tmp_path, name), UndoFile(tmp_path / "undo")
    undo.prepare()
    tag_file(file, FIELDS, Options(undo))
    [change] = undo.changes(file)
    assert len(change.delta) < 1500 < file.stat().st_size


def test_a_file_that_somebody_else_changed_is_not_undone_but_our_tags_can_be_removed(tmp_path: Path) -> None:
    file, undo = recording(tmp_path, BY_FORMAT["MP3"]), UndoFile(tmp_path / "undo")
    undo.prepare()
    tag_file(file, FIELDS, Options(undo))
    file.write_bytes(file.read_bytes() + b"a tagger was here")
    result = undo_file(file, undo)
    assert (result.outcome, result.reason) == (
        Outcome.LEFT_ALONE,
        "it was changed after it was tagged, so it cannot be given its old bytes (--remove can help)",
    )
    assert tag_file(file, NOTHING, Options(undo)).outcome is Outcome.REMOVED
    assert b"TDM-" not in file.read_bytes()


def test_a_file_without_a_way_back_is_named_if_it_is_tagged_and_current_if_it_is_not(tmp_path: Path) -> None:
    file, undo = recording(tmp_path, BY_FORMAT["MP3"]), UndoFile(tmp_path / "undo")
    undo.prepare()
    text = tmp_path / "text.mp3"
    text.write_text("no music")
    assert [undo_file(path, undo).outcome for path in (file, text)] == [Outcome.CURRENT] * 2
    tag_file(file, FIELDS)
    assert "--remove takes the tags out" in undo_file(file, undo).reason


def test_an_undo_file_that_is_none_stops_the_run_before_anything_is_changed(tmp_path: Path) -> None:
    file, broken = recording(tmp_path, BY_FORMAT["MP3"]), tmp_path / "undo"
    broken.write_text("This is no database, whatever it is called." * 100)
    before = file.read_bytes()
    with pytest.raises(NoUndoFile, match="name another file with --undo-file"):
        tag_file(file, FIELDS, Options(UndoFile(broken)))
    assert file.read_bytes() == before
    assert not list(tmp_path.glob(".noai*"))


def test_a_file_is_undone_by_whichever_way_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "music").mkdir()
    (tmp_path / "link").symlink_to("music")
    file, undo = recording(tmp_path / "music", BY_FORMAT["MP3"]), UndoFile(tmp_path / "undo")
    undo.prepare()
    before = file.read_bytes()
    monkeypatch.chdir(tmp_path / "music")
    ways: list[str | Path] = [file.name, f"../music/{file.name}", tmp_path / "link" / file.name, file]
    for one, other in pairwise(ways):
        assert tag_file(one, FIELDS, Options(undo)).outcome is Outcome.TAGGED
        assert undo_file(other, undo).outcome is Outcome.UNDONE
        assert file.read_bytes() == before
