"""Merging with thousands of real robots.txt files: those of Protego's own tests (4,200 sites).

They are downloaded with the source of that package at test time and never kept here. Every 20th is used; all with
NOAI_FULL=1.
"""

import os
import random
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

import pytest

from noai_guard.core.model import PathPolicy
from noai_guard.declarations.robots_txt import merge
from tests.declarations.declaration_readers import ProtegoReader, google_fork_allows
from tests.declarations.test_robots_txt_merge import (
    ALLOWED,
    CLOSED,
    OURS,
    PATHS,
    REFUSED,
    groups_of,
    names_in,
    paths_in,
)

pytestmark = pytest.mark.thorough

FULL = os.environ.get("NOAI_FULL") == "1"


@pytest.fixture(scope="session")
def corpus(request: pytest.FixtureRequest) -> list[tuple[str, bytes]]:
    folder = Path(request.config.cache.mkdir("protego"))
    package = f"protego=={version('protego')}"
    if not list(folder.glob("*.tar.gz")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
        done = subprocess.run(
            [*command, "--no-build-isolation", f"--dest={folder}", package], capture_output=True, text=True
        )
        if done.returncode:
            (pytest.fail if os.environ.get("NOAI_REQUIRE") == "all" else pytest.skip)(
                f"{package}: {done.stderr[-500:]}"
            )
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        members = [member for member in archive.getmembers() if "/test_data/" in member.name and member.isfile()]
        files = sorted(members, key=lambda member: member.name)[:: 1 if FULL else 20]
        return [(Path(member.name).name, content(archive, member)) for member in files]


def content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def random_paths(chance: random.Random, known: list[str]) -> list[str]:
    """Paths that begin like a rule of the file and continue at random, and random paths."""
    letters = "abz/._-~?=&*$%:é "
    ends = ["".join(chance.choices(letters, k=chance.randrange(8))) for _ in range(6)]
    return [quote(f"{chance.choice([*known, '/'])}{end}", safe="/?=&*$%:") for end in ends]


def names_and_paths(name: str, existing: bytes) -> tuple[list[str], list[str]]:
    """Names of crawlers and paths to test a file with."""
    chance = random.Random(name)
    known = paths_in(existing)
    names = [*chance.sample(ALLOWED, 3), "Googlebot", *names_in(existing)[:4]]
    return list(dict.fromkeys(names)), [*chance.sample(PATHS, 3), *known[:6], *random_paths(chance, known)]


def test_crawlers_that_are_not_refused_may_fetch_what_they_could_before(corpus: list[tuple[str, bytes]]) -> None:
    assert len(corpus) > (4000 if FULL else 200)
    for name, existing in corpus:
        merged = merge(existing, OURS)
        names, paths = names_and_paths(name, existing)
        for agent in names:
            for path in paths:
                before, after = (google_fork_allows(robots, agent, path) for robots in (existing, merged))
                assert after is before, (name, agent, path)


def test_scrapys_parser_agrees(corpus: list[tuple[str, bytes]]) -> None:
    for name, existing in corpus[::4]:
        before, after = ProtegoReader(existing), ProtegoReader(merge(existing, OURS))
        assert after.sitemaps == before.sitemaps
        names, paths = names_and_paths(name, existing)
        for agent in names:
            for path in paths:
                assert after.allows(agent, path) is before.allows(agent, path), (name, agent, path)


def test_refused_crawlers_may_fetch_only_the_documents(corpus: list[tuple[str, bytes]]) -> None:
    for name, existing in corpus:
        merged = merge(existing, OURS)
        for agent in REFUSED:
            assert not google_fork_allows(merged, agent, "/a/b.mp3"), name
            assert google_fork_allows(merged, agent, "/.well-known/tdmrep.json"), name


def test_merging_again_changes_nothing(corpus: list[tuple[str, bytes]]) -> None:
    for _, existing in corpus:
        merged = merge(existing, OURS)
        assert merge(merged, OURS) == merged


def test_a_path_closed_to_search_engines_changes_nothing_elsewhere(corpus: list[tuple[str, bytes]]) -> None:
    groups = groups_of(PathPolicy("/noai-guard-private/**", CLOSED))
    for name, existing in corpus[::2]:
        merged = merge(existing, groups)
        _, paths = names_and_paths(name, existing)
        for agent in ("Googlebot", "Bingbot"):
            assert not google_fork_allows(merged, agent, "/noai-guard-private/a")
            for path in paths:
                before, after = (google_fork_allows(robots, agent, path) for robots in (existing, merged))
                assert after is before, (name, agent, path)
