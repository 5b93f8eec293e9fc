"""What is told by where a request comes from and by its header fields: rules that hold, agents that are recognised."""

from collections.abc import Iterator, Sequence

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.decision_table import DecisionTable, PathClass
from noai_guard.core.model import (
    NAMELESS,
    UNCLAIMED_AGENTS,
    Action,
    Agent,
    Claim,
    HeaderField,
    Identity,
    PartlyRead,
    SeveralClaims,
    SingleClaim,
    agent_of,
    single_claims,
)
from noai_guard.core.policy import Rule

_MAX_ADDRESSES = 16_384
_CLAIMED = tuple(identity for identity in Identity if identity is not Identity.UNCLAIMED)


class Origins:
    """The rules of a policy that need an address or header fields, and the agents that are recognised by them.

    An address that is not proven is given as None. It meets no condition, with one exception: where the policy says
    `on_unknown: deny`, a rule that restricts holds for whoever names an agent. Who names nobody is never refused
    because an address is not known, and nobody is let in for it.
    """

    def __init__(self, table: DecisionTable) -> None:
        self._table = table
        self._rules = table.policy.rules
        self._by_network = tuple(agent for agent in table.catalog.agents if agent.networks)
        self._by_header = tuple(agent for agent in table.catalog.agents if agent.headers)
        self._networks: BoundedCache[str, frozenset[str]] = BoundedCache(
            self._networks_with, max_entries=_MAX_ADDRESSES
        )
        self._agents: BoundedCache[str, tuple[Agent, ...]] = BoundedCache(self._agents_at, max_entries=_MAX_ADDRESSES)

    def __bool__(self) -> bool:
        return bool(self._by_network or self._by_header or any(rule.needs_origin for rule in self._rules))

    def _networks_with(self, address: str) -> frozenset[str]:
        return frozenset(name for name, networks in self._table.policy.networks.items() if address in networks)

    def _agents_at(self, address: str) -> tuple[Agent, ...]:
        return tuple(agent for agent in self._by_network if address in agent.networks)

    def needs(self, claim: Claim, path_class: PathClass) -> tuple[bool, bool]:
        """Return whether the address, and whether the header fields, may change the verdict on a claim."""
        if path_class.exempt and not path_class.readings:
            return False, False
        claims = single_claims(claim)
        rules = [
            rule
            for rule in map(self._rules.__getitem__, path_class.origin_rules)
            if any(_may_hold(rule, each) for each in claims)
        ]
        # Of several claims the strictest counts, and there is no stricter one.
        denied = self._table.verdict(claim, path_class).action is Action.DENY
        return (
            any(rule.networks for rule in rules) or bool(self._by_network and not denied),
            any(rule.headers for rule in rules) or bool(self._by_header and not denied),
        )

    def judged_as(
        self, claim: Claim, path_class: PathClass, address: str | None, headers: Sequence[HeaderField]
    ) -> tuple[Claim, PathClass]:
        """Return the claim and the path class by which a request is judged.

        The agents that the address and the header fields tell stand beside those that the client names, of which each
        is checked if it can be: the one counts that is treated most strictly; of equals, one that the client names.
        """
        rules = [(number, self._rules[number]) for number in path_class.origin_rules]
        met = frozenset(number for number, rule in rules if self._holds(rule, address, headers))
        perhaps = [number for number, rule in rules if self._may_restrict(rule, claim, address, headers)]
        if met or perhaps:
            path_class = self._strictest(claim, path_class, met, perhaps)
        recognised = tuple(self._recognised(address, headers))
        if not recognised:
            return claim, path_class
        # Who is recognised is somebody, with or without a name.
        named = (each for each in single_claims(claim) if each not in (None, NAMELESS))
        claims = tuple(dict.fromkeys((*named, *recognised)))
        return (claims[0] if len(claims) == 1 else SeveralClaims(claims)), path_class

    def _recognised(self, address: str | None, headers: Sequence[HeaderField]) -> Iterator[Agent]:
        if address is not None and self._by_network:
            yield from self._agents[address]
        for agent in self._by_header:
            if all(condition.holds(headers) for condition in agent.headers):
                yield agent

    def _holds(self, rule: Rule, address: str | None, headers: Sequence[HeaderField]) -> bool:
        if not all(condition.holds(headers) for condition in rule.headers):
            return False
        if not rule.networks:
            return True
        return address is not None and not self._networks[address].isdisjoint(rule.networks)

    def _may_restrict(self, rule: Rule, claim: Claim, address: str | None, headers: Sequence[HeaderField]) -> bool:
        """Return True if nobody knows whether a rule holds, and it then counts where that is stricter."""
        if address is not None or not rule.networks or not rule.action.restricts or claim in (None, NAMELESS):
            return False
        meets = all(condition.holds(headers) for condition in rule.headers)
        return meets and self._table.policy.on_unknown is Action.DENY

    def _strictest(self, claim: Claim, path_class: PathClass, met: frozenset[int], perhaps: Sequence[int]) -> PathClass:
        """Return the path class in which the rules that are met hold, and that of the others which makes it strictest:
        a rule that rations stands before one that refuses, and may not hold."""
        certain = self._table.from_origin(path_class, met) if met else path_class
        possible = (self._table.from_origin(path_class, met | {number}) for number in perhaps)
        return max((certain, *possible), key=lambda each: self._table.verdict(claim, each).action.strictness)


def _may_hold(rule: Rule, claim: SingleClaim) -> bool:
    if isinstance(claim, PartlyRead):
        return True
    agent = agent_of(claim)
    identities = (Identity.UNCLAIMED,) if agent is None or agent in UNCLAIMED_AGENTS else _CLAIMED
    return any(rule.holds_for(agent, identity) for identity in identities)
