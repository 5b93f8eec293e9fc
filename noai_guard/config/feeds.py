"""Lists of further agents that a site names under `feeds:`, read into entries of the catalogue.

A feed is written by strangers: it can add agents and make known ones stricter. It never makes one milder, and never
recognises a person or a welcome program as one of its agents.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from noai_guard.config.build import agent_from
from noai_guard.config.catalogue_schema import AGENTS_FILE
from noai_guard.config.yaml_nodes import NodeContext, ProblemLog, TooManyProblems, parse
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import AI_USAGES, Agent
from noai_guard.core.user_agent_matcher import token_problem

MAX_AGENTS = 2000

_KEPT = ("name", "operator", "usages", "expected_user_agent", "rfc9309_product_token", "robots_txt_tokens", "trigger")
"""Keys of an entry that are taken from a feed: nothing by which an agent could prove itself, or opt out."""

_PURPOSES: Sequence[tuple[str, str]] = (
    (r"train|dataset|model", "train-ai"),
    (r"search", "ai-search"),
    (r"assistant|answer|on behalf|prompt", "ai-input"),
    (r"agent", "ai-agent"),
    (r"scrap", "scraper"),
)
"""Words in the `function` of an entry of ai.robots.txt, and the usage that they stand for: the first that is found."""

_ROBOTS_TOKEN = re.compile(r"[A-Za-z0-9_.!-]+(?: [A-Za-z0-9_.!-]+)*")
_TELLING = re.compile(r"bot|crawl|spider|scrap|fetch|agent|gpt|llm|[0-9./_-]", re.IGNORECASE)
"""What makes a name more than an ordinary word, which people's user agents hold too."""


class BadFeed(ValueError):
    """A feed that is not taken; the message says why."""


@dataclass(frozen=True, slots=True)
class FeedEffect:
    """What the entries of feeds make of a catalogue: agents that are added, known ones with more usages, and a sentence
    for each entry that is not taken, or only declared. `left_out` are the names of those that are not taken."""

    added: tuple[Agent, ...]
    tightened: tuple[Agent, ...]
    notes: tuple[str, ...]
    left_out: frozenset[str] = frozenset()

    def extended(self, agents: Iterable[Agent]) -> tuple[Agent, ...]:
        """Return the agents of a catalogue with what the feeds change."""
        stricter = {agent.name: agent for agent in self.tightened}
        return (*(stricter.get(agent.name, agent) for agent in agents), *self.added)


def read_feed(body: bytes) -> list[dict[str, Any]]:
    """Return the entries of a feed: robots.json of ai.robots.txt, or a file of the catalogue's own format.

    Raises BadFeed.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    is_list_of_names = isinstance(content, dict) and "agents" not in content
    entries = _of_names(content) if is_list_of_names else _of_catalogue(body)
    if not entries:
        raise BadFeed("it holds no agent")
    if len(entries) > MAX_AGENTS:
        raise BadFeed(f"it holds more than {MAX_AGENTS:,} agents")
    return entries


def _of_names(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = []
    for name, facts in content.items():
        if not isinstance(facts, dict):
            raise BadFeed("it is JSON of another kind")
        name = name.strip()
        if not _ROBOTS_TOKEN.fullmatch(name.replace("/", "")) or len(name) > 100 or token_problem(name):
            continue
        operator = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", str(facts.get("operator", "")))  # a link in Markdown
        function = str(facts.get("function", "")).lower()
        usage = next((usage for words, usage in _PURPOSES if re.search(words, function)), "train-ai")
        known = operator.isprintable() and not re.match(r"unclear|unknown", operator, re.IGNORECASE)
        entries.append(
            {
                "name": name,
                "operator": operator.strip()[:100] if known and operator.strip() else name,
                "usages": [usage],
                # An ordinary word stands in people's user agents: it is declared, and nobody is refused for it.
                "expected_user_agent": [name] if len(name) > 4 and _TELLING.search(name) else [],
                "robots_txt_tokens": [name] if _ROBOTS_TOKEN.fullmatch(name) else [],
                "trigger": "crawler",
            }
        )
    return entries


def _of_catalogue(body: bytes) -> list[dict[str, Any]]:
    log = ProblemLog("feed")
    data: Any = None
    try:
        root = parse(body, log)
        data = AGENTS_FILE.read(NodeContext(root, (), log)) if root is not None else None
    except TooManyProblems:
        pass
    problem = next((problem for problem in log.problems if not problem.warning), None)
    if problem is not None or not data:
        raise BadFeed(f"line {problem.line}: {problem.message}" if problem else "it says nothing")
    return [
        {"operator": data["operator"], **{key: entry[key] for key in _KEPT if key in entry}} for entry in data["agents"]
    ]


def effect_of(entries: Iterable[Mapping[str, Any]], catalog: Catalog, welcome: Iterable[str]) -> FeedEffect:
    """Return what entries of feeds make of a catalogue. `welcome` are user agents that must never be refused."""
    added: dict[str, Agent] = {}
    tightened: dict[str, Agent] = {}
    notes: list[str] = []
    for entry in entries:
        agent = agent_from({**entry, "status": "provisional"})
        robots_only = not agent.expected_user_agent
        agent = replace(agent, robots_only=robots_only)
        known = catalog.agent(agent.name) or _named(agent, catalog)
        if known is None:
            if agent.name.lower() not in added:
                added[agent.name.lower()] = agent
                if robots_only:
                    notes.append(f"{agent.name} is too ordinary a word to refuse by: it is only declared in robots.txt")
            continue
        more = set(agent.usages) - set(known.usages)
        # A program that is welcome for something else stays what the catalogue says: lists of names hold previews too.
        if more and AI_USAGES.issuperset(known.usages) and known.name not in tightened:
            tightened[known.name] = replace(known, usages=(*known.usages, *sorted(more)))
    taken = _taken_for(added.values(), catalog, welcome)
    for name, user_agent in taken:
        del added[name.lower()]
        notes.append(f"{name} is left out: {user_agent!r} would be taken for it")
    return FeedEffect(
        tuple(added.values()), tuple(tightened.values()), tuple(notes), frozenset(name for name, _ in taken)
    )


def _named(agent: Agent, catalog: Catalog) -> Agent | None:
    """Return the known agent that one of the tokens of another already means."""
    for token in (*agent.expected_user_agent, *agent.all_robots_tokens):
        if found := catalog.find(f"{token.strip('^*/')}/1.0".encode()):
            return found
    return None


def _taken_for(agents: Iterable[Agent], catalog: Catalog, welcome: Iterable[str]) -> list[tuple[str, str]]:
    """Return the name of each agent that somebody who is welcome would be taken for, and that user agent."""
    apart = Catalog(agents)
    # What a known program that is no AI calls itself is welcome too.
    known = (form for agent in catalog.agents if not agent.ai for form in agent.expected_user_agent)
    found: dict[str, str] = {}
    for user_agent in (*welcome, *(f"{form.strip('^*/')}/1.0" for form in known)):
        for agent in apart.candidates(user_agent.encode()):
            found.setdefault(agent.name, user_agent)
    return list(found.items())
