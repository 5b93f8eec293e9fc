"""A plan as tables, for servers that look things up: name -> agent -> class, and class and paths -> decision."""

from collections.abc import Iterator
from functools import cached_property

from noai_guard.core.model import Agent, HeaderField
from noai_guard.core.text import ascii_text
from noai_guard.targets.plan import AgentClass, Decision, PathSet, TargetPlan

KNOWN = "known"
"""Stands for every agent of the catalogue that is let in everywhere."""

UNKNOWN_BOT = "unknown"
NONE = "none"
"""The class of whoever is let in everywhere."""

VERDICT_ALIASES = ("X_NoAI_Verdict", "X-NoAI_Verdict", "X_NoAI-Verdict", "X.NoAI.Verdict")
"""What a backend may read as X-NoAI-Verdict."""


class Tables:
    """`ids` numbers the agents that are not simply let in: `a1`, `a2`; `decisions` what anybody gets: `d1`, `d2`."""

    def __init__(self, plan: TargetPlan) -> None:
        self.plan = plan
        self.harmful = tuple(found for found in plan.classes if not found.harmless)
        agents = (agent for found in self.harmful for agent in found.agents)
        self.ids: dict[Agent, str] = {agent: f"a{number}" for number, agent in enumerate(agents, 1)}
        self.path_sets = tuple(paths for paths in plan.path_sets if paths.globs)
        self.decisions: dict[Decision, str] = {}
        for found in self._judged:
            for decision in found.decisions:
                self.decisions.setdefault(decision, f"d{len(self.decisions) + 1}")

    @property
    def _judged(self) -> Iterator[AgentClass]:
        everybody = (*self.harmful, self.plan.unknown_bot, self.plan.unclaimed)
        yield from (found for found in everybody if not found.harmless)

    def id_of(self, agent: Agent) -> str:
        return self.ids.get(agent, KNOWN)

    @cached_property
    def class_names(self) -> dict[str, str]:
        """The class of every id of an agent, of KNOWN, of UNKNOWN_BOT, and of the empty text: nobody."""
        plan = self.plan
        return {
            **{self.ids[agent]: found.name for found in self.harmful for agent in found.agents},
            KNOWN: NONE,
            UNKNOWN_BOT: NONE if plan.unknown_bot.harmless else plan.unknown_bot.name,
            "": NONE if plan.unclaimed.harmless else plan.unclaimed.name,
        }

    @cached_property
    def rows(self) -> tuple[tuple[str, PathSet | None, str], ...]:
        """(class, paths or None for everywhere, decision); of one class the first that fits counts."""
        return tuple(
            (found.name, decision.paths, self.decisions[decision])
            for found in self._judged
            for decision in found.decisions
        )

    @property
    def refusals(self) -> dict[str, Decision]:
        return {name: decision for decision, name in self.decisions.items() if decision.status}

    @cached_property
    def refusal_fields(self) -> dict[HeaderField, tuple[str, ...]]:
        """Header fields of refusals beside what every response declares -> the decisions that carry them."""
        declared = {field for found in self.plan.compiled.declared for field in found.fields}
        found: dict[HeaderField, tuple[str, ...]] = {}
        for name, decision in self.refusals.items():
            for field in decision.headers:
                if field not in declared:
                    found[field] = (*found.get(field, ()), name)
        return found

    @cached_property
    def declared_fields(self) -> dict[HeaderField, tuple[int, ...]]:
        """Header fields that responses declare -> the sections whose responses carry them."""
        found: dict[HeaderField, tuple[int, ...]] = {}
        for path_policy, declared in enumerate(self.plan.compiled.declared):
            for field in declared.fields:
                found[field] = (*found.get(field, ()), path_policy)
        return found

    def says(self, decision: Decision) -> str:
        """What the backend is told, up to the agent's name."""
        return f"{decision.word}; rule={ascii_text(decision.verdict.rule)}; agent="


def spellings(text: str) -> tuple[str, ...]:
    """A name as the catalogue spells it and in lower case: what nearly every client sends."""
    return tuple(dict.fromkeys((text, text.lower())))


def names_of(agent: Agent) -> Iterator[str]:
    """What an agent's tokens capture, as the catalogue spells it; not the hosts."""
    for form in agent.expected_user_agent:
        if not form.startswith("//"):
            yield form.removeprefix("^").removesuffix("*")
