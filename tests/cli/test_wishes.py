"""The commands know what creators wish: check counts, explain says why, build and config write it down."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Write

POLICY = """
extends: no-training
usages: {train-ai: yes, data-broker: yes, scraper: yes}
site: {url: "https://band.example"}
works: ["/audio/{work}.mp3"]
wishes: catalogue.csv
"""


def policy_with(write: Write, tmp_path: Path, catalogue: str) -> str:
    (tmp_path / "catalogue.csv").write_text(catalogue)
    return write(POLICY)


def test_check_counts_works_and_those_that_documents_name(run: Run, write: Write, tmp_path: Path) -> None:
    file = policy_with(write, tmp_path, "work,train-ai\ntide,no\nfoam,\nebb,yes\n")
    assert (
        "Creators: wishes for 3 works, of which 1 differ from the site's policy; of these, robots.txt and the other "
        "documents name 1." in run("check", file).output
    )


def test_check_lists_every_mistake_of_a_catalogue_with_its_line(run: Run, write: Write, tmp_path: Path) -> None:
    file = policy_with(write, tmp_path, "work,isrc,train-ai\ntide,12,perhaps\nfoam,,maybe\n")
    lines = run("check", file, code=1).stdout.splitlines()
    assert [line.split("catalogue.csv:")[1].split(" ")[:2] for line in lines] == [
        ["2:", "W002"], ["2:", "W003"], ["3:", "W002"],
    ]  # fmt: skip
    problems = json.loads(run("check", "--format", "json", file, code=1).stdout)["problems"]
    assert [problem["line"] for problem in problems] == [2, 2, 3]


def test_explain_shows_the_wish(run: Run, write: Write, tmp_path: Path) -> None:
    file = policy_with(write, tmp_path, "work,train-ai\ntide,no\n")
    said = run("explain", "--policy", file, "--ua", "GPTBot/1.3", "--path", "/audio/tide.mp3").output
    assert "wish" in said
    assert "the creator of the work disallows train-ai" in said
    facts = json.loads(
        run("explain", "--policy", file, "--ua", "Firefox/154", "--path", "/audio/tide.mp3", "--format", "json").stdout
    )
    assert ["tdm-reservation", "1"] in facts["declares"]


def test_build_and_config_name_the_works(run: Run, write: Write, tmp_path: Path) -> None:
    file = policy_with(write, tmp_path, "work,train-ai\ntide,no\n")
    run("build", "--policy", file, "--out", str(tmp_path / "public"))
    for document in ("robots.txt", "license.xml", ".well-known/tdmrep.json"):
        assert "/audio/tide.mp3" in (tmp_path / "public" / document).read_text()
    said = run("config", "nginx", "--policy", file, "--out", str(tmp_path / "nginx"), "--no-merge").output
    assert "wishes of creators: those of today, looked up by name (works here: 1; room: 1,000,000)." in said
    assert '"tide" 365;' in (tmp_path / "nginx" / "noai-guard" / "works.map").read_text()
    said = run("config", "varnish", "--policy", file, "--out", str(tmp_path / "varnish"), "--no-merge").output
    assert "wishes of creators: those of today" in said
    (tmp_path / "host").mkdir()
    said = run("config", "netlify", "--policy", file, "--out", str(tmp_path / "host")).output
    assert "wishes of creators" in said
    assert "/audio/tide.mp3" in (tmp_path / "host" / "_headers").read_text()


def test_config_writes_the_names_of_thousands_of_works(run: Run, write: Write, tmp_path: Path) -> None:
    lines = "".join(f"song-{number},{'no' if number % 2 else ''}\n" for number in range(12_000))
    file = policy_with(write, tmp_path, f"work,train-ai\n{lines}")
    for server, names in (("nginx", "works.map"), ("haproxy", "works.map"), ("apache", "works.sdbm.pag")):
        folder = tmp_path / server
        assert "works here: 6,000" in run("config", server, "--policy", file, "--out", str(folder), "--no-merge").output
        assert (folder / "noai-guard" / names).stat().st_size > 6000 * 12
    nginx = ("config", "nginx", "--policy", file, "--out", str(tmp_path / "nginx"), "--no-merge", "--check")
    run(*nginx)
    policy_with(write, tmp_path, f"work,train-ai\n{lines.replace('song-0,', 'song-0,no')}")
    assert "stale" in run(*nginx, code=1).output


def test_works_that_cannot_be_read_again_end_the_command(
    run: Run, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = policy_with(write, tmp_path, "work,train-ai\ntide,no\n")

    def unreadable(*_: object) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr("noai_guard.cli.mapped_works.all_wishes", unreadable)
    said = run("config", "nginx", "--policy", file, "--out", str(tmp_path / "nginx"), code=1).output
    assert "the wishes cannot be read again: Input/output error; try once more" in said
