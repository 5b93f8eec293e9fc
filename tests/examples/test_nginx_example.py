"""The three commands of the README give a static site that declares, refuses GPTBot and plays in a browser."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.clients.chromium import chromium
from tests.clients.test_browsers import PLAYS_AND_SEEKS
from tests.servers import free_port, require_program
from tests.targets.web_servers import readable_folder

ROOT = Path(__file__).resolve().parents[2]
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:154.0) Gecko/20100101 Firefox/154.0"


def commands() -> list[list[str]]:
    block = re.search(
        r"^```sh\n(noai-guard config nginx --out examples.*?)```",
        (ROOT / "README.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )
    assert block is not None
    return [line.partition("#")[0].split() for line in block[1].splitlines()]


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Yield the address of the example, started as the README does, in a copy of the folder and on another port."""
    program = require_program("nginx")
    port = free_port()
    with readable_folder() as folder:
        example = folder / "examples" / "nginx"
        shutil.copytree(ROOT / "examples" / "nginx", example, ignore=shutil.ignore_patterns("conf.d", "temp", "*.pid"))
        config = example / "nginx.conf"
        config.write_text(config.read_text().replace("8088", str(port)))
        (_, *build), nginx = commands()
        subprocess.run([sys.executable, "-m", "noai_guard", *build], cwd=folder, check=True, capture_output=True)
        nginx[0] = program
        subprocess.run(nginx, cwd=folder, check=True)
        yield f"http://127.0.0.1:{port}"
        subprocess.run([*nginx, "-s", "stop"], cwd=folder, check=True)


def fetched(url: str, user_agent: str) -> tuple[int, list[tuple[str, str]], bytes]:
    try:
        with urlopen(Request(url, headers={"User-Agent": user_agent}), timeout=20) as answer:
            return answer.status, answer.getheaders(), answer.read()
    except HTTPError as error:
        return error.code, list(error.headers.items()), error.read()


def test_gptbot_is_refused_and_told_why(site: str) -> None:
    status, headers, body = fetched(f"{site}/quay.mp3", "gptbot/1.3")
    assert status == 403
    assert body.startswith(b"GPTBot (OpenAI) is not allowed to fetch this to train AI")
    assert ("Cache-Control", "no-store") in headers


def test_the_song_declares_in_its_headers(site: str) -> None:
    status, headers, body = fetched(f"{site}/quay.mp3", BROWSER)
    assert status == 200
    assert body == (ROOT / "examples" / "nginx" / "site" / "quay.mp3").read_bytes()
    said = {name for name, value in headers if "no" in value or "=n" in value or value == "1" or "rsl" in value}
    assert said >= {"X-Robots-Tag", "Content-Usage", "Content-Signal", "Tdm-Reservation"}


@pytest.mark.parametrize("path", ["/robots.txt", "/license.xml", "/.well-known/tdmrep.json", "/.well-known/noai"])
def test_everybody_may_read_what_the_site_says(site: str, path: str) -> None:
    assert fetched(site + path, "GPTBot/1.3")[0] == fetched(site + path, BROWSER)[0] == 200


def test_a_browser_plays_the_song(site: str, tmp_path: Path) -> None:
    with chromium(tmp_path) as tab:
        tab.open(f"{site}/")
        heard = tab.evaluate(PLAYS_AND_SEEKS.replace("currentTime = 20", "currentTime = 2"))
    assert heard["sought"] == 2
    assert heard["played"] > 0
