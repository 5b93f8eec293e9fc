"""Every standard has a page about its forms, readers, limits and switch."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_policy
from noai_guard.declarations import STANDARDS
from tests.test_docs import blocks

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "standards"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page.name != "README.md")
SWITCHES = [standard.key for standard in STANDARDS] + ["noarchive", "noml"]
POLICY = "site: {url: https://music.example, owner: Example Records, contact: rights@music.example}\n"


@pytest.mark.parametrize("key", SWITCHES)
def test_every_standard_has_a_page_with_its_switch(key: str) -> None:
    ends = [page.read_text().partition("## Switch it")[2] for page in PAGES]
    assert [end for end in ends if re.search(rf"\{{{key}: (no|yes|off)\}}", end)]
    reference = (FOLDER.parent / "reference" / "declarations.md").read_text()
    assert re.search(rf"`{key}`[^|]*\]\(\.\./standards/", reference)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_has_the_same_sections(page: Path) -> None:
    headings = re.findall("^## (.*)$", page.read_text(), re.MULTILINE)
    assert re.match("What (we send|an app sends|is written)$", headings[0])
    assert [heading for heading in headings if heading in ("Who honours it", "Limits")] == ["Who honours it", "Limits"]
    assert re.match("Switch it (off|on)$", headings[-1])
    assert f"]({page.name})" in (FOLDER / "README.md").read_text()


def test_the_python_of_the_pages_runs(tmp_path: Path) -> None:
    (tmp_path / "noai.yaml").write_text(POLICY)
    for page in PAGES:
        for code in blocks(page, "py"):
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True
            )
            assert done.returncode == 0, (page.name, done.stderr)


def test_the_examples_of_the_pages_are_what_is_sent(tmp_path: Path) -> None:
    (tmp_path / "noai.yaml").write_text(POLICY)
    compiled = CompiledPolicy(load_policy(tmp_path / "noai.yaml"), load_catalog())
    fields = [f"{name.decode().title()}: {value.decode()}" for name, value in compiled.site_declared.fields]
    for line in "".join(blocks(FOLDER / "noai.md", "text")).splitlines():
        assert line in fields
    for tags in blocks(FOLDER / "noai.md", "html"):
        assert tags.strip() in compiled.site_declared.tags.decode()
    robots = compiled.documents["/robots.txt"].body.decode()
    for line in "".join(blocks(FOLDER / "robots-txt.md", "text")).splitlines():
        assert line.startswith("# Generated") or f"{line}\n" in robots
