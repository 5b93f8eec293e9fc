"""noai-guard tag: what people type, and what they are told."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from noai_guard import NoAIMiddleware
from noai_guard.tagging import readback
from tests.cli.conftest import Run, Write
from tests.middleware.asgi_kit import answering
from tests.servers import require
from tests.tagging.certificates import write_certificates
from tests.tagging.recordings import BY_FORMAT, recording

POLICY = """
extends: no-ai
site: {url: "https://music.example", owner: "Example Music"}
works: ["/audio/{work}.flac"]
paths:
  /audio/open/**:
    usages: {train-ai: yes, ai-input: yes, ai-search: yes, ai-agent: yes, scraper: yes, data-broker: yes}
"""


@pytest.fixture(autouse=True)
def music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two recordings in the folder where commands run."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "music"
    (folder / "open").mkdir(parents=True)
    recording(folder, BY_FORMAT["MP3"])
    recording(folder / "open", BY_FORMAT["FLAC"])
    return folder


def test_a_run_names_each_file_that_it_changes_and_what_could_not_be_written(run: Run) -> None:
    first = run("tag", "music")
    assert [line.split() for line in first.stdout.splitlines()] == [
        ["tagged", f"music/{BY_FORMAT['MP3']}"], ["tagged", f"music/open/{BY_FORMAT['FLAC']}"], ["2", "tagged"],
    ]  # fmt: skip
    assert "note: 1 file: XMP has no place in it, so plus:DataMining is missing." in first.stderr
    assert "set site.owner" in first.stderr
    assert "policy: no-ai (packaged)" in first.stderr
    assert run("tag", "music").stdout == "2 current\n"


def test_what_the_ledger_promises_stays_in_the_tags_until_it_may_be_loosened(run: Run, music: Path) -> None:
    require("cryptography")
    file = Path("noai.yaml")
    file.write_text("extends: no-ai\nsite: {url: 'https://music.example', owner: Example Music}\n")
    run("ledger", "init", "--author", "Ines", "--policy", "noai.yaml")
    file.write_text(file.read_text() + "usages: {train-ai: yes}\n")
    run("ledger", "publish", "--author", "Ines", "--policy", "noai.yaml")
    tagged = run("tag", "music", "--format", "json")
    assert {json.loads(line)["reservation"] for line in tagged.stdout.splitlines()} == {"1"}
    assert re.search(r"note: announced for \d{4}-\d\d-\d\d, and not in these files before: .*train", tagged.stderr)
    assert "note: write these files again on" in tagged.stderr


def test_a_dry_run_writes_nothing_and_its_exit_code_tells(run: Run, music: Path) -> None:
    before = {path: path.read_bytes() for path in music.rglob("*.*")}
    dry = run("tag", "music", "--dry-run", code=1)
    assert dry.stdout.splitlines()[-1] == "2 stale"
    assert {path: path.read_bytes() for path in music.rglob("*.*")} == before
    assert not Path("noai-tags.undo").exists()
    run("tag", "music")
    run("tag", "music", "--dry-run")
    assert run("tag", "music", "--undo", "--dry-run", code=1).stdout.splitlines()[-1] == "2 stale"
    assert run("tag", "music", "--undo").stdout.splitlines()[-1] == "2 undone"
    assert {path: path.read_bytes() for path in music.rglob("*.*")} == before


def test_the_root_gives_each_file_its_part_of_the_policy(run: Run, write: Write) -> None:
    policy = write(POLICY)
    assert "say --root" in run("tag", "music", "--policy", policy, code=2).stderr
    where = ("--policy", policy, "--root", "music", "--url-prefix", "/audio")
    printed = run("tag", "music", *where, "--format", "json").stdout
    said = {Path(each["path"]).suffix: each for each in map(json.loads, printed.splitlines())}
    assert (said[".mp3"]["reservation"], said[".mp3"]["mining"]) == ("1", "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING")
    assert (said[".flac"]["reservation"], said[".flac"]["mining"]) == ("0", "DMI-ALLOWED")
    outside = run("tag", "music", "--policy", policy, "--root", "music/open", code=1).stdout
    assert f"left alone  music/{BY_FORMAT['MP3']}: it is not below --root" in outside


def test_the_report_for_a_spreadsheet_has_a_line_for_each_file_and_no_formula(run: Run, music: Path) -> None:
    (music / "broken.mp3").write_bytes(b"no music")
    recording(music, BY_FORMAT["WAV"]).rename("=cmd|' calc'!A1.wav")
    printed = run("tag", "=cmd|' calc'!A1.wav", "music", "--format", "csv", code=1).stdout
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert [row["outcome"] for row in rows] == ["tagged", "left alone", "tagged", "tagged"]
    assert rows[0]["path"] == "'=cmd|' calc'!A1.wav"
    assert "it is not audio of a kind that can be tagged" in rows[1]["reason"]
    again = list(csv.DictReader(io.StringIO(run("tag", "music", "--format", "csv", code=1).stdout)))
    assert again[1]["was"].startswith("TDM-RESERVATION=1; ")


def test_a_file_name_cannot_write_to_the_terminal(run: Run, music: Path) -> None:
    recording(music, BY_FORMAT["WAV"]).rename(music / "\x1b[2Jevil\n.wav")
    printed = run("tag", "music").stdout
    assert "\x1b" not in printed
    assert r"\x1b[2Jevil\n.wav" in printed


def test_the_report_for_programs_has_the_exact_path_of_each_file(run: Run, music: Path) -> None:
    names = {b"\x1b[2Jevil\n.wav", b"caf\xe9.wav", "Löwe\u202e.wav".encode()}
    for name in names:
        Path(os.fsdecode(b"music/" + name)).write_bytes(recording(music.parent, BY_FORMAT["WAV"]).read_bytes())
    printed = run("tag", "music", "--format", "json").stdout
    assert printed.isascii()
    assert "\x1b" not in printed
    paths = {json.loads(line)["path"] for line in printed.splitlines()}
    assert names < {os.path.basename(os.fsencode(path)) for path in paths}


def test_removing_takes_the_tags_out_without_a_way_back_too(run: Run, music: Path) -> None:
    run("tag", "music", "--no-undo")
    assert not Path("noai-tags.undo").exists()
    assert run("tag", "music", "--remove", "--no-undo").stdout.splitlines()[-1] == "2 removed"
    assert b"TDM-RESERVATION" not in (music / BY_FORMAT["MP3"]).read_bytes()


def test_signing_needs_certificate_and_key_and_says_that_a_test_certificate_is_untrusted(
    run: Run, tmp_path: Path
) -> None:
    write_certificates(tmp_path)
    assert "name --sign-cert and --sign-key" in run("tag", "music", "--sign-cert", "chain.pem", code=2).stderr
    signing = ("--sign-cert", "chain.pem", "--sign-key", "key.pem")
    assert "leave out --sign-cert" in run("tag", "music", "--remove", *signing, code=2).stderr
    assert "note: 2 files: signed, but untrusted" in run("tag", "music", *signing).stderr
    assert run("tag", "music", *signing).stdout == "2 current\n"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--undo", "--remove"), "--undo stands alone"),
        (("--undo", "--no-undo"), "--undo stands alone"),
        (("--undo",), "name the file with the way back with --undo-file"),
        (("--undo-file", "nowhere/undo"), "name another file with --undo-file"),
        (("--root", "nowhere"), "Directory 'nowhere' does not exist"),
        (("--root", "music", "--url-prefix", "https://music.example/media"), "leave out scheme and host"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line_with_a_hint(run: Run, arguments: tuple[str, ...], hint: str) -> None:
    said = run("tag", "music", *arguments, code=2).stderr
    assert hint in said
    assert len(said.splitlines()) == 1


def test_without_mutagen_it_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readback, "find_spec", lambda name: None)
    assert "pip install 'noai-guard[tag]'" in run("tag", "music", code=2).stderr


def test_nothing_to_do_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run("tag", "empty").stdout == "no audio files found\n"
    assert "it does not exist" in run("tag", "nowhere", code=1).stdout


PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "tag-files.md").read_text(encoding="utf-8")


def test_the_commands_of_the_how_to_run(run: Run, write: Write, tmp_path: Path) -> None:
    write(POLICY)
    write_certificates(tmp_path)
    (tmp_path / "music").rename(tmp_path / "audio")
    (tmp_path / "public").mkdir()
    (tmp_path / "audio").rename(tmp_path / "public/audio")
    commands = re.findall(r"^noai-guard (tag .*)", PAGE, re.MULTILINE)
    assert len(commands) >= 6
    for command in commands:
        words = command.replace("/srv/audio", "public/audio").partition(" #")[0].partition(" >")[0].split()
        assert "left alone" not in run(*words, code=int("--dry-run" in words)).stdout


def test_the_code_for_uploads_of_the_how_to_runs(
    write: Write, tmp_path: Path, music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = write(POLICY)
    (code,) = re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"guard": NoAIMiddleware(answering(), policy, registry=CollectorRegistry())}
    exec(code, names)
    names["stored"](str(music / BY_FORMAT["MP3"]), "/audio/open/1.mp3")
    assert b"DMI-ALLOWED" in (music / BY_FORMAT["MP3"]).read_bytes()
    (music / "text.mp3").write_text("no music")
    names["stored"](str(music / "text.mp3"), "/audio/text.mp3")
    assert capsys.readouterr().out.startswith("/audio/text.mp3 is served without tags: it is not audio")


def test_on_a_terminal_there_is_a_progress_bar_and_the_lines_stay_readable(tmp_path: Path, music: Path) -> None:
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "noai_guard", "tag", "music"]
    with subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave, cwd=tmp_path) as process:
        os.close(slave)
        shown = b""
        with suppress(OSError):  # the terminal is gone when the process is
            while part := os.read(master, 4096):
                shown += part
        os.close(master)
    assert process.returncode == 0
    assert b"Files" in shown
    assert b"100%" in shown
    lines = [line.rpartition(b"\x1b[K")[2].strip() for line in shown.splitlines()]
    assert [line for line in lines if line.startswith(b"tagged")] == [
        f"tagged      music/{BY_FORMAT['MP3']}".encode(), f"tagged      music/open/{BY_FORMAT['FLAC']}".encode(),
    ]  # fmt: skip


WISHES = "extends: no-training\nsite: {url: 'https://music.example'}\nworks: ['/{work}.mp3', '/open/{work}.flac']\nwishes: wishes.csv\n"


def test_what_creators_wish_for_their_works_is_in_the_tags_of_their_files(run: Run, write: Write, music: Path) -> None:
    policy = write(WISHES)
    flac = BY_FORMAT["FLAC"].removesuffix(".flac")
    Path("wishes.csv").write_text(f"work,ai-input,ai-search\n{flac},disallow,disallow\n")
    printed = run("tag", "music", "--policy", policy, "--root", "music", "--format", "json").stdout
    said = {Path(each["path"]).suffix: each["usage"] for each in map(json.loads, printed.splitlines())}
    assert said == {".mp3": "train-ai=n, ai-use=y, search=y", ".flac": "train-ai=n, ai-use=n, search=y"}
    Path("wishes.csv").write_text(f"work,ai-input,ai-search\n{flac},unset,unset\n")
    changed = run("tag", "music", "--policy", policy, "--root", "music")
    assert changed.stdout.splitlines() == [f"tagged      music/open/{BY_FORMAT['FLAC']}", "1 tagged, 1 current"]


def test_where_wishes_cannot_be_read_nothing_is_tagged(run: Run, write: Write, music: Path) -> None:
    before = (music / BY_FORMAT["MP3"]).read_bytes()
    policy = write(WISHES.replace("wishes.csv", "postgresql://nobody@127.0.0.1:1/none"))
    assert (
        "the wishes of creators cannot be read"
        in run("tag", "music", "--policy", policy, "--root", "music", code=2).stderr
    )
    assert (music / BY_FORMAT["MP3"]).read_bytes() == before
