"""Varnish: the cache neither lets anybody past the judge nor keeps a refusal."""

from collections.abc import Iterator

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from tests.targets.conformance import ask
from tests.targets.web_servers import edge, origin, readable_folder

BROWSER = b"Mozilla/5.0 (X11; Linux x86_64; rv:154.0) Gecko/20100101 Firefox/154.0"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    compiled = CompiledPolicy(load_stance("no-ai"), load_catalog())
    with (
        readable_folder() as behind,
        readable_folder() as folder,
        origin(behind) as origin_port,
        edge("varnish", compiled, folder, origin_port) as port,
    ):
        yield port


def test_a_stored_page_is_refused_too_and_a_refusal_is_not_stored(port: int) -> None:
    assert ask(port, "/tracks/song.mp3", b"GPTBot/1.2").status == 403
    assert [ask(port, "/tracks/song.mp3", BROWSER).status for _ in range(2)] == [200, 200]
    assert ask(port, "/tracks/song.mp3", b"GPTBot/1.2").status == 403
    assert ask(port, "/tracks/song.mp3", BROWSER).status == 200


def test_people_share_one_stored_page(port: int) -> None:
    ask(port, "/press/", BROWSER)
    ages = [
        ask(port, "/press/", user_agent).all("x-varnish")[0].split() for user_agent in (BROWSER, b"VLC/3.0.24", b"")
    ]
    assert all(len(numbers) == 2 for numbers in ages)


def test_our_headers_are_not_stored(port: int) -> None:
    first, second = (ask(port, "/tracks/", BROWSER) for _ in range(2))
    assert first.all("x-robots-tag") == second.all("x-robots-tag") == ["noai, noimageai, noarchive, noml"]
