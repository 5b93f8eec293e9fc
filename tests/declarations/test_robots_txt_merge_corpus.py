"""Merging with thousands of real robots.txt files, which Protego's own tests are made of (4,200 sites).

They are fetched as that package's source at test time and never kept here. Every 20th is taken; all with NOAI_FULL=1.
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
from tests.declarations.test_robots_merge import (
    CLOSED,
    LET_IN,
    OURS,
    PATHS,
    REFUSED,
    merge,
    names_in,
    paths_in,
    said_by,
)

from noai_guard.core.policy import PathPolicy
from tests.declarations.declaration_readers import ProtegoReader, google_fork_allows

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
        return [(Path(member.name).name, archive.extractfile(member).read()) for member in files]


def random_paths(chance: random.Random, known: list[str]) -> list[str]:
    """Paths that begin as a rule of the file does and go on anyhow, and paths of nothing in particular."""
    letters = "abz/._-~?=&*$%:é "
    ends = ["".join(chance.choices(letters, k=chance.randrange(8))) for _ in range(6)]
    return [quote(f"{chance.choice([*known, '/'])}{end}", safe="/?=&*$%:") for end in ends]


def tried(name: str, existing: bytes) -> tuple[list[str], list[str]]:
    """Names and paths to ask a file about."""
    chance = random.Random(name)
    known = paths_in(existing)
    names = [*chance.sample(LET_IN, 3), "Googlebot", *names_in(existing)[:4]]
    return list(dict.fromkeys(names)), [*chance.sample(PATHS, 3), *known[:6], *random_paths(chance, known)]


def test_no_crawler_that_is_not_refused_reads_another_answer(corpus) -> None:
    assert len(corpus) > (4000 if FULL else 200)
    for name, existing in corpus:
        merged = merge(existing, OURS)
        names, paths = tried(name, existing)
        for agent in names:
            for path in paths:
                before, after = (google_fork_allows(robots, agent, path) for robots in (existing, merged))
                assert after is before, (name, agent, path)


def test_scrapys_parser_agrees(corpus) -> None:
    for name, existing in corpus[::4]:
        before, after = ProtegoReader(existing), ProtegoReader(merge(existing, OURS))
        assert after.sitemaps == before.sitemaps
        names, paths = tried(name, existing)
        for agent in names:
            for path in paths:
                assert after.allows(agent, path) is before.allows(agent, path), (name, agent, path)


def test_every_refused_crawler_reads_no_and_may_read_why(corpus) -> None:
    for name, existing in corpus:
        merged = merge(existing, OURS)
        for agent in REFUSED:
            assert not google_fork_allows(merged, agent, "/a/b.mp3"), name
            assert google_fork_allows(merged, agent, "/.well-known/tdmrep.json"), name


def test_merging_again_changes_nothing(corpus) -> None:
    for _, existing in corpus:
        merged = merge(existing, OURS)
        assert merge(merged, OURS) == merged


def test_a_section_closed_to_search_engines_changes_nothing_elsewhere(corpus) -> None:
    said = said_by(PathPolicy("/noai-guard-private/**", CLOSED))
    for name, existing in corpus[::2]:
        merged = merge(existing, said)
        _, paths = tried(name, existing)
        for agent in ("Googlebot", "Bingbot"):
            assert not google_fork_allows(merged, agent, "/noai-guard-private/a")
            for path in paths:
                before, after = (google_fork_allows(robots, agent, path) for robots in (existing, merged))
                assert after is before, (name, agent, path)
