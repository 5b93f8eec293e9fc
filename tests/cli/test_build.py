from pathlib import Path

import pytest

from noai_guard.front import Front
from noai_guard.loading import load_catalog, load_policy, load_stance


def files(folder: Path) -> dict[str, bytes]:
    return {
        f"/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_every_document_is_written_and_nothing_else(run, tmp_path):
    result = run("build", "--out", str(tmp_path))
    documents = Front(load_stance(), load_catalog()).documents
    assert files(tmp_path) == {path: document.body for path, document in documents.items()}
    assert len(result.stdout.splitlines()) == len(documents)
    assert all(document.media_type in result.stdout for document in documents.values())


def test_the_policy_is_what_is_written(run, write, tmp_path):
    file = write("extends: no-training\nsite: {policy_page: /ai/}\n")
    run("build", "--out", str(tmp_path / "out"), "--policy", file)
    page = Front(load_policy(file), load_catalog()).documents["/ai/"]
    assert files(tmp_path / "out")["/ai/index.html"] == page.body


def test_check_is_quiet_about_current_files_and_says_no_to_stale_ones(run, tmp_path):
    out = str(tmp_path / "public")
    assert run("build", "--out", out, "--check", code=1).stdout.count("stale") >= 2
    assert not (tmp_path / "public").exists()
    run("build", "--out", out)
    assert "stale" not in run("build", "--out", out, "--check").stdout
    (tmp_path / "public" / "robots.txt").write_text("User-agent: *\nAllow: /\n")
    stale = [line for line in run("build", "--out", out, "--check", code=1).stdout.splitlines() if "stale" in line]
    assert len(stale) == 1
    assert "robots.txt" in stale[0]


def test_current_files_are_not_written_again(run, tmp_path):
    run("build", "--out", str(tmp_path))
    before = (tmp_path / "robots.txt").stat().st_mtime_ns
    assert "wrote" not in run("build", "--out", str(tmp_path)).stdout
    assert (tmp_path / "robots.txt").stat().st_mtime_ns == before


def test_the_sites_own_robots_txt_is_kept(run, tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("User-agent: *\nDisallow: /drafts/\n")
    run("build", "--out", str(tmp_path / "public"), "--merge", str(own))
    written = (tmp_path / "public" / "robots.txt").read_text()
    assert "Disallow: /drafts/" in written
    assert "User-agent: GPTBot" in written


def test_files_are_readable_by_the_web_server(run, tmp_path):
    run("build", "--out", str(tmp_path))
    assert (tmp_path / "robots.txt").stat().st_mode & 0o044 == 0o044


def test_what_cannot_be_written_leaves_nothing_half(run, tmp_path):
    (tmp_path / ".well-known").write_text("in the way")
    assert "robots" not in run("build", "--out", str(tmp_path), code=2).stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == [".well-known"]


@pytest.mark.parametrize("page", ["/../../outside", "/a/../../outside", "/./x"])
def test_no_document_leaves_the_folder(tmp_path, page):
    from noai_guard.front import document_file
    from noai_guard.model import Document

    assert (tmp_path / document_file(Document(page, "text/html", b""))).resolve().is_relative_to(tmp_path.resolve())
