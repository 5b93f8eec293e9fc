"""A policy as any other web server can carry it out: who is looked for, and what each gets where.

Agents that are treated alike everywhere form a class. What a class gets is a list of decisions, of which the first
whose paths match counts; every path pattern stands in a `PathSet`, so a server needs only "does this path match",
"which class is this user agent" and the list.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from noai_guard.compiled import CompiledPolicy
from noai_guard.core import text
from noai_guard.core.catalog import rank
from noai_guard.core.model import UNKNOWN_BOT, Action, Agent, Document, HeaderField, Verdict
from noai_guard.core.path_patterns import by_specificity
from noai_guard.core.policy import Network, PathClass
from noai_guard.core.user_agent_matcher import Token, TokenIndex, compile_token
from noai_guard.responses.header_fields import Declared
from noai_guard.responses.refusal import who


@dataclass(frozen=True, slots=True)
class PathSet:
    """Paths that match any of some globs. `name` is a word of `[a-z0-9_]`, unique in a plan."""

    name: str
    globs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What one class of agents gets where `paths` match (None: everywhere else).

    `status` is 0 when the request is let in, also where it is only logged or monitored. Else the answer is
    `who(agent) + tail` as plain text with these `headers` (no content-length).
    """

    paths: PathSet | None
    verdict: Verdict
    status: int = 0
    headers: tuple[HeaderField, ...] = ()
    tail: str = ""

    @property
    def word(self) -> str:
        """What the backend is told: `deny`, `allow` ...; `monitor-deny` where nothing is enforced."""
        verdict = self.verdict
        monitored = not verdict.enforced and verdict.action.restricts
        return f"monitor-{verdict.action}" if monitored else str(verdict.action)


@dataclass(frozen=True, slots=True)
class AgentClass:
    """Agents that get the same everywhere. `unclaimed` is the class of everybody who is in no catalogue."""

    name: str
    agents: tuple[Agent, ...]
    decisions: tuple[Decision, ...]

    @property
    def outcome(self) -> tuple[tuple[PathSet | None, str, int], ...]:
        """What it gets where, but for the words that say why."""
        found = [(decision.paths, decision.word, decision.status) for decision in self.decisions]
        while len(found) > 1 and found[-2][1:] == found[-1][1:]:
            del found[-2]
        return tuple(found)

    @property
    def harmless(self) -> bool:
        """Whether it is let in everywhere and nobody has to be told about it."""
        return not any(decision.verdict.action.restricts for decision in self.decisions)


class TargetPlan:
    """A `Front` compiled for other servers.

    `wanted` are the tokens whose agents are refused or told about somewhere, and those that could outweigh them;
    `others` are the rest of the catalogue.
    """

    def __init__(self, compiled: CompiledPolicy) -> None:
        self.compiled = compiled
        self.policy = compiled.policy
        self._plan = compiled.guard.table
        self.exempt = PathSet("exempt", self.policy.exemptions.paths)
        self.path_policies = tuple(
            (PathSet(f"section_{number + 1}", (self.policy.path_policies[number].pattern,)), number + 1)
            for number in by_specificity([path_policy.pattern for path_policy in self.policy.path_policies])
        )
        self._rule_paths = {
            rule.id: PathSet(f"rule_{number + 1}", rule.paths)
            for number, rule in enumerate(self.policy.rules)
            if rule.paths
        }
        by_decisions: dict[tuple[tuple[object, ...], ...], list[Agent]] = {}
        for agent in self.compiled.catalog.agents:
            if agent.expected_user_agent:
                by_decisions.setdefault(tuple(map(_told, self._decisions(agent))), []).append(agent)
        self.classes = tuple(
            AgentClass(f"c{number}", tuple(agents), self._decisions(agents[0]))
            for number, agents in enumerate(by_decisions.values(), 1)
        )
        self.unclaimed = AgentClass("unclaimed", (), self._decisions(None))
        self.unknown_bot = AgentClass("unknown_bot", (UNKNOWN_BOT,), self._decisions(UNKNOWN_BOT))

    def _decisions(self, agent: Agent | None) -> tuple[Decision, ...]:
        """The first that holds counts; the last has no paths. A decision that changes nothing is left out."""
        found: list[Decision] = []
        if self.exempt.globs:
            found.append(self._decision(agent, self.exempt, 0, True, None))
        for number, rule in enumerate(self.policy.rules):
            paths = self._rule_paths.get(rule.id)
            found.append(self._decision(agent, paths, 0, False, number))
            if found[-1].verdict.rule != rule.id:
                found.pop()
            elif paths is None:
                break
        else:
            found += [
                self._decision(agent, paths, path_policy, False, None) for paths, path_policy in self.path_policies
            ]
            found.append(self._decision(agent, None, 0, False, None))
        while len(found) > 1 and _told(found[-2])[1:] == _told(found[-1])[1:]:
            del found[-2]
        return tuple(found)

    def _decision(
        self, agent: Agent | None, paths: PathSet | None, path_policy: int, exempt: bool, rule: int | None
    ) -> Decision:
        rules = () if rule is None else (self.policy.rules[rule],)
        verdict = self._plan.decide(agent, PathClass(path_policy, rules, exempt))
        if not verdict.refuses or verdict.action is Action.THROTTLE:
            return Decision(paths, verdict)
        refusal = self.compiled.refusal(verdict, "/", "GET", ())
        headers = tuple(field for field in refusal.headers if field[0] != b"content-length")
        text = refusal.body.decode("utf-8")
        return Decision(paths, verdict, refusal.status, headers, text.removeprefix(who(verdict)))

    @property
    def path_sets(self) -> tuple[PathSet, ...]:
        """Every PathSet that a decision or a declaration asks for, once."""
        sets = [self.exempt] if self.exempt.globs else []
        return (*sets, *self._rule_paths.values(), *(paths for paths, _ in self.path_policies))

    @property
    def documents(self) -> tuple[Document, ...]:
        """What is published, for everyone: never judged."""
        return tuple(self.compiled.documents.values())

    @property
    def declared(self) -> tuple[tuple[PathSet | None, Declared], ...]:
        """What every response carries, by path: the first PathSet that matches counts, None is everywhere else."""
        declared = self.compiled.declared
        return (*((paths, declared[path_policy]) for paths, path_policy in self.path_policies), (None, declared[0]))

    @property
    def exempt_networks(self) -> tuple[Network, ...]:
        return self.policy.exemptions.addresses

    @property
    def asks_unknown_bots(self) -> bool:
        """Whether it counts that a client calls itself a bot and is in no catalogue: it or a browser is not let in."""
        return not (self.unknown_bot.harmless and self.unclaimed.harmless)

    def class_of(self, agent: Agent) -> AgentClass:
        return self._class_of[agent]

    def who(self, agent: Agent) -> str:
        """Whom a refusal speaks to; what follows is a decision's `tail`."""
        return who(self._plan.decide(agent, PathClass(0, (), False)))

    @cached_property
    def _class_of(self) -> dict[Agent, AgentClass]:
        return {agent: found for found in self.classes for agent in found.agents}

    @cached_property
    def tokens(self) -> tuple[Token[Agent], ...]:
        """Every token of the catalogue."""
        return tuple(
            compile_token(form, agent) for agent in self.compiled.catalog.agents for form in agent.expected_user_agent
        )

    @cached_property
    def _wanted_agents(self) -> frozenset[Agent]:
        harmful = [agent for agent, found in self._class_of.items() if not found.harmless]
        if self.asks_unknown_bots:
            return frozenset(self._class_of)
        lightest = max(map(rank, harmful), default=-1)
        return frozenset(
            agent for agent, found in self._class_of.items() if not found.harmless or rank(agent) <= lightest
        )

    @cached_property
    def wanted(self) -> tuple[Token[Agent], ...]:
        return tuple(token for token in self.tokens if token.value in self._wanted_agents or token in self.shields)

    @cached_property
    def others(self) -> tuple[Token[Agent], ...]:
        wanted = frozenset(map(id, self.wanted))
        return tuple(token for token in self.tokens if id(token) not in wanted)

    @cached_property
    def shields(self) -> tuple[Token[Agent], ...]:
        """Tokens in which a shorter one of an agent stands that is treated otherwise: the shorter does not count."""

        def outcomes(agents: Iterable[Agent]) -> set[object]:
            return {self._class_of[agent].outcome for agent in agents}

        return tuple(token for token, inside in self._inside if outcomes(inside) - outcomes([token.value]))

    @cached_property
    def _inside(self) -> tuple[tuple[Token[Agent], tuple[Agent, ...]], ...]:
        """Tokens in which shorter ones of other agents stand that are wanted, and those agents."""
        by_anchor: dict[bytes, list[Token[Agent]]] = {}
        for token in self.tokens:
            if token.value in self._wanted_agents:
                by_anchor.setdefault(token.anchor, []).append(token)

        def inside(token: Token[Agent]) -> tuple[Agent, ...]:
            words = set(re.findall(rb"[a-z]+", token.text))
            near = [other for word in words for other in by_anchor.get(word, ()) if other.value is not token.value]
            return tuple(hit.value for hit in TokenIndex(near).hits(token.text)) if near else ()

        found = ((token, inside(token)) for token in self.tokens if not token.host)
        return tuple((token, agents) for token, agents in found if agents)

    @cached_property
    def tiers(self) -> tuple[tuple[Token[Agent], ...], ...]:
        """`wanted` without hosts, in the order in which they count: the first tier that names anybody decides, in
        it the name that stands first. Neighbouring ranks that get the same are one tier."""
        shields = frozenset(map(id, self.shields))
        tiers: list[tuple[Token[Agent], ...]] = []
        for tokens in _by_rank((token for token in self.wanted if not token.host), shields):
            outcomes = {self._class_of[token.value].outcome for token in tokens}
            if tiers and len(outcomes | {self._class_of[token.value].outcome for token in tiers[-1]}) == 1:
                tiers[-1] += tokens
            else:
                tiers.append(tokens)
        return tuple(tiers)

    def weights(self, tier: Iterable[Token[Agent]]) -> tuple[tuple[Token[Agent], ...], ...]:
        """One tier in the order in which its names count where several stand: all get the same, but are called
        by their own name."""
        longer = (token for token, inside in self._inside if min(map(rank, inside)) <= rank(token.value))
        return tuple(_by_rank(tier, frozenset(map(id, (*self.shields, *longer)))))

    @property
    def hosts(self) -> tuple[Token[Agent], ...]:
        """Host forms that are wanted; they count only where no name of the whole catalogue stands."""
        return tuple(token for token in self.wanted if token.host)

    @property
    def anchors(self) -> frozenset[str]:
        """One of these runs of letters stands in every user agent that names anybody wanted."""
        return frozenset(token.anchor.decode("ascii") for token in self.wanted)


def _by_rank(tokens: Iterable[Token[Agent]], first: Collection[int]) -> Iterator[tuple[Token[Agent], ...]]:
    """Tokens of one rank together, what outweighs the others first, before all those with these ids."""
    found: dict[int, list[Token[Agent]]] = {}
    for token in tokens:
        found.setdefault(-1 if id(token) in first else rank(token.value), []).append(token)
    yield from (tuple(tokens) for _, tokens in sorted(found.items()))


def _told(decision: Decision) -> tuple[object, ...]:
    """What of a decision a client or a backend can see, but for the agent's own name."""
    return decision.paths, decision.word, decision.verdict.rule, decision.status, decision.headers, decision.tail


def inexpressible(plan: TargetPlan) -> Iterator[str]:
    """What no server configuration can do of a policy, as sentences."""
    throttled = any(
        decision.verdict.action is Action.THROTTLE
        for found in (*plan.classes, plan.unclaimed, plan.unknown_bot)
        for decision in found.decisions
    )
    if throttled:
        yield "throttle: requests are not counted here; throttled agents are let in and named to the backend."
    if plan.policy.second_look:
        yield "second_look: user agents are recognised by name only."
    if any(path_policy.reserves_anything for path_policy in plan.compiled.guard.table.path_policies):
        yield "HTML metas: pages are not changed; the header fields say the same."


def listed(agents: Iterable[Agent]) -> str:
    """Return the first names of the agents and the number of the others, for a comment."""
    return text.listed(sorted({agent.name for agent in agents}, key=str.lower))
