"""A band that has neither a database nor a spreadsheet: what the how-to says, typed as it stands there, in a browser."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from urllib.request import Request, urlopen

import pytest

from tests.clients.chromium import chromium
from tests.creators.test_in_chromium import Page
from tests.servers import free_port, require
from tests.stores.shared_servers import wait_for

HOW_TO = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "creators-page.md").read_text(encoding="utf-8")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def block(language: str, words: str) -> str:
    """Return the block of code in the how-to that holds some words."""
    (found,) = (code for code in re.findall(rf"```{language}\n(.*?)```", HOW_TO, re.DOTALL) if words in code)
    return dedent(found)


def command(line: str, **replaced: str) -> list[str]:
    name, *arguments = shlex.split(line)
    assert name == "noai-guard"
    return [sys.executable, "-m", "noai_guard", *(replaced.get(each, each) for each in arguments)]


def typed(folder: Path, line: str) -> str:
    done = subprocess.run(
        command(line), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def served(folder: Path, line: str, port: int) -> Iterator[None]:
    with subprocess.Popen(
        command(line, **{"127.0.0.1:8090": f"127.0.0.1:{port}"}),
        cwd=folder,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            next(each for each in process.stderr if "the creators' page at" in each)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    require("sqlalchemy", "itsdangerous", "jinja2", "uvicorn")
    (tmp_path / "noai.yaml").write_text(block("text", "wishes: sqlite"), encoding="utf-8")
    return tmp_path


def action(folder: Path, work: str) -> tuple[str, str]:
    """Return what a training crawler gets for a work, and by which rule."""
    explained = typed(folder, f"noai-guard explain --ua GPTBot/1.3 --path /audio/{work}.mp3 --format json")
    facts = json.loads(explained)
    return facts["action"], facts["rule"]


@pytest.mark.thorough
def test_a_band_says_no_by_a_link_and_the_guard_follows(folder: Path, tmp_path: Path) -> None:
    policy = folder / "noai.yaml"
    policy.write_text(policy.read_text() + "usages: {train-ai: yes}\n", encoding="utf-8")
    link = typed(folder, block("sh", "creators invite").strip()).strip()
    assert link.startswith("https://music.example/creators/open?t=")
    assert action(folder, "harbour-lights") == ("allow", "train-ai")
    port = free_port()
    with served(folder, block("sh", "creators serve").strip(), port), chromium(tmp_path / "home") as tab:
        page = Page(tab, port, None, link.partition("t=")[2])  # type: ignore[arg-type]
        page.sign_in()
        page.tab_to("Say no to every AI use")
        page.press("Enter")
        wait_for(lambda: "Saved." in str(page.value_of("document.body.textContent")))
    assert action(folder, "harbour-lights") == ("deny", "wish")
    assert action(folder, "not-theirs") == ("allow", "train-ai")
    assert "Night Ferry\t2\t1 until" in typed(folder, "noai-guard creators list")


def test_the_spreadsheet_of_the_how_to_is_imported_and_exported(folder: Path) -> None:
    (folder / "catalogue.csv").write_text(block("text", "work,isrc"), encoding="utf-8")
    for line in block("sh", "creators import").strip().splitlines():
        typed(folder, line)
    rows = (folder / "catalogue-now.csv").read_text(encoding="utf-8").splitlines()
    assert rows[1:] == [
        "harbour-lights,DEA122600001,Night Ferry,Harbour Lights,disallow,,,,,",
        "slow-tide,DEA122600002,Night Ferry,Slow Tide,,disallow,,,,",
    ]


@pytest.mark.parametrize("line", re.findall(r"\| `(noai-guard creators [^`]+)`", HOW_TO))
def test_every_command_in_the_table_does_what_it_says(folder: Path, line: str) -> None:
    for _ in range(2 if "revoke" in line else 0):
        typed(folder, "noai-guard creators invite 'Night Ferry'")
    typed(folder, line)


def test_the_api_is_spoken_to_as_the_how_to_says(folder: Path) -> None:
    token = typed(folder, "noai-guard creators invite 'Night Ferry' --work harbour-lights").strip().partition("t=")[2]
    (body,) = re.findall(r"-d '(\{.*\})'", HOW_TO)
    port = free_port()
    with served(folder, "noai-guard creators serve --listen 127.0.0.1:8090", port):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        address = f"http://127.0.0.1:{port}/api/wishes"
        with urlopen(Request(address, body.encode(), headers, method="PUT"), timeout=20) as response:
            assert json.load(response)["usages"]["train-ai"]["choice"] == "disallow"


def test_texts_in_another_language_are_taken_and_a_mistake_in_them_is_named(folder: Path) -> None:
    texts = folder / "texts.yaml"
    texts.write_text(block("text", "lang: de"), encoding="utf-8")
    port = free_port()
    with served(folder, "noai-guard creators serve --listen 127.0.0.1:8090 --texts texts.yaml", port):
        pass
    texts.write_text("lang: de\nnav_work: Meine Werke\nyou: Hallo\n", encoding="utf-8")
    line = command("noai-guard creators serve --texts texts.yaml")
    done = subprocess.run(line, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert re.findall(r"^texts\.yaml:(\d+):\d+: P\d+ ", done.stderr, re.MULTILINE) == ["2", "3"]
