"""Operators' agents, and which of them a user agent names."""

from collections.abc import Iterable, Sequence

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.model import Agent, Usage
from noai_guard.core.user_agent_matcher import Hit, TokenIndex, compile_token

_RANK = {usage: place for place, usage in enumerate(Usage)}
"""Usage declares its members from the one that outweighs all others to the one that outweighs none."""


class Catalog:
    """All known agents, indexed by the tokens that their user agents carry.

    `match(user_agent)` returns the Agent that a user agent (bytes, several lines joined by a line feed) names,
    or None. Where several are named, the one whose usage weighs most wins (`Usage`, in order), then the one
    named first: an app before the library it is made with.
    """

    __slots__ = ("_by_name", "_index", "agents", "match", "memo", "version")

    def __init__(self, agents: Iterable[Agent], version: str = "") -> None:
        self.agents: tuple[Agent, ...] = tuple(agents)
        self.version = version
        self._by_name = {agent.name.lower(): agent for agent in self.agents}
        self._index = TokenIndex(
            compile_token(form, agent) for agent in self.agents for form in agent.expected_user_agent
        )
        self.memo: BoundedCache[bytes, Agent | None] = BoundedCache(self.find)
        self.match = self.memo.__getitem__

    def find(self, user_agent: bytes) -> Agent | None:
        """As `match`, without the memory."""
        hits = self._index.hits(user_agent)
        if not hits:
            return None
        if len(hits) == 1:
            return hits[0].value
        return min(hits, key=_precedence).value

    def candidates(self, user_agent: bytes) -> Sequence[Agent]:
        """Every agent that the user agent names, the winner first."""
        hits = sorted(self._index.hits(user_agent), key=_precedence)
        return tuple(dict.fromkeys(hit.value for hit in hits))

    def agent(self, name: str) -> Agent | None:
        """The agent of that name, in any case."""
        return self._by_name.get(name.lower())

    @property
    def operators(self) -> tuple[str, ...]:
        return tuple(sorted({agent.operator for agent in self.agents}))


def _precedence(hit: Hit[Agent]) -> tuple[int, int, int, str]:
    return rank(hit.value), hit.start, -len(hit.token), hit.value.name


def rank(agent: Agent) -> int:
    """How much an agent outweighs others in one user agent; 0 outweighs all."""
    return min(_RANK[usage] for usage in agent.usages)
