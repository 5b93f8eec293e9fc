"""Servers that know no works carry out what creators wish for a few of them, as the guard does; for more than that they
refuse what any creator refuses, and say so."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog
from noai_guard.core.model import Usage
from noai_guard.core.policy import Creators, Policy
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.wishes import WISHED_USAGES, Choice, WorkWishes
from noai_guard.gateway.proxies.proxy import GatewaySetup
from noai_guard.socket_address import SocketAddress
from noai_guard.targets import TARGETS
from noai_guard.targets.plan import MAX_WORKS, TargetPlan
from noai_guard.targets.target import Feature
from tests.targets.conformance import BROWSER, GPTBOT, fetch, policy
from tests.targets.web_servers import SERVERS, RunningServer, disagreements, started

NO, YES = Choice.DISALLOW, Choice.ALLOW
TEXT = b"""
extends: no-training
usages: {train-ai: yes, data-broker: yes, scraper: yes}
site: {url: "https://music.example"}
paths: {/press/**: {usages: {train-ai: no}}}
rules:
  - {id: welcome, agents: [ClaudeBot], action: allow}
  - {id: gone, agents: [Bytespider], paths: [/audio/**], action: deny}
works: ["/audio/{work}.mp3", "/hls/{work}/**", "/press/{work}"]
creators: decide
"""
WISHES = {
    "tide": {Usage.TRAIN_AI: NO},
    "foam": {Usage.AI_SEARCH: NO, Usage.AI_INPUT: NO},
    "ebb": dict.fromkeys(WISHED_USAGES, YES),
}
PATHS = ("/audio/tide.mp3", "/AUDIO/TIDE.MP3", "/audio/foam.mp3", "/audio/ebb.mp3", "/audio/other.mp3", "/hls/tide/1.ts",
         "/hls/tide", "/hls/foam/a/b.ts", "/press/tide", "/press/ebb", "/press/other", "/", "/audio/tide.mp3?x=1")  # fmt: skip
AGENTS = (
    GPTBOT,
    b"ClaudeBot/1.0",
    b"OAI-SearchBot/1.0",
    b"Bytespider",
    b"PerplexityBot/1.0",
    b"Googlebot/2.1",
    BROWSER,
)


def wished(wishes: dict[str, dict[Usage, Choice]]) -> Policy:
    index = WishIndex(WorkWishes(work, choices) for work, choices in wishes.items())
    return replace(policy(TEXT), creators=Creators(decide=True, index=index))


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, origin_port: int) -> Iterator[RunningServer]:
    yield from started(request.param, wished(WISHES), origin_port)


def test_a_few_works_are_refused_and_declared_as_by_the_guard(server: RunningServer) -> None:
    if not server.supports(Feature.PATHS):
        pytest.skip(f"{server.key} cannot match paths")
    seen = {"/audio/tide.mp3?x=1": "/audio/tide.mp3"}
    assert not disagreements(server, list(product(PATHS, AGENTS)), seen)
    # Traefik has one set of header lines for the whole site, as its limitations say.
    declared = (
        ()
        if server.key == "traefik"
        else (("/audio/tide.mp3", ["1"]), ("/hls/tide/1.ts", ["1"]), ("/press/other", ["1"]))
    )
    for path, reserved in declared:
        assert fetch(server.port, path, BROWSER).values("tdm-reservation") == reserved, path


def test_a_few_works_and_what_comes_later_are_spoken_of() -> None:
    plan = TargetPlan(CompiledPolicy(wished(WISHES), load_catalog()))
    assert [note for note in TARGETS["nginx"].limitations(plan) if "those of today" in note]
    without = TargetPlan(CompiledPolicy(policy(TEXT), load_catalog()))
    assert not [note for note in TARGETS["nginx"].limitations(without) if "wishes" in note]


def test_of_more_works_everything_is_refused_that_any_creator_refuses() -> None:
    many = {f"song-{number}": {Usage.TRAIN_AI: NO} for number in range(MAX_WORKS + 1)}
    plan = TargetPlan(CompiledPolicy(wished(many), load_catalog()))
    assert [note for note in TARGETS["nginx"].limitations(plan) if f"{MAX_WORKS} works at most" in note]
    judge = plan.compiled.guard
    for path in ("/audio/song-50.mp3", "/audio/other.mp3", "/hls/song-50/1.ts"):
        assert judge.judged(path, GPTBOT).refuses
    assert not judge.judged("/elsewhere", GPTBOT).refuses


def test_a_proxy_asks_about_everybody_whom_a_creator_may_refuse_one_day() -> None:
    address = SocketAddress("127.0.0.1", 9)
    setup = GatewaySetup(CompiledPolicy(wished({}), load_catalog()), address, address, suspects_only=True)
    assert setup.plan.compiled.guard.judged("/audio/tide.mp3", GPTBOT).refuses
    assert any("audio" in pattern for pattern in setup.sections_that_declare_otherwise)
