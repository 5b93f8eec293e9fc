"""The music site behind each front door, for the clients to visit."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from noai_guard.front import Front
from noai_guard.loading import load_catalog, load_policy
from tests.clients import page
from tests.clients.music_site import POLICY
from tests.clients.site import Asked, PlainSite, Site, fetched
from tests.servers import Server, free_port

_ROOT = Path(__file__).parents[2]

StartServer = Callable[..., Server]


def _middleware(server: StartServer, log: Path) -> str:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server(
        "uvicorn-httptools", "tests.clients.music_site:guarded", _ROOT,
        port=port, options=("--factory",), env={"SITE_URL": url, "ASKED": str(log)},
    )  # fmt: skip
    return url


_FRONT_DOORS: dict[str, Callable[[StartServer, Path], str]] = {"middleware": _middleware}
"""Ways to put the guard before the site: each starts it and returns its address."""


@pytest.fixture(scope="session", params=_FRONT_DOORS)
def guarded_site(request: pytest.FixtureRequest, server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Site:
    log = tmp_path_factory.mktemp(request.param) / "asked"
    url = _FRONT_DOORS[request.param](server, log)
    robots = fetched(url, "/robots.txt").body.decode()
    return Site(url, Front(load_policy(POLICY), load_catalog()), robots, log, 0)


@pytest.fixture(scope="session")
def plain(guarded_site: Site, server: StartServer) -> PlainSite:
    """The guarded site's content without the guard."""
    started = server(
        "uvicorn-httptools", "tests.clients.music_site:plain", _ROOT,
        options=("--factory",), env={"SITE_URL": guarded_site.url},
    )  # fmt: skip
    return PlainSite(f"http://127.0.0.1:{started.port}")


@pytest.fixture
def site(request: pytest.FixtureRequest, guarded_site: Site) -> Iterator[Site]:
    """The guarded site as this test's client finds it. Whatever it asked for was answered as the policy says."""
    site = replace(guarded_site, begin=guarded_site.log.stat().st_size)
    yield site
    asked = site.asked()
    assert [each for each in asked if not _as_the_policy_says(site, each)] == []
    for mark in request.node.iter_markers("client"):
        (client,) = mark.args
        said = page.described().get(client, page.NOTHING_SAID)
        seen = page.seen(site, asked, said[0])
        assert said == seen, f"{page.PAGE.name} should say | {client} | VERSION | {' | '.join(seen)} |"


def _as_the_policy_says(site: Site, asked: Asked) -> bool:
    if site.is_document(asked):
        return asked.status in (200, 304)
    if site.verdict(asked).refuses:
        return asked.status == 403
    return asked.status in (200, 206, 304)
