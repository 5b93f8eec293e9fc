"""The known agents, and the one that a user agent names."""

from collections.abc import Iterable, Mapping, Sequence

from noai_guard.core.identity.published import PublishedRanges
from noai_guard.core.identity.signature_agents import SignatureAgents
from noai_guard.core.model import Agent, Claim, PartlyRead, SeveralClaims, Usage, agent_of
from noai_guard.core.user_agent_matcher import Hit, TokenIndex, compile_token

_RANK = {usage: rank for rank, usage in enumerate(Usage)}
"""Usage declares its members from the one that outweighs all others to the one that outweighs none."""


class Catalog:
    """All known agents, indexed by the tokens that their user agents carry. It never changes after construction.

    `version` differs between different states of the rules; empty if not known. `ranges` are the networks that
    operators publish, by their address; `signature_agents` finds agents by the host that they sign with.
    """

    __slots__ = ("_by_name", "_index", "agents", "ranges", "signature_agents", "version")

    def __init__(
        self, agents: Iterable[Agent], version: str = "", ranges: Mapping[str, PublishedRanges] | None = None
    ) -> None:
        self.agents: tuple[Agent, ...] = tuple(agents)
        self.version = version
        self.ranges = dict(ranges or {})
        self.signature_agents = SignatureAgents(self.agents)
        self._by_name = {agent.name.lower(): agent for agent in self.agents}
        self._index = TokenIndex(
            compile_token(form, agent) for agent in self.agents for form in agent.expected_user_agent
        )

    def extended(self, agents: Sequence[Agent]) -> "Catalog":
        """Return this catalogue with further agents, which replace those of the same name; itself if it has them."""
        if all(self._by_name.get(agent.name.lower()) is agent for agent in agents):
            return self
        names = {agent.name.lower() for agent in agents}
        others = (agent for agent in self.agents if agent.name.lower() not in names)
        return Catalog((*others, *agents), f"{self.version}+{len(agents)}" if self.version else "", self.ranges)

    def find(self, user_agent: bytes) -> Agent | None:
        """Return the agent that a user agent names, or None. Several User-Agent lines are joined by line feeds.

        Of several agents, the one with the lowest `rank` wins, then the one named first: an app before the library it
        is made with.
        """
        hits = self._index.hits(user_agent)
        return min(hits, key=_precedence).value if hits else None

    def read(self, user_agent: bytes) -> Agent | PartlyRead | None:
        """Return what `find` returns; a PartlyRead if names of other agents stand in what is not read closely."""
        hits, hidden = self._index.read(user_agent)
        agent = min(hits, key=_precedence).value if hits else None
        others = hidden - {agent}
        return PartlyRead(agent, others) if others else agent

    def candidates(self, user_agent: bytes) -> Sequence[Agent]:
        """Return every agent that a user agent names, in order of precedence: first the one that `find` returns."""
        hits = sorted(self._index.hits(user_agent), key=_precedence)
        return tuple(dict.fromkeys(hit.value for hit in hits))

    def agent(self, name: str) -> Agent | None:
        """Return the agent with a name, in any letter case, or None."""
        return self._by_name.get(name.lower())

    @property
    def operators(self) -> tuple[str, ...]:
        """The names of all operators, sorted."""
        return tuple(sorted({agent.operator for agent in self.agents}))


def _precedence(hit: Hit[Agent]) -> tuple[int, int, int, str]:
    return rank(hit.value), hit.start, -len(hit.token), hit.value.name


def rank_of_claim(claim: Claim) -> int:
    """Return the precedence of a claim among several readings of a user agent; last if it names nobody."""
    if isinstance(claim, SeveralClaims):
        return min(map(rank_of_claim, claim.claims))
    agents = {claim.agent, *claim.hidden} if isinstance(claim, PartlyRead) else {agent_of(claim)}
    return min((rank(agent) for agent in agents if agent is not None), default=len(_RANK))


def rank(agent: Agent) -> int:
    """Return the precedence of an agent among several that one user agent names; 0 wins over all."""
    return min(_RANK[usage] for usage in agent.usages)
