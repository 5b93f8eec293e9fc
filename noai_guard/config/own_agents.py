"""Checks of the agents that a site knows itself: each can be recognised, and no listener is taken for one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from noai_guard.config.build import agent_from
from noai_guard.config.yaml_nodes import printable
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Agent, Usage

Browsers = Mapping[str, Sequence[str]]
"""User agents that must never be refused, by kind of client, as `read_browsers` returns them."""

_RESERVED = frozenset({"none", "unclaimed", *Usage})
"""Names that metrics, logs and rules use for something else."""


class OwnAgentProblem(NamedTuple):
    """A mistake in the entry at position `number`: its key, a code, a message and a hint."""

    number: int
    key: str
    code: str
    message: str
    hint: str


def own_agent_problems(
    entries: Sequence[Mapping[str, Any]], catalog: Catalog, browsers: Browsers
) -> Iterator[OwnAgentProblem]:
    """Yield the mistakes of entries that are valid one by one, beside the packaged catalogue."""
    agents = [agent_from(entry) for entry in entries]
    seen: dict[str, str] = {}
    for index, agent in enumerate(agents):
        name = printable(agent.name)
        if agent.name.lower() in _RESERVED:
            message = f"{name!r} is no name for an agent: rules and metrics use it for something else"
            yield OwnAgentProblem(index, "name", "C003", message, "choose another")
        elif agent.name.lower() in seen:
            yield OwnAgentProblem(index, "name", "C003", f"agent {name!r} is defined twice", "rename one")
        seen[agent.name.lower()] = agent.name
        if not (agent.is_recognisable or agent.all_robots_tokens):
            message = f"{name} cannot be recognised, and has no name in robots.txt"
            hint = "add expected_user_agent, networks or headers"
            yield OwnAgentProblem(index, "name", "C009", message, hint)
        if browser := listener_taken_for([agent], catalog, browsers):
            message = f"{name} would be told by what is in the user agent of people, {browser}"
            hint = "write a longer token, one that only this client has"
            yield OwnAgentProblem(index, "expected_user_agent", "C010", message, hint)
        yield from _sample_problems(index, entries[index], agent)


def _sample_problems(index: int, entry: Mapping[str, Any], agent: Agent) -> Iterator[OwnAgentProblem]:
    samples = entry.get("samples") or {}
    alone = Catalog([agent])
    for sample in samples.get("match") or ():
        if alone.find(sample.encode()) is None:
            message = f"the sample {printable(sample)!r} is not taken for {printable(agent.name)}"
            yield OwnAgentProblem(index, "samples", "C004", message, "correct expected_user_agent, or the sample")
    for sample in samples.get("not") or ():
        if alone.find(sample.encode()) is not None:
            message = f"the look-alike {printable(sample)!r} is taken for {printable(agent.name)}"
            yield OwnAgentProblem(index, "samples", "C005", message, "make the token longer")


def listener_taken_for(agents: Iterable[Agent], catalog: Catalog, browsers: Browsers) -> str:
    """Return the kind and user agent of the first browser or app that would be taken for one of these agents, or ""."""
    own = Catalog(agents)
    for kind, user_agents in browsers.items():
        for user_agent in user_agents:
            agent = own.find(user_agent.encode())
            known = catalog.find(user_agent.encode()) if agent else None
            # An entry may be replaced by one that is told by the same name.
            if agent and not (known and known.name.lower() == agent.name.lower()):
                return f"{kind}: {printable(user_agent)}"
    return ""
