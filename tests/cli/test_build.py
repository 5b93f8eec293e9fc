import re
import shlex
from pathlib import Path

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_policy, load_stance
from tests.test_docs import blocks


def files(folder: Path) -> dict[str, bytes]:
    return {
        f"/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(autouse=True)
def one_day(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795392000")


def published(policy=None) -> dict[str, bytes]:
    documents = CompiledPolicy(load_policy(policy) if policy else load_stance(), load_catalog(), "2026-11-23").documents
    return {path: document.body for path, document in documents.items()}


def test_every_document_is_written(run, tmp_path):
    result = run("build", "--out", str(tmp_path))
    assert files(tmp_path) == published()
    assert len(result.stdout.splitlines()) == len(published())
    assert "the header fields are in no file" in result.stderr
    for document in CompiledPolicy(load_stance(), load_catalog()).documents.values():
        assert f"{document.path}  {document.media_type}" in result.stdout


def test_what_is_there_already_stays(run, tmp_path):
    (tmp_path / "robots.txt").write_text("User-agent: *\nDisallow: /drafts/\n")
    for _ in range(2):
        run("build", "--out", str(tmp_path))
        assert "Disallow: /drafts/" in (tmp_path / "robots.txt").read_text()
        assert "User-agent: GPTBot" in (tmp_path / "robots.txt").read_text()
    assert "wrote" not in run("build", "--out", str(tmp_path)).stdout
    run("build", "--out", str(tmp_path), "--check")


def test_a_policy_that_replaces_robots_txt_keeps_nothing_of_it(run, write, tmp_path):
    file = write("declarations: {robots_txt: replace}\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "robots.txt").write_text("User-agent: *\nDisallow: /drafts/\n")
    run("build", "--out", str(tmp_path / "out"), "--policy", file)
    assert files(tmp_path / "out")["/robots.txt"] == published(file)["/robots.txt"]


def test_the_day_alone_makes_nothing_stale(run, tmp_path, monkeypatch):
    run("build", "--out", str(tmp_path))
    before = (tmp_path / "robots.txt").read_bytes()
    assert b"# Generated 2026-11-23 by noai-guard" in before
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1924992000")
    assert "stale" not in run("build", "--out", str(tmp_path), "--check").stdout
    assert "wrote" not in run("build", "--out", str(tmp_path)).stdout
    assert (tmp_path / "robots.txt").read_bytes() == before
    run("build", "--out", str(tmp_path / "again"))
    assert b"# Generated 2031-01-01 by noai-guard" in (tmp_path / "again" / "robots.txt").read_bytes()
    for folder, day in (tmp_path, b"2026-11-23"), (tmp_path / "again", b"2031-01-01"):
        assert b"<time>" + day in (folder / ".well-known" / "noai").read_bytes()


def test_what_cannot_be_declared_is_said_by_build_and_by_check(run, write, tmp_path):
    file = write("site: {url: https://band.example}\npaths: {/a-?/**: {usages: {train-ai: yes}}}\n")
    built = run("build", "--out", str(tmp_path / "out"), "--policy", file).stderr
    checked = run("check", "--verbose", file).stdout
    for said in (
        "/a-?/** (paths) cannot be expressed in robots.txt",
        "AI2Bot",
        "Exabot is more than one",
        "set site.contact",
    ):
        assert said in built
        assert said in checked
    for note in CompiledPolicy(load_policy(file), load_catalog()).limitations:
        assert f"note: {note}\n" in built
        assert f"note: {note}\n" in checked
    assert '<meta name="tdm-policy" content="https://band.example/tdm-policy.json">' in built


def test_the_policy_is_what_is_written(run, write, tmp_path):
    file = write("extends: no-training\nsite: {policy_page: /ai/}\n")
    run("build", "--out", str(tmp_path / "out"), "--policy", file)
    assert files(tmp_path / "out")["/ai/index.html"] == published(file)["/ai/"]


def test_check_is_quiet_about_current_files_and_says_no_to_stale_ones(run, tmp_path):
    out = str(tmp_path / "public")
    assert run("build", "--out", out, "--check", code=1).stdout.count("stale") >= 2
    assert not (tmp_path / "public").exists()
    run("build", "--out", out)
    assert "stale" not in run("build", "--out", out, "--check").stdout
    (tmp_path / "public" / "robots.txt").write_text("User-agent: *\nAllow: /\n")
    (tmp_path / "public" / "license.xml").unlink()
    lines = run("build", "--out", out, "--check", code=1).stdout.splitlines()
    assert [line.split()[1].rpartition("/")[2] for line in lines if line.startswith("stale")] == [
        "license.xml", "robots.txt"]  # fmt: skip


def test_current_files_are_not_written_again(run, tmp_path):
    run("build", "--out", str(tmp_path))
    before = (tmp_path / "robots.txt").stat().st_mtime_ns
    assert "wrote" not in run("build", "--out", str(tmp_path)).stdout
    assert (tmp_path / "robots.txt").stat().st_mtime_ns == before


def test_the_sites_own_robots_txt_is_kept(run, tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("User-agent: *\nDisallow: /drafts/\n")
    result = run("build", "--out", str(tmp_path / "public"), "--merge", str(own))
    assert "is it the site's robots.txt?" not in result.stderr
    written = (tmp_path / "public" / "robots.txt").read_text()
    assert "Disallow: /drafts/" in written
    assert "User-agent: GPTBot" in written


OWN = "User-agent: *\nDisalow: /x\nAllow: /\nUser-agent: Foo\nCrawl-delay: 3\nUser-agent: Bar\nDisallow: /y\n"


def test_what_an_audit_would_say_against_robots_txt_is_said_before_it_is_published(run, tmp_path):
    assert "A1" not in run("build", "--out", str(tmp_path / "clean")).stderr
    own = tmp_path / "own.txt"
    own.write_text(OWN)
    options = ("--out", str(tmp_path / "public"), "--merge", str(own))
    said = run("build", *options).stderr
    file = tmp_path / "public" / "robots.txt"
    for code, line in (("A110", "User-agent: Foo"), ("A124", "Disalow: /x")):
        (finding,) = [each for each in said.splitlines() if f" {code} " in each]
        number = int(finding.removeprefix(f"{file}:").partition(":")[0])
        assert file.read_text().splitlines()[number - 1] == line
    assert "error: A110" in said
    assert "error: A110" in run("build", *options, "--check", code=1).stderr
    own.write_text(OWN.replace("Crawl-delay: 3", "Allow: /"))
    run("build", *options)
    assert "warning: A124" in run("build", *options, "--check").stderr


def test_files_are_readable_by_the_web_server(run, tmp_path):
    run("build", "--out", str(tmp_path))
    assert (tmp_path / "robots.txt").stat().st_mode & 0o044 == 0o044


def test_what_cannot_be_written_leaves_nothing_half(run, tmp_path):
    (tmp_path / ".well-known").write_text("in the way")
    assert "robots" not in run("build", "--out", str(tmp_path), code=2).stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == [".well-known"]


@pytest.mark.parametrize("page", ["/../../outside", "/a/../../outside", "/./x"])
def test_no_document_leaves_the_folder(tmp_path, page):
    from noai_guard.core.model import Document
    from noai_guard.responses.documents import document_file

    assert (tmp_path / document_file(Document(page, "text/html", b""))).resolve().is_relative_to(tmp_path.resolve())


def test_every_command_of_the_page_on_static_sites_works(run, tmp_path, monkeypatch):
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "static-site.md"
    monkeypatch.chdir(tmp_path)
    Path("noai.yaml").write_text("site: {url: https://music.example}\n")
    lines = [line.partition("#")[0] for line in "".join(blocks(page, "sh")).splitlines()]
    assert len(lines) >= 5
    for line in lines:
        run(*shlex.split(line)[1:])
    for row in re.findall(r"^\| (`.*?) \|", page.read_text(), re.MULTILINE):
        for name in re.findall("`([^`]*)`", row):
            assert (tmp_path / "public" / name).is_file(), name


@pytest.mark.parametrize("command", ["build", "config nginx", "config caddy", "config netlify"])
def test_a_line_of_the_site_that_was_overruled_is_named(run, tmp_path, command):
    own = tmp_path / "own.txt"
    own.write_text("User-agent: *\nContent-Signal: ai-train=yes\n")
    result = run(*command.split(), "--out", str(tmp_path / "public"), "--merge", str(own))
    assert (
        "own line `Content-Signal: ai-train=yes` grants what the policy reserves, so it was overruled" in result.stderr
    )


@pytest.mark.parametrize("command", ["build --out {out} --policy", "config nginx --out {out} --policy", "check"])
def test_a_policy_whose_refusals_are_too_long_for_robots_txt_is_a_problem(run, tmp_path, command):
    policy = tmp_path / "noai.yaml"
    sections = "".join(f"  /{'ж' * 190}{n}/**: {{usages: {{search: no}}}}\n" for n in range(500))
    policy.write_text(f"extends: no-training\npaths:\n{sections}", encoding="utf-8")
    result = run(*command.format(out=tmp_path / "public").split(), str(policy), code=1)
    assert "P024 what it refuses takes more than the 500 KiB of robots.txt that crawlers read" in result.output
    assert not (tmp_path / "public").exists()
