"""The music site behind each front door, for the clients to visit."""

import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

import pytest

from tests.clients import page
from tests.clients.front_doors import FRONT_DOORS, serve
from tests.clients.site import Asked, PlainSite, Site
from tests.servers import Server

HUNG_UP = 499
"""Status that nginx logs when the client disconnected before there was an answer."""

_PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Store whether the test passed: of a client that is missing or failed there is nothing to compare."""
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests marked `one_door` behind all front doors but the first, unless NOAI_FULL=1."""
    if os.environ.get("NOAI_FULL") != "1":
        others = [
            item for item in items if item.get_closest_marker("one_door") and _door(item) != next(iter(FRONT_DOORS))
        ]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


def _door(item: pytest.Item) -> str:
    assert isinstance(item, pytest.Function)
    return str(item.callspec.params["guarded_site"])


@pytest.fixture(scope="session", params=FRONT_DOORS)
def guarded_site(
    request: pytest.FixtureRequest, server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with FRONT_DOORS[request.param](server, tmp_path_factory.mktemp(request.param)) as site:
        yield site


@pytest.fixture(scope="session")
def plain(guarded_site: Site, server: Callable[..., Server]) -> PlainSite:
    """The guarded site's content without the guard."""
    started = serve(server, "plain", SITE_URL=guarded_site.url)
    return PlainSite(f"http://127.0.0.1:{started.port}")


@pytest.fixture
def site(request: pytest.FixtureRequest, guarded_site: Site) -> Iterator[Site]:
    """Yield the guarded site; afterwards, check every request of the test against the policy and its table row."""
    guarded_site.asked()  # whatever came before is written down now
    site = replace(guarded_site, begin=guarded_site.log.stat().st_size)
    yield site
    if not request.node.stash.get(_PASSED, False):
        return
    asked = site.asked()
    assert [each for each in asked if not _as_the_policy_says(site, each)] == []
    for mark in request.node.iter_markers("client") if site.sees_refused else ():
        (client,) = mark.args
        said = page.described().get(client, page.NOTHING_SAID)
        seen = page.seen(site, asked, said[0])
        assert said == seen, f"{page.PAGE.name} should say | {client} | VERSION | {' | '.join(seen)} |"


def _as_the_policy_says(site: Site, asked: Asked) -> bool:
    if asked.status == HUNG_UP:
        return True
    if site.is_document(asked):
        return asked.status in (200, 304)
    if site.verdict(asked).refuses:
        return asked.status == 403
    return asked.status in (200, 206, 304)
