"""A label with a spreadsheet, a platform with a function, a band with the page: what the how-to says, as it stands there."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.examples.test_creators_page import ENVIRONMENT, command, typed
from tests.middleware import asgi_kit
from tests.servers import require

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "creators-wishes.md"
REFUSED = ["deny", "wish"]


def block(kind: str, language: str) -> str:
    """Return the first block of code in a language in the section for a kind of site."""
    (section,) = re.findall(rf"\n## {kind}\n(.*?)(?=\n## )", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the policy of the how-to, in which the site lets AI train, and the label's spreadsheet."""
    (tmp_path / "noai.yaml").write_text(block("Which paths are a work", "yaml") + "usages: {train-ai: yes}\n")
    (tmp_path / "catalogue.csv").write_text(block("A label with a spreadsheet", "text"))
    return tmp_path


def add(folder: Path, lines: str) -> None:
    with (folder / "noai.yaml").open("a") as policy:
        policy.write(lines)


def explained(folder: Path, line: str) -> list[str]:
    facts = json.loads(typed(folder, f"{line} --format json"))
    return [facts["action"], facts["rule"]]


def test_a_label_saves_its_spreadsheet(folder: Path) -> None:
    (named,) = re.findall(r"and name it in the policy:\n\n```text\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    add(folder, named)
    check, explain = re.findall(r"^\$ (.*)$", block("A label with a spreadsheet", "console"), re.MULTILINE)
    assert "Creators: wishes for 3 works" in typed(folder, check)
    assert explained(folder, explain) == REFUSED
    assert explained(folder, explain.replace("tide", "foam")) == ["allow", "train-ai"]
    catalogue = folder / "catalogue.csv"
    catalogue.write_text(catalogue.read_text().replace("disallow", "perhaps"))
    line = command(check)
    done = subprocess.run(line, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert [line in done.stdout + done.stderr for line in ("catalogue.csv:2", "catalogue.csv:3")] == [True, True]


def test_a_platform_gives_a_function(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(block("A platform with a function", "python"), names)
    guard = names["app"]
    guard.app = asgi_kit.answering()
    statuses = [
        asgi_kit.ask(guard, asgi_kit.http(f"/audio/{work}.mp3", asgi_kit.SCRAPER)).status for work in ("tide", "foam")
    ]
    assert statuses == [403, 200]
    guard.runtime.close()


def test_a_band_gets_links_to_the_page(folder: Path) -> None:
    require("sqlalchemy", "itsdangerous", "jinja2")
    add(folder, block("A band with the page for creators", "text"))
    *steps, explain = block("A band with the page for creators", "sh").splitlines()
    printed = [typed(folder, step) for step in steps]
    assert "/creators/open?t=" in printed[0]
    assert explained(folder, explain) == REFUSED
