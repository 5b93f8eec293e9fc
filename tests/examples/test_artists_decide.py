"""One album opted out and another in by their artists: behind a real nginx, all follows as it does in the middleware."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from examples.demo.artists_site import (
    CLOSED,
    EXPECTED,
    GPTBOT,
    OPEN,
    REFUSAL,
    SEARCHBOT,
    ArtistsSite,
    fetched,
    paths_of,
    said,
)
from examples.demo.site import Site
from examples.music_site import label
from examples.music_site.label import Artist
from tests.servers import free_port, require
from tests.stores.shared_servers import wait_for
from tests.targets.web_servers import nginx, readable_folder, running

Asked = list[tuple[str, str]]
"""Path and User-Agent of requests."""


@dataclass
class BehindNginx:
    """The artists' site at `origin`, and an nginx with the generated configuration in front of it at `url`."""

    site: ArtistsSite
    origin: str
    url: str
    log: Path
    guard: Any
    asked: Asked = field(default_factory=list)
    """What has come through to the origin."""


def noted(app: Any, asked: Asked) -> Any:
    """Return an app that notes each request."""

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            asked.append((scope["path"], dict(scope["headers"]).get(b"user-agent", b"").decode("latin-1")))
        await app(scope, receive, send)

    return noting


@pytest.fixture(scope="module")
def behind() -> Iterator[BehindNginx]:
    require("sqlalchemy", "itsdangerous", "jinja2", "uvicorn", "cryptography")
    asked: Asked = []
    guards: list[Any] = []

    def create(_: Any, url: str) -> Any:
        guards.append(site.app(url))
        return noted(guards[0], asked)

    with readable_folder() as folder:
        (folder / "label").mkdir()
        site = ArtistsSite.begun(folder / "label")
        with Site(create, 0) as origin:
            site.link_of(CLOSED)(origin.url, "/wishes", method="PUT", data=REFUSAL)
            path = paths_of(label.by_artist(CLOSED)[0])[0]
            wait_for(lambda: fetched(origin.url + path, SEARCHBOT)[0] == 403)
            site.typed("config", "nginx", "--out", str(folder / "rendered"))
            port = free_port()
            command = nginx(folder, port, int(origin.url.rpartition(":")[2]))
            config, log = folder / "nginx.conf", folder / "access.log"
            config.write_text(config.read_text().replace("access_log off;", f"access_log {log} combined;"))
            with running(command, port, folder):
                asked.clear()
                yield BehindNginx(site, origin.url, f"http://127.0.0.1:{port}", log, guards[0], asked)
        guards[0].runtime.close()


@pytest.mark.parametrize("artist", EXPECTED, ids=lambda artist: artist.slug)
def test_nginx_says_and_does_what_the_middleware_does(behind: BehindNginx, artist: Artist) -> None:
    for work in label.by_artist(artist):
        assert said(behind.url, work) == {EXPECTED[artist]} == said(behind.origin, work)


def test_nginx_refuses_by_itself_and_lets_in_what_the_artist_allows(behind: BehindNginx) -> None:
    behind.asked.clear()
    closed, opened = (paths_of(label.by_artist(artist)[0])[0] for artist in (CLOSED, OPEN))
    assert [fetched(behind.url + path, GPTBOT)[0] for path in (closed, opened)] == [403, 200]
    assert behind.asked == [(opened, GPTBOT)]


def test_the_report_counts_what_came_through_and_a_replay_of_the_log_what_was_refused(behind: BehindNginx) -> None:
    require("polars")
    closed, opened = (label.by_artist(artist)[0] for artist in (CLOSED, OPEN))
    for work in (closed, opened):
        fetched(behind.url + paths_of(work)[0], GPTBOT)
    behind.guard.runtime.recorder.flush()
    report = json.loads(behind.site.typed("report", "--since", "2026-01", "--operator", "OpenAI", "--format", "json"))
    figures = {row["work"]: row for row in report["works"]}
    assert (figures[opened.slug]["refused"], figures[opened.slug]["works_got"]) == (0, 1)
    wait_for(lambda: behind.log.read_text().count(paths_of(closed)[0]))
    replayed = json.loads(behind.site.typed("replay", str(behind.log), "--format", "json"))
    (training,) = [group for group in replayed["refused"] if group["agent"] == "GPTBot"]
    assert training["requests"] == len(
        [line for line in behind.log.read_text().splitlines() if "GPTBot" in line and '" 403 ' in line]
    )
