"""A whole library: folders, several processes, files that end a process, runs that are stopped and started again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from noai_guard.tagging import Options, Outcome, UndoFile, library
from noai_guard.tagging.library import Job, Paths, audio_files, work
from tests.tagging.recordings import BY_FORMAT, FIELDS, recording


def jobs(folder: Path) -> list[Job]:
    return [job._replace(fields=FIELDS) for job in audio_files([str(folder)])]


def test_folders_are_walked_in_order_links_are_named_and_other_files_are_not_looked_at(tmp_path: Path) -> None:
    for name in ("b/2.mp3", "b/1.FLAC", "a/cover.jpg", "a/x.ogg", "a/.noai-tag-left", "top.m4a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "c").symlink_to(tmp_path / "b")
    (tmp_path / "d.mp3").symlink_to(tmp_path / "b/2.mp3")
    (tmp_path / "d.txt").symlink_to(tmp_path / "b/2.mp3")
    link = "it is a symbolic link; name what it leads to"
    found = [(os.path.relpath(job.path, tmp_path), job.problem) for job in audio_files([str(tmp_path)])]
    assert found == [
        ("c", link), ("d.mp3", link), ("top.m4a", ""), ("a/x.ogg", ""), ("b/1.FLAC", ""), ("b/2.mp3", ""),
    ]  # fmt: skip
    assert not (tmp_path / "a/.noai-tag-left").exists()
    assert [job.problem for job in audio_files(["nowhere.mp3"])] == ["it does not exist"]
    assert [job.path for job in audio_files([str(tmp_path / "c")])] == [
        str(tmp_path / "c/1.FLAC"),
        str(tmp_path / "c/2.mp3"),
    ]


def test_audio_that_cannot_be_tagged_is_named_instead_of_passed_over(tmp_path: Path) -> None:
    for name in ("a.wma", "b.AAC", "c.mka", "d.m4r", "e.jpg", "f.ts"):
        (tmp_path / name).write_bytes(b"no music")
    results = work(jobs(tmp_path), Options())
    assert [(os.path.basename(each.path), each.outcome) for each in results] == [
        (name, Outcome.LEFT_ALONE) for name in ("a.wma", "b.AAC", "c.mka", "d.m4r")
    ]


def test_a_link_that_leads_in_a_circle_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    recording(tmp_path, BY_FORMAT["WAV"])
    link = "it is a symbolic link; name what it leads to"
    assert [job.problem for job in audio_files([str(tmp_path)])] == [link, link, ""]


def test_a_link_to_the_root_is_the_root_and_a_link_below_it_stands_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "www").symlink_to("public")
    (tmp_path / "disk").mkdir()
    (tmp_path / "public/audio").symlink_to("../disk")
    public, www = str(tmp_path / "public"), str(tmp_path / "www")
    for root, other in ((public, www), (www, public)):
        assert Paths(root).of(f"{other}/a.mp3") == "/a.mp3"
        assert Paths(root).of(f"{root}/audio/a.mp3") == "/audio/a.mp3"
        assert Paths(root).of(str(tmp_path / "disk/a.mp3")) is None


@pytest.mark.parametrize(
    ("root", "prefix", "file", "path"),
    [
        (None, "/", "music/a.mp3", "/"),
        ("public", "/", "public/tracks/a.mp3", "/tracks/a.mp3"),
        ("public/", "/audio/", "public/a b.mp3", "/audio/a b.mp3"),
        ("public", "audio", "public/../public/x/a.mp3", "/audio/x/a.mp3"),
        ("public", "/", "private/a.mp3", None),
        ("public", "/", "public/../private/a.mp3", None),
        ("public", "/", "publicity/a.mp3", None),
        ("public", "/", "public/..a.mp3", "/..a.mp3"),
    ],
)
def test_the_path_of_a_file_on_the_site(root: str | None, prefix: str, file: str, path: str | None) -> None:
    assert Paths(root, prefix).of(file) == path


def test_several_processes_tag_everything_once_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    music, undo = tmp_path / "music", UndoFile(tmp_path / "undo")
    undo.prepare()
    for number in range(4):
        for name in BY_FORMAT.values():
            (music / str(number)).mkdir(parents=True, exist_ok=True)
            recording(music / str(number), name)
    (music / "broken.mp3").write_bytes(b"nothing")
    results = list(work(jobs(music), Options(undo), processes=3))
    assert Counter(result.outcome for result in results) == {Outcome.TAGGED: 28, Outcome.LEFT_ALONE: 1}
    assert {result.path for result in results} == {job.path for job in jobs(music)}
    times = {path: path.stat().st_mtime_ns for path in music.rglob("*.*")}
    again = list(work(jobs(music), Options(undo), processes=2))
    assert Counter(result.outcome for result in again) == {Outcome.CURRENT: 28, Outcome.LEFT_ALONE: 1}
    assert times == {path: path.stat().st_mtime_ns for path in music.rglob("*.*")}


ENDS = """
import os, sys
from pathlib import Path
from noai_guard.tagging import Options, library, tag_file
from noai_guard.tagging.fields import Fields
from noai_guard.tagging.library import Job

def work_or_die(job, options, real=library._work):
    if job.path == "dies":
        os._exit(9)
    return real(job, options)

library._work = work_or_die
if __name__ == "__main__":
    jobs = [Job("dies" if number == 5 else str(number), Fields(), problem="" if number == 5 else "no") for number in range(40)]
    results = list(library.work(jobs, Options(), processes=2))
    assert sorted(result.path for result in results) == sorted(job.path for job in jobs), len(results)
    assert [result.reason for result in results if result.path == "dies"] == ["the process that worked on it ended"]
"""


def test_a_file_that_ends_its_process_is_named_and_all_others_are_done_once(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text(ENDS)
    done = subprocess.run([sys.executable, str(tmp_path / "ends.py")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_that_is_killed_is_started_again_and_finishes(tmp_path: Path) -> None:
    music = tmp_path / "music"
    music.mkdir()
    original = recording(tmp_path, BY_FORMAT["MP3"])
    before = original.read_bytes()
    for number in range(60):
        shutil.copy(original, music / f"{number:02}.mp3")
    command = [sys.executable, "-m", "noai_guard", "tag", "music", "--jobs", "2"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as run:
        deadline = time.monotonic() + 120
        while (
            all(path.read_bytes() == before for path in sorted(music.glob("*.mp3"))[:20])
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGKILL)
    # Of two processes, either may have been first.
    assert len({path.read_bytes() for path in music.glob("*.mp3")} - {before}) <= 1
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "left alone" not in done.stdout
    (tagged,) = {path.read_bytes() for path in music.glob("*.mp3")}
    assert tagged != before
    assert not list(music.glob(".noai*"))
    subprocess.run([*command, "--undo"], cwd=tmp_path, capture_output=True, check=True)
    assert {path.read_bytes() for path in music.glob("*.mp3")} == {before}


def test_a_file_that_takes_too_long_or_finds_a_fault_of_ours_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = recording(tmp_path, BY_FORMAT["MP3"])

    def endless(*arguments: object) -> None:
        while True:
            time.sleep(0.01)

    monkeypatch.setattr(library, "_SECONDS", 0.1)
    monkeypatch.setattr(library, "_BYTES_PER_SECOND", 1e12)
    monkeypatch.setattr(library, "tag_file", endless)
    [result] = work([Job(str(file), FIELDS)], Options())
    assert (result.outcome, result.reason) == (Outcome.LEFT_ALONE, "it took too long")

    def faulty(*arguments: object) -> None:
        raise ZeroDivisionError("a\nfault")

    monkeypatch.setattr(library, "tag_file", faulty)
    [result] = work([Job(str(file), FIELDS)], Options())
    assert (result.outcome, result.reason) == (Outcome.LEFT_ALONE, r"ZeroDivisionError: a\nfault")
