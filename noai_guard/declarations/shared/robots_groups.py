"""Groups of robots.txt for a policy: names of crawlers, and the rules for them.

Crawlers that are allowed get no line. For them the file may be milder than the policy, never stricter; for crawlers
that are refused it may be stricter, because the guard refuses them anyway.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeGuard
from unicodedata import normalize
from urllib.parse import quote

from noai_guard.core.decision_table import DecisionTable, PathClass
from noai_guard.core.model import Agent, Identity
from noai_guard.core.path_patterns import ELSEWHERE, by_specificity
from noai_guard.core.policy import Policy
from noai_guard.core.text import one_line
from noai_guard.declarations.shared import robots_patterns
from noai_guard.declarations.shared.robots_file import READ_BY_GOOGLE
from noai_guard.declarations.shared.standard import Standard

PATH = "/robots.txt"

_SENDABLE = re.compile(r"[!\"$-)+-~][!-\"$-~]*(?: [!-\"$-~]+)*")


class PathRule(NamedTuple):
    """One Allow or Disallow line. `path` is a prefix as in `robots_patterns`."""

    path: str
    allowed: bool

    @property
    def line(self) -> str:
        return f"{'Allow' if self.allowed else 'Disallow'}: {self.path}"


@dataclass(frozen=True, slots=True)
class Group:
    """One group: names of crawlers (`tokens`) and their rules. `closed` holds where no rule matches.

    `rules` come longest first, so that parsers that take the first match read the same. `always` are paths that are
    open to everyone, whatever the app's own file says.
    """

    tokens: tuple[str, ...]
    closed: bool
    rules: tuple[PathRule, ...]
    always: tuple[str, ...] = ()

    @property
    def refusals(self) -> "Group":
        """The group without the lines that only allow, and without those that a shorter one covers."""
        covering = "$"
        needed: set[PathRule] = set()
        for rule in sorted(self.rules):
            if rule.path in self.always:
                needed.add(rule)
            elif not (self.closed or rule.allowed or rule.path.startswith(covering)):
                needed.add(rule)
                covering = covering if rule.path.endswith("$") else rule.path
        return replace(self, rules=tuple(rule for rule in self.rules if rule in needed))


@dataclass(frozen=True, slots=True)
class Groups:
    """Contents of a robots.txt. `common` lines are repeated in every group (`common_if_named` in those that name
    crawlers), `preamble` lines are comments. `brief_common` lines stand in for them if the file would be too long.

    `permitted` has, for the key of a line that declares something, a function from the value of the site's own line to
    as much of it as the policy permits.

    `untouched` are names of unrestricted crawlers that contain the name of a refused one. `nameless` are refused
    agents that have no name for a group. `shared` holds (agent, name) where the guard does something else with the
    agent than the group of the name says, because other agents share it.
    """

    groups: tuple[Group, ...]
    untouched: tuple[str, ...]
    common: tuple[str, ...]
    preamble: tuple[str, ...]
    common_if_named: tuple[str, ...] = ()
    brief_common: tuple[str, ...] = ()
    permitted: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    nameless: tuple[Agent, ...] = ()
    shared: tuple[tuple[str, str], ...] = ()

    @property
    def tokens(self) -> frozenset[str]:
        """Names that have a group of ours, in lower case."""
        return frozenset(token.lower() for group in self.groups for token in group.tokens)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Names with digits, dots or spaces: RFC 9309 does not allow them, so strict parsers miss the group."""
        return tuple(token for group in self.groups for token in group.tokens if not READ_BY_GOOGLE.fullmatch(token))


def build_groups(
    table: DecisionTable,
    standards: Sequence[Standard],
    documents: Sequence[str],
    preamble: Sequence[str],
    policy: Policy,
) -> Groups:
    """Return the groups for a decision table. `documents` are paths that are open to everyone.

    The lines of `standards` that are on are repeated in every group, so they are those of `policy`, which may name
    fewer works than the table; comments among them are written once, after the preamble.
    """
    active = [standard for standard in standards if policy.declares(standard.key)]
    lines = [line for standard in active for line in standard.robots_lines(policy)]
    brief = [line for standard in active for line in (standard.brief_robots_lines or standard.robots_lines)(policy)]
    common = tuple(line for line in lines if not line.startswith("#"))
    comments = [line.removeprefix("#") for line in lines if line.startswith("#")]
    builder = _RuleBuilder(table, (PATH, *documents))
    owners = _owners(table)
    rules = {token: builder.rules_for(owners[token]) for token in sorted(owners, key=str.lower)}
    by_rules: dict[_Rules, list[str]] = {}
    for token in rules:
        by_rules.setdefault(rules[token], []).append(token)
    others = by_rules.pop(_NO_RULES, [])
    refused = tuple(
        Group(tuple(tokens), closed, rules, builder.documents) for (closed, rules), tokens in by_rules.items()
    )
    text = "\n".join(others).lower()
    contained = [token for group in refused if group.closed for token in map(str.lower, group.tokens) if token in text]
    untouched = tuple(other for other in others if any(token in other.lower() for token in contained))
    named = {agent for agents in owners.values() for agent in agents}
    alone = {agent: builder.rules_for([agent]) for agent in table.catalog.agents}
    by_name = {token.lower(): rules[token] for token in rules}
    return Groups(
        refused,
        untouched,
        common=common,
        preamble=tuple(map(one_line, (*preamble, *comments))),
        common_if_named=common,
        brief_common=tuple(line for line in brief if not line.startswith("#")),
        permitted={each.own_robots_key: each.permitted(policy) for each in standards if each.own_robots_key},
        nameless=tuple(agent for agent in alone if agent not in named and alone[agent] != _NO_RULES),
        shared=tuple(
            (agent.name, name)
            for agent in alone
            for name in (*agent.all_robots_tokens, *_guessed_tokens(agent))
            if by_name.get(name.lower(), _NO_RULES) != alone[agent]
        ),
    )


def _owners(table: DecisionTable) -> dict[str, list[Agent]]:
    """Return each robots.txt token with the agents that it addresses.

    These are the agents with it as product token, else those documented to obey it, else those without any documented
    token that have it as name or in their user agent.
    """
    owners: dict[str, list[Agent]] = {}
    spellings: dict[str, str] = {}
    agents = table.catalog.agents
    for names_of_agents in (
        [(agent.rfc9309_product_token or "",) for agent in agents],
        [agent.robots_txt_tokens for agent in agents],
        map(_guessed_tokens, agents),
    ):
        by_name: dict[str, list[Agent]] = {}
        for agent, names in zip(agents, names_of_agents, strict=True):
            for name in filter(_SENDABLE.fullmatch, names):
                by_name.setdefault(spellings.setdefault(name.lower(), name), []).append(agent)
        owners = {**by_name, **owners}
    return owners


def _guessed_tokens(agent: Agent) -> Sequence[str]:
    """Return names that a client without a documented product token may look for.

    A product token should be part of the user agent (RFC 9309, 2.2.1). Only names spelled like one are returned.
    """
    if agent.all_robots_tokens or not agent.expected_user_agent:
        return ()
    return tuple(filter(READ_BY_GOOGLE.fullmatch, (agent.name, *agent.expected_user_agent)))


_Rules = tuple[bool, tuple[PathRule, ...]]
"""True if an agent is refused in general, and the rules for paths where that differs."""

_NO_RULES: _Rules = (False, ())


class _RuleBuilder:
    """Rules of robots.txt for a decision table, by agents."""

    def __init__(self, table: DecisionTable, documents: Sequence[str]) -> None:
        policy = table.policy
        self.documents = tuple(quote(path, safe="/!&'()+,-.:;=@_~") for path in documents)
        supported = table.changed(robots_patterns.without_unsupported_patterns)
        self._elsewhere = supported.path_class(ELSEWHERE)
        exact = {f"{document}{end}" for document in self.documents for end in "$?"}
        path_classes: dict[str, PathClass | None] = {
            prefix: supported.path_class(path)
            for prefix, path in robots_patterns.sample_paths(policy).items()
            if prefix not in exact and prefix != "/"
        }
        # A document is open to everyone, whatever path class it lies in.
        path_classes.update(dict.fromkeys(self.documents))
        self._path_classes = dict(sorted(path_classes.items()))
        self._enclosing = _enclosing_prefixes(self._path_classes)
        self._openings = list(self._unsupported(policy))
        # Of thousands of works, most are treated alike.
        alike: dict[object, PathClass] = {}
        for prefix, path_class in self._path_classes.items():
            if path_class is not None:
                key = tuple(path_class.path_policy.usages.items()), path_class.path_policy.wish, path_class.rule_numbers
                if not path_class.readings:
                    self._path_classes[prefix] = alike.setdefault((*key, path_class.exempt), path_class)
        self._facts = table.facts
        self._rules: dict[frozenset[tuple[Any, ...]], _Rules] = {}

    def _unsupported(self, policy: Policy) -> Iterator["_Opening"]:
        """Yield what each unsupported pattern may open.

        A section opens no paths of a more specific one: `/**/*.flac` comes after `/private/**`.
        """
        sections = [normalize("NFC", path_policy.pattern) for path_policy in policy.path_policies]
        ranks = {policy.path_policies[index].pattern: rank for rank, index in enumerate(by_specificity(sections))}
        for pattern, location in robots_patterns.unsupported_patterns(policy):
            least = ranks[pattern] if location == "paths" else -1
            prefixes = [
                prefix
                for prefix, path_class in self._path_classes.items()
                if robots_patterns.may_overlap(pattern, prefix)
                and not (_is_of_one_policy(path_class) and ranks.get(path_class.path_policy.pattern, least) < least)
            ]
            yield _Opening(_opens(policy, pattern, location), tuple(prefixes), location == "paths")

    def rules_for(self, agents: Sequence[Agent]) -> _Rules:
        """Return the rules for agents that share a name: a path is closed only if all of them are refused there."""
        by_facts = {self._facts(agent): agent for agent in agents}
        key = frozenset(by_facts)
        if key not in self._rules:
            self._rules[key] = self._build(tuple(by_facts.values()))
        return self._rules[key]

    def _build(self, agents: Sequence[Agent]) -> _Rules:
        """Return a rule for each prefix that differs from the one that encloses it."""
        closed = self._refused(agents, self._elsewhere)
        of_class = {each: self._refused(agents, each) for each in dict.fromkeys(self._path_classes.values())}
        refused = {prefix: of_class[path_class] for prefix, path_class in self._path_classes.items()}
        if not closed and True in refused.values():
            decided = {path_class for path_class in of_class if _rules_decide(path_class, agents)}
            for opening in self._openings:
                if any(map(opening.opens, agents)):
                    for prefix in opening.prefixes:
                        if not (opening.is_section and self._path_classes[prefix] in decided):
                            refused[prefix] = False
        differing = [
            PathRule(prefix, not is_refused)
            for prefix, is_refused in refused.items()
            if is_refused != refused.get(self._enclosing[prefix] or "", closed)
        ]
        return closed, tuple(sorted(differing, key=lambda rule: -len(rule.path)))

    def _refused(self, agents: Sequence[Agent], path_class: PathClass | None) -> bool:
        return path_class is not None and all(
            path_class.verdicts[agent, identity].action.refuses for agent in agents for identity in _IDENTITIES
        )


_IDENTITIES = (Identity.UNVERIFIED, Identity.VERIFIED)
"""Identities of the readers: the crawlers themselves, to whom rules against impostors do not apply."""


class _Opening(NamedTuple):
    """Prefixes on which an unsupported pattern may allow those agents for which `opens` is true."""

    opens: Callable[[Agent], bool]
    prefixes: tuple[str, ...]
    is_section: bool


def _is_of_one_policy(path_class: PathClass | None) -> TypeGuard[PathClass]:
    """Return True for paths that have one section and one list of rules."""
    return path_class is not None and not path_class.readings


def _rules_decide(path_class: PathClass | None, agents: Sequence[Agent]) -> bool:
    """Return True if rules decide about all these agents, whatever section the paths are in."""
    return _is_of_one_policy(path_class) and all(
        any(rule.holds_for(agent, identity) for rule in path_class.rules)
        for agent in agents
        for identity in _IDENTITIES
    )


def _opens(policy: Policy, pattern: str, location: str) -> Callable[[Agent], bool]:
    """Return a function that is True for agents that an unsupported pattern may allow."""
    if location == "paths":
        usages = next(path_policy.usages for path_policy in policy.path_policies if path_policy.pattern == pattern)
        return lambda agent: not any(usages[usage].refuses for usage in agent.usages)
    rule = next((rule for rule in policy.rules if location == f"rule {rule.id}"), None)
    if rule is None:
        return lambda agent: True
    return lambda agent: not rule.action.refuses and any(rule.holds_for(agent, identity) for identity in _IDENTITIES)


def _enclosing_prefixes(prefixes: Iterable[str]) -> dict[str, str | None]:
    """Return each prefix with the longest other one that it begins with. `prefixes` are in alphabetical order."""
    enclosing: dict[str, str | None] = {}
    stack: list[str] = []
    for prefix in prefixes:
        while stack and not prefix.startswith(stack[-1]):
            stack.pop()
        enclosing[prefix] = stack[-1] if stack else None
        if not prefix.endswith("$"):
            stack.append(prefix)
    return enclosing
