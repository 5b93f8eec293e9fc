"""robots.txt declares what the middleware enforces: for every agent, path and policy here, Google's parser agrees with it.

`Groups` lists the exceptions, and `noai-guard check` prints them. The lists must be exact.
"""

import asyncio
import re
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import quote, unquote

import pytest
from prometheus_client import CollectorRegistry

from noai_guard import NoAIMiddleware
from noai_guard.config import check_policy_text, load_catalog, load_stance, rules_folder
from noai_guard.config.catalogue_schema import read_agent_files, samples_from
from noai_guard.core.model import Agent, Usage
from noai_guard.core.opt_outs import opt_out_notes
from noai_guard.core.policy import Policy
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.wishes import WISHED_USAGES, Choice, WorkWishes
from tests.declarations.declaration_readers import ProtegoReader, google_allows, google_fork_allows
from tests.middleware.asgi_kit import answering, http

CATALOG = load_catalog()
STRICT = re.compile(r"[A-Za-z_-]+")
PATH_POLICIES = """
paths:
  /press/**: {usages: {train-ai: yes, ai-search: yes, ai-input: yes, ai-agent: yes, data-broker: yes, scraper: yes}}
  /press/internal/**: {usages: {train-ai: no, ai-search: no, search: no, preview: no}}
  /press/kit.pdf: {usages: {train-ai: no}}
  /künstler/**: {usages: {ai-search: license_required, seo: no}}
"""
WORKS = 'works: ["/audio/{work}.mp3", "/hls/{work}/**", "/press/{work}"]\n'
NO, YES = Choice.DISALLOW, Choice.ALLOW
WISHES = {
    "tide": {Usage.TRAIN_AI: NO, Usage.SCRAPER: NO},
    "foam": {Usage.AI_SEARCH: NO, Usage.AI_INPUT: NO, Usage.TRAIN_AI: YES},
    "ebb": dict.fromkeys(WISHED_USAGES, YES),
    "Lied": dict.fromkeys(WISHED_USAGES, NO),
}
"""Wishes for works of the policies that name works."""
POLICIES = {
    "no-ai": "extends: no-ai",
    "no-training": "extends: no-training",
    "search-only": "extends: search-only",
    "path policies": f"extends: no-ai\n{PATH_POLICIES}",
    "path policies of an open site": f"extends: no-training\nusages: {{train-ai: yes, data-broker: yes, scraper: yes}}\n{PATH_POLICIES}",
    "rules and exemptions": """
extends: no-ai
rules:
  - {id: cited, agents: [OAI-SearchBot, PerplexityBot], paths: [/press/**, /tracks/first], action: allow}
  - {id: sold, operators: [OpenAI, Anthropic], action: license_required}
  - {id: slow, usages: [seo], action: throttle}
  - {id: no-images, agents: [Googlebot-Image], paths: [/covers/**], action: deny}
  - {id: old, operators: [Common Crawl], paths: [/archive/**], action: allow}
exemptions: {paths: [/open/**, /press/internal/**], agents: [Amazonbot]}
""",
    "every automated client": """
extends: no-ai
usages: {automation: no, unknown-bot: no, feed: no, player: no, search: no, ads: throttle, archive: license_required}
site: {policy_page: /ai-policy}
""",
    "monitor mode": "extends: no-ai\nmode: monitor",
    "wishes on an open site": f"extends: no-training\nusages: {{train-ai: yes, data-broker: yes, scraper: yes}}\n{WORKS}",
    "wishes on a closed site": f"extends: no-ai\ncreators: decide\n{WORKS}{PATH_POLICIES}",
}
PATHS = (
    *("/", "/?page=2", "/tracks", "/tracks/", "/tracks/first", "/tracks/first/audio.mp3", "/tracks/a.mp3?sig=1&x=/y"),
    *("/press", "/press/", "/press?q=1", "/press/2026/a.html", "/pressroom", "/press/kit.pdf", "/press/kit.pdf?dl=1"),
    *("/press/internal", "/press/internal/x?y", "/k%C3%BCnstler/a", "/k%C3%BCnstler", "/covers/1.png", "/open/x"),
    *("/archive/1", "/robots.txt", "/robots.txt?x=1", "/license.xml", "/.well-known/tdmrep.json"),
    *("/audio/tide.mp3", "/audio/tide.mp3?sig=1", "/audio/foam.mp3", "/audio/ebb.mp3", "/audio/other.mp3", "/hls/tide"),
    *("/hls/tide/1.ts", "/hls/ebb/1.ts?x", "/hls/other/1.ts", "/audio/Lied.mp3", "/press/tide", "/press/foam"),
    *("/.well-known/noai", "/.well-known/noai?lang=en", "/.well-known/other", "/ai-policy"),
)
SAMPLES = {
    samples.agent: samples.match[0].encode()
    for samples in map(samples_from, read_agent_files((rules_folder() / "agents").glob("*.yaml")))
    if samples.match
}


def policy(text: str) -> Policy:
    checked, problems = check_policy_text(text.encode())
    assert checked is not None, problems
    if not checked.works.patterns:
        return checked
    index = WishIndex(WorkWishes(work, choices) for work, choices in WISHES.items())
    return replace(checked, creators=replace(checked.creators, index=index))


@cache
def guard(name: str) -> NoAIMiddleware:
    return NoAIMiddleware(answering(), policy(POLICIES[name]), registry=CollectorRegistry())


def names_of(agent: Agent) -> tuple[str, ...]:
    """Names that an agent may look for in robots.txt: the documented ones, else those in its user agent."""
    guessed = (agent.name, *agent.expected_user_agent) if agent.expected_user_agent else ()
    return agent.all_robots_tokens or tuple(filter(STRICT.fullmatch, guessed))


@cache
def refused_by_the_middleware(name: str) -> dict[tuple[str, str], bool]:
    """True for each (agent, path) whose request is refused, for agents that are recognised by their user agent.

    In monitor mode nothing is refused; there the verdict that the app gets counts.
    """
    monitors = guard(name).runtime.compiled.policy.mode == "monitor"
    refused: dict[tuple[str, str], bool] = {}

    async def ask(agent: str, path: str) -> None:
        statuses: list[int] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        raw_path, _, query = path.partition("?")
        scope = http(unquote(raw_path), SAMPLES[agent], query_string=query.encode())
        await guard(name)(scope, receive, send)
        verdict = scope["state"].get("noai")
        refused[agent, path] = statuses[0] in (402, 403) if not monitors else bool(verdict and verdict.action == "deny")

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def everything() -> None:
        for agent in SAMPLES:
            for path in PATHS:
                await ask(agent, path)

    asyncio.run(everything())
    return refused


def is_refused(name: str, agent: Agent, path: str) -> bool:
    """Ask the middleware, or the decision table for a name that exists in robots.txt only: no request has it."""
    if agent.name in SAMPLES:
        return refused_by_the_middleware(name)[agent.name, path]
    table, decoded = guard(name).runtime.compiled.guard.table, unquote(path.partition("?")[0])
    if decoded in guard(name).runtime.compiled.documents:
        return False
    return table.verdict(agent, table.path_classes[decoded]).action in ("deny", "license_required")


def differences(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield (agent, name, path) where Google's parser and the middleware differ."""
    robots = guard(name).runtime.compiled.documents["/robots.txt"].body
    allows = cache(lambda token, path: google_fork_allows(robots, token, path))
    for agent in CATALOG.agents:
        for token in names_of(agent):
            for path in PATHS:
                if allows(token, path) is is_refused(name, agent, path):
                    yield agent.name, token, path


@pytest.mark.thorough
@pytest.mark.parametrize("name", POLICIES)
def test_googles_parser_agrees_with_the_middleware_for_every_agent_and_path(name: str) -> None:
    groups = guard(name).runtime.compiled.robots_groups
    different = list(differences(name))
    unread = {token for _, token, _ in different if not STRICT.fullmatch(token)}
    assert unread == set(groups.unreadable)
    shared = {(agent, token) for agent, token, _ in different if STRICT.fullmatch(token)}
    assert shared == {(agent, token) for agent, token in groups.shared if STRICT.fullmatch(token)}


@pytest.mark.parametrize("name", POLICIES)
def test_parsers_that_compare_whole_names_read_the_names_that_googles_cannot(name: str) -> None:
    compiled = guard(name).runtime.compiled
    protego = ProtegoReader(compiled.documents["/robots.txt"].body)
    shared, unreadable = set(compiled.robots_groups.shared), set(compiled.robots_groups.unreadable)
    for agent in CATALOG.agents:
        for token in unreadable.intersection(agent.all_robots_tokens):
            for path in PATHS:
                if (agent.name, token) not in shared:
                    assert protego.allows(token, path) is not is_refused(name, agent, path), (token, path)


@pytest.mark.parametrize("name", POLICIES)
def test_both_builds_of_googles_parser_agree(name: str) -> None:
    robots = guard(name).runtime.compiled.documents["/robots.txt"].body
    for token in [*sorted({token for agent in CATALOG.agents for token in names_of(agent)})[::9], "Nobody"]:
        for path in ("/tracks/first/audio.mp3", "/press/internal/x?y"):
            assert google_allows(robots, token, path) is google_fork_allows(robots, token, path), (token, path)


@pytest.mark.parametrize("name", POLICIES)
def test_check_lists_the_exceptions(name: str) -> None:
    compiled = guard(name).runtime.compiled
    notes = "\n".join((*compiled.limitations, *opt_out_notes(compiled.policy, CATALOG)))
    for token in compiled.robots_groups.unreadable:
        assert token in notes
    for agent_name, token in compiled.robots_groups.shared:
        assert f"{token} is more than one agent's name; for {agent_name} the guard decides differently" in notes
    other_paths = [path for path in PATHS if unquote(path.partition("?")[0]) not in compiled.documents]
    for agent in CATALOG.agents:
        unnamed = not names_of(agent) or agent in compiled.robots_groups.nameless
        if unnamed and any(is_refused(name, agent, path) for path in other_paths):
            assert agent.name in notes
        if agent.robots_only and all(is_refused(name, agent, path) for path in other_paths):
            assert f"{agent.name} ({agent.operator}) exists only in robots.txt" in notes


def test_names_that_exist_in_robots_txt_only_are_refused_there() -> None:
    robots = guard("no-ai").runtime.compiled.documents["/robots.txt"].body
    only = [agent for agent in CATALOG.agents if agent.robots_only and agent.ai]
    assert {"Google-Extended", "Applebot-Extended", "Webzio-Extended"} <= {agent.name for agent in only}
    for agent in only:
        assert not google_allows(robots, agent.name, "/tracks/first/audio.mp3")


def test_the_policies_here_are_valid_and_every_agent_is_covered() -> None:
    for text in POLICIES.values():
        assert not [str(problem) for problem in check_policy_text(text.encode())[1] if not problem.warning]
    unknown = {agent.name for agent in CATALOG.agents if agent.name not in SAMPLES and not names_of(agent)}
    assert all(not agent.expected_user_agent for agent in CATALOG.agents if agent.name in unknown)
    assert quote("/künstler/a") in PATHS
    assert load_stance("no-ai").usages == policy(POLICIES["no-ai"]).usages
