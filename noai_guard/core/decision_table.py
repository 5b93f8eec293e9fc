"""A policy compiled against a catalogue for look-up: the decision on each claim and path."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.catalog import Catalog
from noai_guard.core.identity.settings import IdentitySettings
from noai_guard.core.model import (
    NAMELESS,
    UNCLAIMED_AGENTS,
    UNKNOWN_BOT,
    Action,
    Agent,
    Claim,
    Identity,
    Mode,
    PartlyRead,
    PathPolicy,
    SeveralClaims,
    SignedAs,
    Usage,
    Verdict,
    agent_of,
)
from noai_guard.core.path_patterns import PathMatcher
from noai_guard.core.paths import Readings, normal_path, readings
from noai_guard.core.policy import SPOOFED, UNREADABLE, WISH, Policy, Rule
from noai_guard.core.wish_index import wished_policy
from noai_guard.core.wishes import WISHED_USAGES

_MAX_PATH_CLASSES = 4096
"""Rules with many overlapping paths could make more combinations than anybody means."""


@dataclass(slots=True, eq=False)
class PathClass:
    """All paths with the same path policy, rules and exemption, and the verdicts on clients there.

    A path that servers read in several ways is in a class of its own, whose `readings` are the classes of all its
    readings: there the strictest verdict counts. `path_policy`, `rules` and `exempt` are those of the first reading.
    `unread`: the path has more readings than are looked at, so what is refused anywhere is refused here.

    Rules that need the client's address or header fields are in `rules` only where the request meets them.
    `origin_rules` are the numbers of all such rules on these paths; `rule_numbers` of all rules.
    """

    path_policy: PathPolicy
    rules: tuple[Rule, ...]
    exempt: bool
    readings: tuple["PathClass", ...] = ()
    unread: bool = False
    rule_numbers: tuple[int, ...] = ()
    origin_rules: frozenset[int] = frozenset()
    verdicts: BoundedCache[tuple[Claim, Identity], Verdict] = field(init=False)


@dataclass(slots=True)
class _Matchers:
    """The patterns of a policy, as they are written or in lower case."""

    path_policies: PathMatcher
    exempt: PathMatcher
    rules: list[PathMatcher | None]

    @classmethod
    def of(cls, policy: Policy, spelled: Callable[[str], str] = str) -> "_Matchers":
        def matcher(patterns: Iterable[str]) -> PathMatcher:
            return PathMatcher([spelled(pattern) for pattern in patterns])

        return cls(
            matcher(path_policy.pattern for path_policy in policy.path_policies),
            matcher(policy.open_paths),
            [matcher(rule.paths) if rule.paths else None for rule in policy.rules],
        )

    @property
    def patterns(self) -> list[tuple[str, ...]]:
        """The patterns of each matcher."""
        matchers = (self.path_policies, self.exempt, *self.rules)
        return [matcher.patterns for matcher in matchers if matcher is not None]


_Place = tuple[PathPolicy, tuple[int, ...], bool]
"""Path policy, numbers of the rules, and exemption of a path."""


class DecisionTable:
    """A policy compiled against a catalogue with its own agents. `path_classes[path].verdicts[claim, identity]` is a
    verdict.

    Paths are as servers hand them over, decoded once; `target_classes` takes them as they were sent, several if a
    request names its path several times. Each verdict is computed once.
    """

    def __init__(self, policy: Policy, catalog: Catalog) -> None:
        self.policy = policy
        self.catalog = catalog.extended(policy.agents)
        self.path_policies = policy.all_path_policies
        self.identity = IdentitySettings(policy.identity, catalog.ranges, policy.authorities)
        self._origin_rules = frozenset(number for number, rule in enumerate(policy.rules) if rule.needs_origin)
        self._matchers = _Matchers.of(policy)
        lower = _Matchers.of(policy, str.lower)
        self._in_lower_case = self._matchers if lower.patterns == self._matchers.patterns else lower
        self._path_classes: BoundedCache[tuple[_Place, frozenset[int]], PathClass] = BoundedCache(
            self._new_path_class, max_entries=_MAX_PATH_CLASSES
        )
        self._several: BoundedCache[tuple[tuple[PathClass, ...], bool], PathClass] = BoundedCache(
            self._class_of_several, max_entries=_MAX_PATH_CLASSES
        )
        self._refused_anywhere: BoundedCache[Agent | None, bool] = BoundedCache(self._is_refused_anywhere)
        self._works = policy.works
        self._has_works = bool(policy.works.patterns and (policy.creators.asked or policy.creators.index is not None))
        self._wished: BoundedCache[tuple[PathPolicy, int], PathPolicy] = BoundedCache(
            lambda key: wished_policy(*key, decide=policy.creators.decide, on_unknown=policy.on_unknown)
        )
        self.path_classes: BoundedCache[str, PathClass] = BoundedCache(lambda path: self._strictest([path]))
        self.target_classes: BoundedCache[tuple[bytes, ...], PathClass] = BoundedCache(self._strictest)
        # Where all paths are treated alike, only what is exempt can be read as something stricter.
        self._has_sections = bool(
            policy.path_policies or policy.exemptions.paths or any(rule.paths for rule in policy.rules)
        )

    def changed(self, change: Callable[[Policy], Policy]) -> "DecisionTable":
        """Return the table of a changed policy, for the same catalogue."""
        return DecisionTable(change(self.policy), self.catalog)

    def facts(self, agent: Agent) -> tuple[Any, ...]:
        """Return all facts about an agent that verdicts on it depend on: equal facts, equal verdicts."""
        identities = (Identity.UNVERIFIED, Identity.VERIFIED)
        rules = [any(rule.holds_for(agent, identity) for identity in identities) for rule in self.policy.rules]
        return agent.usages, tuple(rules), agent.name.lower() in self.policy.exemptions.agents

    def path_class(self, path: str) -> PathClass:
        """Return the class of a normalised path in exactly this spelling: one object for all paths of a class."""
        return self._path_classes[self._place(path, self._matchers), frozenset()]

    def _place(self, path: str, matchers: _Matchers) -> _Place:
        path_policy = self.path_policies[matchers.path_policies.first(path) + 1]
        holding = tuple(
            number for number, matcher in enumerate(matchers.rules) if matcher is None or matcher.first(path) >= 0
        )
        return path_policy, holding, matchers.exempt.first(path) >= 0

    def works_of(self, paths: Sequence[str | bytes]) -> tuple[str, ...]:
        """Return the names of the works that one path is part of, given in one or several spellings, under all their
        readings; empty unless creators have a say."""
        names = self._names_in([readings(path) for path in paths]) if self._has_works else ()
        return tuple(dict.fromkeys(chain.from_iterable(names)))

    def _names_in(self, ways: Sequence[Readings]) -> tuple[tuple[str, ...], ...]:
        """Return the names that each reading gives to its work, without readings that are no work's."""
        names = (self._works.names_in_any_case(path) for way in ways for path in (way.plain, *way.others))
        return tuple(dict.fromkeys(filter(None, names)))

    def _strictest(self, paths: Sequence[str | bytes]) -> PathClass:
        """Return the class of one path, given in one or several spellings, under all their readings."""
        ways = [readings(path) for path in paths]
        path_class = self._by_sections(ways)
        index = self.policy.creators.index
        if not self._has_works or index is None or not (names := self._names_in(ways)):
            return path_class
        return self.wished(path_class, index.strictest_of_several(names))

    def wished(self, path_class: PathClass, number: int) -> PathClass:
        """Return the class of the works on these paths for which that is wished; `number` as in a WishIndex."""
        if path_class.readings:
            readings = dict.fromkeys(self.wished(reading, number) for reading in path_class.readings)
            return self._several[tuple(readings), path_class.unread]
        path_policy = self.wished_on(path_class.path_policy, number)
        return self._path_classes[(path_policy, path_class.rule_numbers, path_class.exempt), frozenset()]

    def wished_on(self, path_policy: PathPolicy, number: int) -> PathPolicy:
        """Return the path policy of works for which that is wished, on the paths of another one."""
        return self._wished[path_policy, number]

    def _by_sections(self, ways: Sequence[Readings]) -> PathClass:
        plain = self.path_class(ways[0].plain)
        unread = not all(way.complete for way in ways)
        # A path that is not read to its end may be that of any work.
        if not self._has_sections and not plain.exempt and not (unread and self._has_works):
            return plain
        classes = dict.fromkeys([plain])
        for way in ways:
            for path in (way.plain, *way.others):
                classes[self.path_class(path)] = None
                # Some servers and file systems do not tell upper from lower case.
                lower = path.lower()
                if lower != path or self._in_lower_case is not self._matchers:
                    classes[self._path_classes[self._place(lower, self._in_lower_case), frozenset()]] = None
        return plain if len(classes) == 1 and not unread else self._several[tuple(classes), unread]

    def unread(self, path: str = "/") -> PathClass:
        """Return the class of requests whose path is not known; `path` is what it may be."""
        return self._several[(self.path_class(normal_path(path)),), True]

    def _class_of_several(self, key: tuple[tuple[PathClass, ...], bool]) -> PathClass:
        classes, unread = key
        first = classes[0]
        origin_rules = frozenset[int]().union(*(reading.origin_rules for reading in classes))
        return self._judging(
            PathClass(first.path_policy, first.rules, first.exempt, classes, unread, first.rule_numbers, origin_rules)
        )

    def _new_path_class(self, key: tuple[_Place, frozenset[int]]) -> PathClass:
        (path_policy, numbers, exempt), met = key
        origin_rules = self._origin_rules.intersection(numbers)
        rules = tuple(self.policy.rules[number] for number in numbers if number in met or number not in origin_rules)
        return self._judging(PathClass(path_policy, rules, exempt, rule_numbers=numbers, origin_rules=origin_rules))

    def from_origin(self, path_class: PathClass, met: frozenset[int]) -> PathClass:
        """Return the class of requests for these paths that meet the rules with these numbers, of `origin_rules`."""
        if path_class.readings:
            readings = dict.fromkeys(self.from_origin(reading, met) for reading in path_class.readings)
            return self._several[tuple(readings), path_class.unread]
        place = path_class.path_policy, path_class.rule_numbers, path_class.exempt
        return self._path_classes[place, met & path_class.origin_rules]

    def _judging(self, path_class: PathClass) -> PathClass:
        path_class.verdicts = BoundedCache(lambda claim: self.decide(*claim, path_class))
        return path_class

    def verdict(self, claim: Claim, path_class: PathClass) -> Verdict:
        """Return the verdict on a client that makes this claim, without proof."""
        return path_class.verdicts[claim, identity_of_claim(claim)]

    def decide(self, claim: Claim, identity: Identity, path_class: PathClass) -> Verdict:
        """Return a verdict: an exemption, else the first rule that holds, else the strictest action of the usages.

        Of usages that are treated equally, the one that the agent lists first counts. A client that names a refused
        agent where not all could be read gets the action `unreadable` of the policy, unless its verdict is stricter.
        Of several claims, the strictest verdict counts.
        """
        if isinstance(claim, SeveralClaims):
            return strictest(self.verdict(each, path_class) for each in claim.claims)
        if isinstance(claim, SignedAs):
            verdict = path_class.verdicts[claim.agent, identity]
            return replace(verdict, reasons=(_signed(claim.agent), *verdict.reasons[1:]))
        if isinstance(claim, PartlyRead):
            verdict = path_class.verdicts[claim.agent, identity]
            is_refused = any(self.verdict(agent, path_class).action.restricts for agent in claim.hidden)
            if not is_refused:
                return verdict
            # Nobody is blamed by name for what was only found somewhere in the text.
            reason = "a refused agent is named where the user agent is too long to be read closely"
            return self._unreadable(replace(verdict, agent=None, usage=None, identity=Identity.UNCLAIMED), reason)
        if path_class.readings:
            verdicts = [reading.verdicts[claim, identity] for reading in path_class.readings]
            verdict = strictest(verdicts)
            if path_class.unread and self._refused_anywhere[claim]:
                return self._unreadable(verdict, "the path can be read in more ways than are looked at")
            return verdict
        return self._decide(claim, identity, path_class)

    def _unreadable(self, verdict: Verdict, reason: str) -> Verdict:
        action = self.policy.unreadable
        if action.strictness <= verdict.action.strictness:
            return verdict
        reasons = (*verdict.reasons, reason)
        return replace(verdict, action=action, rule=UNREADABLE, reasons=reasons, retry_after=0, message="")

    def _is_refused_anywhere(self, agent: Agent | None) -> bool:
        """Return True if there may be a path on which the agent is refused. A client that names nobody never is."""
        if agent in (None, NAMELESS) or agent.name.lower() in self.policy.exemptions.agents:
            return False
        if self._has_works and self._disallowed_somewhere.intersection(agent.usages):
            return True
        for rule in self.policy.rules:
            if not rule.needs_origin and rule.holds_for(agent, identity_of_claim(agent)):
                if rule.action.restricts:
                    return True
                if not rule.paths:
                    return False
        return any(path_policy.reserves(usage) for path_policy in self.path_policies for usage in agent.usages)

    @cached_property
    def _disallowed_somewhere(self) -> frozenset[Usage]:
        """The usages that some creator may disallow."""
        index = self.policy.creators.index
        if self.policy.creators.asked or index is None:
            return frozenset(WISHED_USAGES)
        wished = (self._wished[self.path_policies[0], number].wish for number in index.numbers)
        return frozenset[Usage]().union(*(wish.disallowed for wish in wished))

    def _decide(self, agent: Agent | None, identity: Identity, path_class: PathClass) -> Verdict:
        path_policy = path_class.path_policy
        usages, wish = path_policy.usages, path_policy.wish
        usage = max(agent.usages, key=lambda usage: usages[usage].strictness) if agent else None
        claim = _claim(agent)

        def verdict(action: Action, rule: str, reason: str, message: str = "") -> Verdict:
            reasons = (claim, reason)
            enforced = self.policy.mode is Mode.ENFORCE
            retry_after = self.policy.throttle.seconds if action is Action.THROTTLE else 0
            return Verdict(action, rule, agent, usage, identity, reasons, path_policy, enforced, retry_after, message)

        if path_class.exempt:
            return verdict(Action.ALLOW, "exempt-path", "the path is exempt")
        if agent is not None and agent.name.lower() in self.policy.exemptions.agents:
            return verdict(Action.ALLOW, "exempt-agent", "the agent is exempt")
        is_spoofed, spoofed = identity is Identity.SPOOFED, self.policy.identity.spoofed
        # No rule of the site lets in what a creator disallows.
        for rule in () if disallows(path_policy, agent) else path_class.rules:
            # Nobody lies to be refused; but a rule that is milder is meant for the agent itself.
            is_meant = (
                not is_spoofed or Identity.SPOOFED in rule.identities or rule.action.strictness >= spoofed.strictness
            )
            if is_meant and rule.holds_for(agent, identity):
                return verdict(rule.action, rule.id, f"rule {rule.id} says {rule.action}", rule.message)
        if is_spoofed and (usage is None or usages[usage].strictness < spoofed.strictness):
            return verdict(spoofed, SPOOFED, f"the policy says {spoofed} for clients that are not the agent they name")
        if usage is None:
            return verdict(Action.ALLOW, "unclaimed", "nobody in the catalogue")
        action = usages[usage]
        if not wish.known and usage in wish.disallowed:
            return verdict(action, WISH, f"nobody could say what the creator wishes; on_unknown says {action}")
        if usage in wish.disallowed:
            return verdict(action, WISH, f"the creator of the work disallows {usage}")
        if usage in wish.allowed:
            return verdict(action, WISH, f"the creator of the work allows {usage}, and the policy lets creators decide")
        where = "" if path_policy.pattern == "/**" else f" under {path_policy.pattern}"
        return verdict(action, rule_id(path_policy, usage), f"the policy says {action} for {usage}{where}")


def identity_of_claim(claim: Claim) -> Identity:
    """Return the identity of a client whose claim has not been checked."""
    agent = agent_of(claim)
    return Identity.UNCLAIMED if agent is None or agent in UNCLAIMED_AGENTS else Identity.UNVERIFIED


def strictest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the strictest of several verdicts; of equally strict ones the first that names an agent."""
    return max(verdicts, key=lambda verdict: (verdict.action.strictness, verdict.agent is not None))


def strictest_usages(sections: Sequence[PathPolicy]) -> dict[Usage, Action]:
    """Return the strictest action of several sections for each usage."""
    if len(sections) == 1:
        return dict(sections[0].usages)
    return {
        usage: max((section.usages[usage] for section in sections), key=lambda action: action.strictness)
        for usage in sections[0].usages
    }


def strictest_section(path_class: PathClass) -> PathPolicy:
    """Return the section of a class of paths: of several readings the first, with the strictest action of all for each
    usage."""
    if not path_class.readings:
        return path_class.path_policy
    return replace(path_class.path_policy, usages=strictest_usages(list(map(strictest_section, path_class.readings))))


def disallows(path_policy: PathPolicy, agent: Agent | None) -> bool:
    """Return True if the creator of a work disallows what an agent fetches it for."""
    return agent is not None and not path_policy.wish.disallowed.isdisjoint(agent.usages)


def rule_id(path_policy: PathPolicy, usage: Usage) -> str:
    """Return the id of verdicts that the action for a usage decided: `train-ai`, or `train-ai@/tracks/**`."""
    return f"{usage}" if path_policy.pattern == "/**" else f"{usage}@{path_policy.pattern}"


def _claim(agent: Agent | None) -> str:
    if agent is None:
        return "the user agent names no known automated client"
    if agent is UNKNOWN_BOT:
        return "the user agent calls itself a bot and is in no catalogue"
    if agent is NAMELESS:
        return "the user agent is missing, or a single word that no catalogue knows"
    if agent.networks or agent.headers:
        usages = ", ".join(agent.usages)
        return f"the request is recognised as one of {agent.name} ({agent.operator}), known for {usages}"
    return f"the user agent names {agent.name} ({agent.operator}), known for {', '.join(agent.usages)}"


def _signed(agent: Agent) -> str:
    if agent is UNKNOWN_BOT:
        return "the header Signature-Agent names a host that is in no catalogue"
    return f"the header Signature-Agent names {agent.name} ({agent.operator}), known for {', '.join(agent.usages)}"
