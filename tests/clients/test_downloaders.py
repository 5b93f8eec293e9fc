"""Programs that fetch what a person tells them to: curl, wget, yt-dlp and Python's HTTP libraries."""

import sys
from pathlib import Path

import pytest

from tests.clients.programs import run
from tests.clients.site import AUDIO, FEED, TRACK, PlainSite, Site
from tests.servers import require

KEPT = 1_000_000
"""Bytes that were there before a download was resumed."""


@pytest.mark.client("curl")
def test_curl_downloads_a_recording(site: Site, plain: PlainSite, tmp_path: Path) -> None:
    run(tmp_path, "curl", "-sSfo", "song", site.url + AUDIO)
    assert (tmp_path / "song").read_bytes() == plain.body(AUDIO)


def test_curl_gets_the_part_it_asks_for(site: Site, plain: PlainSite, tmp_path: Path) -> None:
    run(tmp_path, "curl", "-sSf", "--range", "1000-1999", "-o", "part", site.url + AUDIO)
    assert (tmp_path / "part").read_bytes() == plain.body(AUDIO)[1000:2000]
    assert [each.status for each in site.asked()] == [206]


@pytest.mark.parametrize(
    ("program", "options"),
    [("curl", ("-sSf", "--continue-at", "-", "-o")), ("wget", ("--quiet", "--continue", "-O"))],
)
def test_a_download_that_broke_off_is_resumed(
    site: Site, plain: PlainSite, tmp_path: Path, program: str, options: tuple[str, ...]
) -> None:
    whole = plain.body(AUDIO)
    (tmp_path / "song").write_bytes(whole[:KEPT])
    run(tmp_path, program, *options, "song", site.url + AUDIO)
    assert (tmp_path / "song").read_bytes() == whole
    assert [(each.range, each.status) for each in site.asked()] == [(f"bytes={KEPT}-", 206)]


@pytest.mark.client("curl, as GPTBot")
def test_curl_that_says_it_is_gptbot_is_refused_and_told_so(site: Site, tmp_path: Path) -> None:
    assert "403" in run(tmp_path, "curl", "-sSf", "-A", "GPTBot/1.3", site.url + AUDIO, code=22)
    assert "GPTBot" in run(tmp_path, "curl", "-sS", "-A", "GPTBot/1.3", site.url + AUDIO)


def test_who_is_refused_may_read_every_declaration(site: Site, tmp_path: Path) -> None:
    for document in site.front.documents:
        assert run(tmp_path, "curl", "-sSf", "-A", "GPTBot/1.3", site.url + document)


@pytest.mark.one_door
@pytest.mark.client("yt-dlp")
def test_yt_dlp_finds_and_fetches_the_recording_of_a_page(site: Site, plain: PlainSite, tmp_path: Path) -> None:
    require("yt_dlp")
    fetch = (sys.executable, "-m", "yt_dlp", "--ignore-config", "--no-cache-dir", "--quiet", "--no-progress")
    run(tmp_path, *fetch, "--playlist-items", "1", "-o", "song.%(ext)s", site.url + TRACK)
    assert (tmp_path / "song.wav").read_bytes() == plain.body(AUDIO)


@pytest.mark.one_door
@pytest.mark.client("yt-dlp, as ClaudeBot")
def test_yt_dlp_that_says_it_is_claudebot_is_refused(site: Site, tmp_path: Path) -> None:
    require("yt_dlp")
    fetch = (sys.executable, "-m", "yt_dlp", "--ignore-config", "--no-cache-dir", "--quiet", "--no-progress")
    run(tmp_path, *fetch, "--user-agent", "ClaudeBot/1.0", "-o", "song.%(ext)s", site.url + AUDIO, code=1)
    assert list(tmp_path.glob("song*")) == []


_LIBRARIES = {
    "urllib (Python)": ("urllib", "import urllib.request as u; body = u.urlopen(url).read()"),
    "Requests (Python)": ("requests", "import requests; body = requests.get(url).content"),
    "HTTPX (Python)": ("httpx", "import httpx; body = httpx.get(url).content"),
    "aiohttp (Python)": (
        "aiohttp",
        """
import aiohttp, asyncio

async def get():
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.read()

body = asyncio.run(get())""",
    ),
}


@pytest.mark.one_door
@pytest.mark.parametrize("library", [pytest.param(name, marks=pytest.mark.client(name)) for name in _LIBRARIES])
def test_a_library_of_python_gets_recording_and_feed(
    site: Site, plain: PlainSite, tmp_path: Path, library: str
) -> None:
    module, code = _LIBRARIES[library]
    require(module)
    for target in (AUDIO, FEED):
        script = f"url = {site.url + target!r}\n{code}\nopen('got', 'wb').write(body)"
        run(tmp_path, sys.executable, "-c", script)
        assert (tmp_path / "got").read_bytes() == plain.body(target)
