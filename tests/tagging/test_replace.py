"""The new file takes the old one's place at once, and has all of it but the modification time."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from noai_guard.tagging import Options, Outcome, UndoFile, replace, tag_file, undo_file
from noai_guard.tagging.replace import remove_left_over
from tests.tagging.recordings import BY_FORMAT, FIELDS, recording

MP3 = BY_FORMAT["MP3"]


def test_mode_and_extended_attributes_stay(tmp_path: Path) -> None:
    file = recording(tmp_path, MP3)
    file.chmod(0o640)
    try:
        os.setxattr(file, "user.catalogue", b"LBL-001")
    except (OSError, AttributeError):
        pytest.skip("no extended attributes here")
    assert tag_file(file, FIELDS).outcome is Outcome.TAGGED
    assert file.stat().st_mode & 0o7777 == 0o640
    assert os.getxattr(file, "user.catalogue") == b"LBL-001"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_owner_and_group_and_special_bits_stay(tmp_path: Path) -> None:
    file = recording(tmp_path, MP3)
    os.chown(file, 12345, 54321)
    file.chmod(0o2750)
    assert tag_file(file, FIELDS).outcome is Outcome.TAGGED
    facts = file.stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o7777) == (12345, 54321, 0o2750)


def test_a_file_whose_owner_cannot_be_kept_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = recording(tmp_path, MP3)
    if os.geteuid() == 0:
        os.chown(file, 12345, 54321)
    else:
        pytest.skip("only root may give files away")

    def fchown(*arguments: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", fchown)
    result = tag_file(file, FIELDS)
    assert (result.outcome, result.reason) == (
        Outcome.LEFT_ALONE, "its owner cannot be kept; run this as the owner or as root",
    )  # fmt: skip
    assert not list(tmp_path.glob(".noai*"))


@pytest.mark.parametrize("age", [-1000.5, 0, 100.25])
def test_the_modification_time_is_another_second_even_if_the_old_one_is_now_or_to_come(
    tmp_path: Path, age: float
) -> None:
    file, undo = recording(tmp_path, MP3), UndoFile(tmp_path / "undo")
    undo.prepare()
    moment = time.time() + age
    os.utime(file, (moment, moment))
    tag_file(file, FIELDS, Options(undo))
    tagged = file.stat().st_mtime
    assert int(tagged) > int(moment)
    undo_file(file, undo)
    assert int(file.stat().st_mtime) > int(tagged)


def test_whoever_reads_the_old_file_reads_on_in_it(tmp_path: Path) -> None:
    file = recording(tmp_path, MP3)
    before = file.read_bytes()
    with file.open("rb") as player:
        player.read(100)
        tag_file(file, FIELDS)
        assert player.read() == before[100:]


def test_a_file_with_several_names_is_left_alone_unless_that_is_said(tmp_path: Path) -> None:
    file = recording(tmp_path, MP3)
    other = tmp_path / "other.mp3"
    other.hardlink_to(file)
    result = tag_file(file, FIELDS)
    assert result.outcome is Outcome.LEFT_ALONE
    assert "it has 2 names (hard links)" in result.reason
    before = other.read_bytes()
    assert tag_file(file, FIELDS, Options(several_names=True)).outcome is Outcome.TAGGED
    assert other.read_bytes() == before


def test_symbolic_links_fifos_and_folders_are_left_alone_at_once(tmp_path: Path) -> None:
    file = recording(tmp_path, MP3)
    link, fifo = tmp_path / "link.mp3", tmp_path / "fifo.mp3"
    link.symlink_to(file)
    os.mkfifo(fifo)
    before = file.read_bytes()
    for path, reason in ((link, "symbolic link"), (fifo, "no regular file"), (tmp_path, "no regular file")):
        result = tag_file(path, FIELDS)
        assert result.outcome is Outcome.LEFT_ALONE
        assert reason in result.reason
    assert link.is_symlink()
    assert file.read_bytes() == before


def test_a_file_that_another_process_works_on_or_has_changed_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = recording(tmp_path, MP3)
    with replace.opened(file):
        assert "another process is at work on it" in tag_file(file, FIELDS).reason
    like = replace._like

    def changes_meanwhile(*arguments: object) -> None:
        like(*arguments)  # type: ignore[arg-type]
        file.write_bytes(b"the new master")

    monkeypatch.setattr(replace, "_like", changes_meanwhile)
    assert tag_file(file, FIELDS).reason == "it was changed meanwhile"
    assert file.read_bytes() == b"the new master"


def test_a_full_disk_leaves_the_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, undo = recording(tmp_path, MP3), UndoFile(tmp_path / "undo")
    undo.prepare()
    before = file.read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = tag_file(file, FIELDS, Options(undo))
    assert result.reason == "it cannot be replaced: No space left on device"
    assert file.read_bytes() == before
    assert undo.changes(file) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([file.name, "undo"])


KILLED = """
import os, signal, sys
from pathlib import Path
from noai_guard.tagging import Options, UndoFile, file, replace, tag_file
from tests.tagging.recordings import FIELDS

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

module, name = sys.argv[2].split(".")
if module == "os":
    setattr(os, name, die)
else:
    setattr({"replace": replace, "file": file}[module], name, die)
tag_file(sys.argv[1], FIELDS, Options(UndoFile(Path(sys.argv[1]).with_name("undo"))))
"""


@pytest.mark.parametrize("where", ["file._planned", "replace._like", "os.fsync", "os.replace", "replace._to_disk"])
def test_a_process_that_is_killed_leaves_the_old_file_or_the_new_one_and_the_next_run_cleans_up(
    tmp_path: Path, where: str
) -> None:
    file, undo = recording(tmp_path, MP3), UndoFile(tmp_path / "undo")
    undo.prepare()
    before = file.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, str(file), where], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (file.read_bytes() == before) is (where != "replace._to_disk")
    for left in tmp_path.glob(".noai-tag-*"):
        assert remove_left_over(left)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([file.name, "undo"])
    assert tag_file(file, FIELDS, Options(undo)).outcome in (Outcome.TAGGED, Outcome.CURRENT)
    assert undo_file(file, undo).outcome is Outcome.UNDONE
    assert file.read_bytes() == before


def test_a_file_that_is_being_written_is_not_taken_for_one_left_over(tmp_path: Path) -> None:
    file = tmp_path / ".noai-tag-abc"
    file.write_bytes(b"half")
    with replace.opened(file):
        assert not remove_left_over(file)
    assert remove_left_over(file)
    assert not file.exists()
    assert not remove_left_over(tmp_path / ".noai-tag-gone")
