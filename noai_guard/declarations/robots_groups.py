"""What robots.txt says of a policy: groups of names, and the rules of each.

Let in means no line at all, so what is said may be milder than the policy for crawlers that are let in, never
stricter; for crawlers that are refused it may be stricter, since the guard refuses them anyhow.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from urllib.parse import quote

from noai_guard.core.model import Agent, Identity, Usage
from noai_guard.core.policy import DecisionTable, PathClass, Policy
from noai_guard.core.text import one_line
from noai_guard.declarations import robots_patterns
from noai_guard.declarations.robots_file import READ_BY_GOOGLE

PATH = "/robots.txt"

_SENDABLE = re.compile(r"[!\"$-)+-~][!-\"$-~]*(?: [!-\"$-~]+)*")


class PathRule(NamedTuple):
    path: str
    allowed: bool

    @property
    def line(self) -> str:
        return f"{'Allow' if self.allowed else 'Disallow'}: {self.path}"


@dataclass(frozen=True, slots=True)
class Group:
    """What the policy says to the crawlers of these names. Where no rule matches, `closed` holds.

    `rules` come longest first, so that parsers which take the first match read the same. `always` are paths
    open to everyone, whatever an app says.
    """

    tokens: tuple[str, ...]
    closed: bool
    rules: tuple[PathRule, ...]
    always: tuple[str, ...] = ()


class Shared(NamedTuple):
    """An agent to whom a name of robots.txt says otherwise than the guard does, because others share the name."""

    agent: str
    name: str


@dataclass(frozen=True, slots=True)
class Groups:
    """What robots.txt says of a site. `common` lines stand in every group, `preamble` lines are comments.

    `untouched` are names of crawlers without restriction that hold the name of a refused one. `nameless` are
    refused agents that it cannot speak to.
    """

    groups: tuple[Group, ...]
    untouched: tuple[str, ...]
    common: tuple[str, ...]
    preamble: tuple[str, ...]
    nameless: tuple[Agent, ...] = ()
    shared: tuple[Shared, ...] = ()

    @property
    def tokens(self) -> frozenset[str]:
        """Every name that has a group of ours, in lower case."""
        return frozenset(token.lower() for group in self.groups for token in group.tokens)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Names with digits, dots or spaces: RFC 9309 has none of these, so strict parsers miss the group."""
        return tuple(token for group in self.groups for token in group.tokens if not READ_BY_GOOGLE.fullmatch(token))


def groups(table: DecisionTable, common: Sequence[str], documents: Sequence[str], preamble: Sequence[str]) -> Groups:
    """The groups of a plan. `common` lines stand in every group, comments among them once, after the preamble.

    `documents` are paths open to everyone.
    """
    comments = [line.removeprefix("#") for line in common if line.startswith("#")]
    spoken = _Spoken(table, (PATH, *documents))
    owners = _owners(table)
    by_rules: dict[_Rules, list[str]] = {}
    others: list[str] = []
    for token, agents in sorted(owners.items(), key=lambda owner: owner[0].lower()):
        rules = spoken.to(agents)
        if any(rules):
            by_rules.setdefault(rules, []).append(token)
        else:
            others.append(token)
    found = tuple(Group(tuple(tokens), closed, rules, spoken.documents) for (closed, rules), tokens in by_rules.items())
    text = "\n".join(others).lower()
    held = [token for group in found if group.closed for token in map(str.lower, group.tokens) if token in text]
    untouched = tuple(other for other in others if any(token in other.lower() for token in held))
    named = {agent for agents in owners.values() for agent in agents}
    return Groups(
        found,
        untouched,
        common=tuple(line for line in common if not line.startswith("#")),
        preamble=tuple(map(one_line, (*preamble, *comments))),
        nameless=tuple(agent for agent in table.catalog.agents if agent not in named and any(spoken.to([agent]))),
        shared=tuple(_shared(table, owners, spoken)),
    )


def _owners(table: DecisionTable) -> dict[str, list[Agent]]:
    """Each robots.txt token -> the agents it speaks for: those with it as product token, else those that answer to
    it in robots.txt, else those that have no such name and are called so, by us or in their user agent."""
    owners: dict[str, list[Agent]] = {}
    spelled: dict[str, str] = {}
    for names_of in (_product_tokens, _other_tokens, _guessed_tokens):
        found: dict[str, list[Agent]] = {}
        for agent in table.catalog.agents:
            for name in filter(_SENDABLE.fullmatch, names_of(agent)):
                found.setdefault(spelled.setdefault(name.lower(), name), []).append(agent)
        owners = {**found, **owners}
    return owners


def _product_tokens(agent: Agent) -> Sequence[str]:
    return agent.all_robots_tokens[:1] if agent.rfc9309_product_token else ()


def _other_tokens(agent: Agent) -> Sequence[str]:
    return agent.robots_txt_tokens


def _guessed_tokens(agent: Agent) -> Sequence[str]:
    """What a client without a documented product token may look for. It should be part of the user agent (RFC 9309,
    2.2.1); only names that are spelled as a product token is."""
    if agent.all_robots_tokens or not agent.expected_user_agent:
        return ()
    return tuple(filter(READ_BY_GOOGLE.fullmatch, (agent.name, *agent.expected_user_agent)))


def _shared(table: DecisionTable, owners: Mapping[str, Sequence[Agent]], spoken: "_Spoken") -> Iterator[Shared]:
    names = {token.lower(): spoken.to(agents) for token, agents in owners.items()}
    for agent in table.catalog.agents:
        for name in (*agent.all_robots_tokens, *_guessed_tokens(agent)):
            if names.get(name.lower(), (False, ())) != spoken.to([agent]):
                yield Shared(agent.name, name)


_Rules = tuple[bool, tuple[PathRule, ...]]
"""Whether an agent is refused in general, and where it is otherwise."""

_Kind = tuple[tuple[Usage, ...], tuple[int, ...], bool]
"""What a policy knows an agent by: its usages, the rules that can hold for it, whether it is exempt."""


class _Spoken:
    """What robots.txt can say of a plan, by agents."""

    def __init__(self, table: DecisionTable, documents: Sequence[str]) -> None:
        policy = table.policy
        self.documents = tuple(quote(path, safe="/!&'()+,-.:;=@_~") for path in documents)
        said = robots_patterns.expressible(policy)
        self._plans = [DecisionTable(_as(identity, said), table.catalog) for identity in _IDENTITIES]
        self._elsewhere = self._zones_of(robots_patterns.ELSEWHERE)
        exact = {f"{document}{end}" for document in self.documents for end in "$?"}
        path_classes = {
            line: self._zones_of(path)
            for line, path in robots_patterns.samples(policy).items()
            if line not in exact and line != "/"
        }
        # A document is open to everyone: refused in no zone.
        path_classes.update(dict.fromkeys(self.documents, ()))
        self._path_classes = dict(sorted(path_classes.items()))
        self._around = _enclosing(self._path_classes)
        self._openings = [
            (opens, frozenset(line for line in self._path_classes if robots_patterns.may_overlap(pattern, line)))
            for pattern, where in robots_patterns.inexpressible(policy)
            for opens in [_opens(policy, pattern, where)]
        ]
        self._policy = policy
        self._said: dict[frozenset[_Kind], _Rules] = {}

    def _zones_of(self, path: str) -> tuple[PathClass, ...]:
        return tuple(table.path_class(path) for table in self._plans)

    def to(self, agents: Sequence[Agent]) -> _Rules:
        """Whether these agents, which share a name, are all refused in general; and where it is otherwise."""
        kinds = {self._kind(agent): agent for agent in agents}
        key = frozenset(kinds)
        if key not in self._said:
            self._said[key] = self._to(tuple(kinds.values()))
        return self._said[key]

    def _kind(self, agent: Agent) -> "_Kind":
        held = [
            number
            for number, rule in enumerate(self._policy.rules)
            if any(rule.holds_for(agent, identity) for identity in _IDENTITIES)
        ]
        return agent.usages, tuple(held), agent.name.lower() in self._policy.exemptions.agents

    def _to(self, agents: Sequence[Agent]) -> _Rules:
        closed = self._refused(agents, self._elsewhere)
        refused = {line: self._refused(agents, path_classes) for line, path_classes in self._path_classes.items()}
        if not closed and True in refused.values():
            for opens, lines in self._openings:
                if any(map(opens, agents)):
                    refused.update(dict.fromkeys(lines, False))
        return closed, self._rules(closed, refused)

    def _refused(self, agents: Sequence[Agent], path_classes: Sequence[PathClass]) -> bool:
        return bool(path_classes) and all(
            path_class.verdicts[agent].action.refuses for path_class in path_classes for agent in agents
        )

    def _rules(self, closed: bool, refused: Mapping[str, bool]) -> tuple[PathRule, ...]:
        """The shortest rules that say it: a line that says what the line around it says is left out."""
        differing = [
            PathRule(line, not is_refused)
            for line, is_refused in refused.items()
            if is_refused != refused.get(self._around[line] or "", closed)
        ]
        return tuple(sorted(differing, key=lambda rule: -len(rule.path)))


_IDENTITIES = (Identity.UNVERIFIED, Identity.VERIFIED)
"""Who reads robots.txt is the crawler itself: a rule against those who only use its name is not for it."""


def _as(identity: Identity, policy: Policy) -> Policy:
    """The policy for clients of one identity, without conditions on it."""
    rules = [rule for rule in policy.rules if not rule.identities or identity in rule.identities]
    return replace(policy, rules=tuple(replace(rule, identities=frozenset()) for rule in rules))


def _opens(policy: Policy, pattern: str, where: str) -> Callable[[Agent], bool]:
    """Whether an inexpressible pattern may let an agent in."""
    if where == "sections":
        usages = next(path_policy.usages for path_policy in policy.path_policies if path_policy.pattern == pattern)
        return lambda agent: not any(usages[usage].refuses for usage in agent.usages)
    rule = next((rule for rule in policy.rules if where == f"rule {rule.id}"), None)
    if rule is None:
        return lambda agent: True
    return lambda agent: not rule.action.refuses and any(rule.holds_for(agent, identity) for identity in _IDENTITIES)


def _enclosing(lines: Iterable[str]) -> dict[str, str | None]:
    """Each line -> the longest other line that is its beginning. `lines` are in alphabetical order."""
    around: dict[str, str | None] = {}
    stack: list[str] = []
    for line in lines:
        while stack and not line.startswith(stack[-1]):
            stack.pop()
        around[line] = stack[-1] if stack else None
        if not line.endswith("$"):
            stack.append(line)
    return around
