"""The policy of a site, and its `DecisionTable`: the policy compiled against a catalogue for look-up."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import UNKNOWN_BOT, Action, Agent, Identity, Mode, PathPolicy, Usage, Verdict
from noai_guard.core.networks import NetworkSet
from noai_guard.core.path_patterns import PathMatcher
from noai_guard.core.trusted_proxies import TrustedProxies

OWN_RULE_IDS = ("exempt-path", "exempt-agent", "exempt-address", "unclaimed", "unjudged")
"""Ids of verdicts that neither a rule nor a usage of the policy decided."""

_MAX_PATH_CLASSES = 4096
"""Rules with many overlapping paths could make more combinations than anybody means."""


@dataclass(frozen=True, slots=True)
class Site:
    """Facts about a site, each empty if the policy does not give it. `contact` is a `mailto:` or web address."""

    url: str = ""
    name: str = ""
    owner: str = ""
    contact: str = ""
    policy_page: str = "/.well-known/noai"
    licence: str = ""
    tdm_policy: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """An action for the requests that meet all conditions; an empty condition is met by every request.

    Names in `agents` and `operators` are in lower case.
    """

    id: str
    action: Action
    agents: frozenset[str] = frozenset()
    operators: frozenset[str] = frozenset()
    usages: frozenset[Usage] = frozenset()
    identities: frozenset[Identity] = frozenset()
    paths: tuple[str, ...] = ()
    message: str = ""

    def holds_for(self, agent: Agent | None, identity: Identity) -> bool:
        """Return True if a client meets the conditions other than `paths`."""
        if self.identities and identity not in self.identities:
            return False
        if agent is None:
            return not (self.agents or self.operators or self.usages)
        return (
            (not self.agents or agent.name.lower() in self.agents)
            and (not self.operators or agent.operator.lower() in self.operators)
            and (not self.usages or not self.usages.isdisjoint(agent.usages))
        )


@dataclass(frozen=True, slots=True)
class Exemptions:
    """Paths, agents (names in lower case) and client addresses that are never refused."""

    paths: tuple[str, ...] = ()
    agents: frozenset[str] = frozenset()
    addresses: NetworkSet = field(default_factory=NetworkSet)


@dataclass(frozen=True, slots=True)
class Throttle:
    """Maximum rate of one agent from one address block (`address_block`): `requests` in a window of `seconds`."""

    requests: int = 60
    seconds: int = 60


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of a site, complete: `usages` and every path policy hold an action for every usage.

    `declarations` holds the values under `declarations:` by key, `second_look` and `reload` those under `features:`.
    """

    stance: str
    usages: Mapping[Usage, Action]
    mode: Mode = Mode.ENFORCE
    site: Site = field(default_factory=Site)
    path_policies: tuple[PathPolicy, ...] = ()
    rules: tuple[Rule, ...] = ()
    exemptions: Exemptions = field(default_factory=Exemptions)
    on_unknown: Action = Action.ALLOW
    trusted_proxies: TrustedProxies = field(default_factory=TrustedProxies)
    throttle: Throttle = field(default_factory=Throttle)
    declarations: Mapping[str, Any] = field(default_factory=dict)
    second_look: bool = False
    reload: str = "off"

    @property
    def whole_site(self) -> PathPolicy:
        """The path policy of all paths that no other path policy matches."""
        return PathPolicy("/**", self.usages)

    @property
    def all_path_policies(self) -> tuple[PathPolicy, ...]:
        """The path policies in the order of the policy, that of the whole site first."""
        return (self.whole_site, *self.path_policies)

    @property
    def reserves_anything(self) -> bool:
        """True if some AI usage is reserved on some path."""
        return any(path_policy.reserves_anything for path_policy in self.all_path_policies)

    def reserves(self, usage: Usage) -> bool:
        """Return True if the usage is reserved on some path."""
        return any(path_policy.reserves(usage) for path_policy in self.all_path_policies)

    def declares(self, key: str) -> bool:
        """Return True unless the policy switches the declaration `key` off: `no`, or `off` for robots_txt."""
        return self.declarations.get(key, True) not in (False, "off")


@dataclass(slots=True, eq=False)
class PathClass:
    """All paths with the same path policy, rules and exemption, and the verdicts on clients there."""

    path_policy: PathPolicy
    rules: tuple[Rule, ...]
    exempt: bool
    verdicts: BoundedCache[tuple[Agent | None, Identity], Verdict] = field(init=False)


class DecisionTable:
    """A policy compiled against a catalogue. `path_classes[path].verdicts[agent, identity]` is a verdict.

    Paths are normalised (`normal_path`). Each verdict is computed once.
    """

    def __init__(self, policy: Policy, catalog: Catalog) -> None:
        self.policy = policy
        self.catalog = catalog
        self.path_policies = policy.all_path_policies
        self._path_policy_matcher = PathMatcher([path_policy.pattern for path_policy in policy.path_policies])
        self._exempt_matcher = PathMatcher(policy.exemptions.paths)
        self._rule_matchers = [PathMatcher(rule.paths) if rule.paths else None for rule in policy.rules]
        self._path_classes = BoundedCache(self._new_path_class, max_entries=_MAX_PATH_CLASSES)
        self.path_classes: BoundedCache[str, PathClass] = BoundedCache(self.path_class)

    def path_class(self, path: str) -> PathClass:
        """Return the class of a normalised path: one object for all paths of a class."""
        path_policy = self.path_policies[self._path_policy_matcher.first(path) + 1]
        holding = tuple(
            number for number, matcher in enumerate(self._rule_matchers) if matcher is None or matcher.first(path) >= 0
        )
        return self._path_classes[path_policy, holding, self._exempt_matcher.first(path) >= 0]

    def _new_path_class(self, key: tuple[PathPolicy, tuple[int, ...], bool]) -> PathClass:
        path_policy, holding, exempt = key
        path_class = PathClass(path_policy, tuple(self.policy.rules[number] for number in holding), exempt)
        path_class.verdicts = BoundedCache(lambda claim: self.decide(*claim, path_class))
        return path_class

    def verdict(self, agent: Agent | None, path_class: PathClass) -> Verdict:
        """Return the verdict on a client whose user agent names `agent`, without proof."""
        return path_class.verdicts[agent, identity_of_claim(agent)]

    def decide(self, agent: Agent | None, identity: Identity, path_class: PathClass) -> Verdict:
        """Return a new verdict: an exemption, else the first rule that holds, else the strictest action of the usages.

        Of usages that are treated equally, the one that the agent lists first counts.
        """
        path_policy = path_class.path_policy
        usages = path_policy.usages
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
        for rule in path_class.rules:
            if rule.holds_for(agent, identity):
                return verdict(rule.action, rule.id, f"rule {rule.id} says {rule.action}", rule.message)
        if usage is None:
            return verdict(Action.ALLOW, "unclaimed", "nobody in the catalogue")
        where = "" if path_policy is self.path_policies[0] else f" under {path_policy.pattern}"
        action = usages[usage]
        return verdict(action, rule_id(path_policy, usage), f"the policy says {action} for {usage}{where}")


def identity_of_claim(agent: Agent | None) -> Identity:
    """Return the identity of a client whose claim to be `agent` has not been checked."""
    return Identity.UNCLAIMED if agent is None or agent is UNKNOWN_BOT else Identity.UNVERIFIED


def rule_id(path_policy: PathPolicy, usage: Usage) -> str:
    """Return the id of verdicts that the action for a usage decided: `train-ai`, or `train-ai@/tracks/**`."""
    return f"{usage}" if path_policy.pattern == "/**" else f"{usage}@{path_policy.pattern}"


def _claim(agent: Agent | None) -> str:
    if agent is None:
        return "the user agent names no known automated client"
    if agent is UNKNOWN_BOT:
        return "the user agent calls itself a bot and is in no catalogue"
    return f"the user agent names {agent.name} ({agent.operator}), known for {', '.join(agent.usages)}"


def opt_out_notes(policy: Policy, catalog: Catalog) -> Iterator[str]:
    """Yield a sentence for each agent whose usages are reserved, but can only be declared, not enforced."""
    for agent in catalog.agents:
        out = agent.opt_out
        if out and any(policy.whole_site.reserves(usage) for usage in out.usages):
            by = "X-Robots-Tag: noarchive" if out.by == "noarchive" else f"robots.txt token {out.by}"
            yield (
                f"{agent.name} ({agent.operator}) serves search and {', '.join(out.usages)} under one user agent: "
                f"it stays let in, the opt-out is declared ({by})."
            )
        if agent.robots_only and any(policy.whole_site.reserves(usage) for usage in agent.usages):
            yield f"{agent.name} ({agent.operator}) exists only in robots.txt: declared, never enforced."
