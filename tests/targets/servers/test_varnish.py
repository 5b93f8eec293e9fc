"""Varnish: cached pages are refused too, and refusals are not cached."""

from collections.abc import Iterator

import pytest

from tests.targets.conformance import BROWSER, NO_AI, fetch
from tests.targets.web_servers import origin, plan_of, readable_folder, serving


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with (
        readable_folder() as behind,
        readable_folder() as folder,
        origin(behind) as origin_port,
        serving("varnish", plan_of(NO_AI), folder, origin_port) as port,
    ):
        yield port


def test_a_cached_page_is_refused_too_and_a_refusal_is_not_cached(port: int) -> None:
    assert fetch(port, "/tracks/song.mp3", b"GPTBot/1.2").status == 403
    assert [fetch(port, "/tracks/song.mp3", BROWSER).status for _ in range(2)] == [200, 200]
    assert fetch(port, "/tracks/song.mp3", b"GPTBot/1.2").status == 403
    assert fetch(port, "/tracks/song.mp3", BROWSER).status == 200


def test_people_share_one_cached_page(port: int) -> None:
    fetch(port, "/press/", BROWSER)
    ages = [
        fetch(port, "/press/", user_agent).values("x-varnish")[0].split()
        for user_agent in (BROWSER, b"VLC/3.0.24", b"")
    ]
    assert all(len(numbers) == 2 for numbers in ages)


def test_added_headers_are_not_cached(port: int) -> None:
    first, second = (fetch(port, "/tracks/", BROWSER) for _ in range(2))
    assert first.values("x-robots-tag") == second.values("x-robots-tag") == ["noai, noimageai, noarchive, noml"]
