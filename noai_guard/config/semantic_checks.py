"""What only shows when a policy is seen as a whole and beside the catalogue."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import Any

from noai_guard.config.build import rule_from
from noai_guard.config.yaml_nodes import Path, ProblemLog, shown
from noai_guard.core.catalog import Catalog
from noai_guard.core.client_address import TrustedProxies
from noai_guard.core.model import UNKNOWN_BOT, Action, Agent, Identity, Usage
from noai_guard.core.path_patterns import Globs, compile_globs
from noai_guard.core.policy import OWN_RULE_IDS, Rule
from noai_guard.core.text import did_you_mean


def look_over(said: Mapping[str, Any], catalog: Catalog, log: ProblemLog) -> None:
    """Logs the problems of a policy that was read. Parts that are wrong in themselves are left out."""
    _review_proxies(said, log)
    _review_sections(said, log)
    exempt = said.get("exemptions", {}).get("agents", ())
    _review_names(exempt, ("exemptions", "agents"), catalog, log)
    rules = list(enumerate(said.get("rules", ())))
    for number, rule in rules:
        if rule is not None:
            _review_names(rule.get("agents") or (), ("rules", number, "agents"), catalog, log)
            _review_operators(rule.get("operators") or (), ("rules", number, "operators"), catalog, log)
    _review_rules(
        {number: rule_from(rule, number + 1) for number, rule in rules if log.sound("rules", number)},
        said.get("exemptions", {}) if log.sound("exemptions") else {},
        catalog,
        log,
    )


def _review_proxies(said: Mapping[str, Any], log: ProblemLog) -> None:
    trusted = said.get("trusted_proxies")
    if not trusted:
        return
    peers = [peer if isinstance(peer, str) else "192.0.2.1" for peer in trusted.get("peers", ())]
    _, mistakes = TrustedProxies.parse(peers, trusted.get("header"), trusted.get("max_hops", 32))
    known = [
        mistake for mistake in mistakes if mistake.setting in trusted and log.sound("trusted_proxies", mistake.setting)
    ]
    for mistake in known:
        index = () if mistake.index is None else (mistake.index,)
        log.add("P013", mistake.message, mistake.hint, path=("trusted_proxies", mistake.setting, *index))


def _review_sections(said: Mapping[str, Any], log: ProblemLog) -> None:
    if "/**" in said.get("paths", {}):
        message = "/** is the whole site: its wishes replace those under usages:"
        log.add("P016", message, "write them under usages: only", path=("paths", "/**"), warning=True)


def _review_names(names: Sequence[str | None], path: Path, catalog: Catalog, log: ProblemLog) -> None:
    operators = {operator.lower(): operator for operator in catalog.operators}
    for number, name in enumerate(names):
        if name is None:
            continue
        agent = catalog.agent(name)
        if agent is not None:
            if not agent.expected_user_agent:
                message = f"{agent.name} cannot be recognised by its user agent: it is declared, not enforced"
                log.add("P020", message, "nothing to change: robots.txt says it", path=(*path, number), warning=True)
            continue
        if name.lower() in operators:
            hint = f"write operators: [{operators[name.lower()]}]"
        elif name.lower() in set(Usage):
            hint = f"write usages: [{name.lower()}]"
        else:
            called = (agent for agent in catalog.agents if name.lower() in map(str.lower, agent.all_robots_tokens))
            meant = next(called, None)
            known = (agent.name for agent in catalog.agents)
            hint = f"write {meant.name!r}" if meant else did_you_mean(name, known) or "`noai-guard agents` lists them"
        log.add("P017", f"no agent is called {shown(name)!r}", hint, path=(*path, number))


def _review_operators(names: Sequence[str | None], path: Path, catalog: Catalog, log: ProblemLog) -> None:
    operators = {operator.lower() for operator in catalog.operators}
    for number, name in enumerate(names):
        if name is None or name.lower() in operators:
            continue
        agent = catalog.agent(name)
        hint = f"write agents: [{agent.name}]" if agent else did_you_mean(name, catalog.operators)
        hint = hint or "`noai-guard agents` lists them"
        log.add("P017", f"no operator is called {shown(name)!r}", hint, path=(*path, number))


@dataclass(frozen=True)
class _Reach:
    """For whom and where a rule holds. `holders` has a bit for each agent and identity."""

    name: str
    holders: int
    paths: tuple[str, ...]
    action: Action | None = None

    @cached_property
    def _globs(self) -> Globs:
        return compile_globs(self.paths)

    @cached_property
    def _patterns(self) -> frozenset[str]:
        return frozenset(self.paths)

    @cached_property
    def _over(self) -> Mapping[str, frozenset[str]]:
        return {path: _patterns_over(path) for path in self.paths}

    def everywhere_that(self, other: "_Reach") -> bool:
        """Whether the paths of `other` certainly all lie within the paths of this."""
        if not self.paths or "/**" in self.paths:
            return True
        return bool(other.paths) and all(
            not other._over[path].isdisjoint(self._patterns)
            if "*" in path or "?" in path
            else self._globs.first(path) >= 0
            for path in other._patterns - self._patterns
        )


def _patterns_over(pattern: str) -> frozenset[str]:
    """The pattern itself and every `directory/**` above it."""
    over = {pattern}
    for place, letter in enumerate(pattern):
        if letter == "/" and "**" not in pattern[:place]:
            over.add(f"{pattern[:place]}/**")
    return frozenset(over)


def _review_rules(rules: Mapping[int, Rule], exemptions: Mapping[str, Any], catalog: Catalog, log: ProblemLog) -> None:
    _review_ids(rules, log)
    clients = tuple(_clients(catalog))
    everybody = (1 << len(clients)) - 1
    exempt = Rule("exemptions", Action.ALLOW, agents=frozenset(map(str.lower, exemptions.get("agents", ()))))
    earlier: list[_Reach] = []
    if exempt.agents:
        earlier.append(_Reach(exempt.id, _holders(exempt, clients), ()))
    if paths := tuple(exemptions.get("paths", ())):
        earlier.append(_Reach(exempt.id, everybody, paths))
    for number, rule in rules.items():
        reach = _Reach(rule.id, _holders(rule, clients), rule.paths, rule.action)
        _review_reach(reach, earlier, ("rules", number), log)
        earlier.append(reach)
        if rule.identities and rule.identities <= {Identity.VERIFIED, Identity.SPOOFED}:
            message = "no way to verify a claim is installed: this rule never holds"
            log.add("P019", message, "name unverified too", path=("rules", number, "identities"), warning=True)
        if rule.action.restricts and rule.holds_for(None, Identity.UNCLAIMED):
            message = f"rule {rule.id!r} turns people away too, because it names no agents, operators or usages"
            hint = "name whom it is for, unless that is meant"
            log.add("P022", message, hint, path=("rules", number), warning=True)


def _review_ids(rules: Mapping[int, Rule], log: ProblemLog) -> None:
    seen: dict[str, int] = {}
    for number, rule in rules.items():
        if rule.id.lower() in (*OWN_RULE_IDS, *Usage):
            message = f"the rule id {rule.id!r} is taken: logs and metrics use it for what noai-guard decides itself"
            log.add("P018", message, "choose another", path=("rules", number, "id"))
        elif rule.id in seen:
            hint = "rename one; a rule without an id is called rule-1, rule-2 ... by its place"
            message = f"two rules have the id {rule.id!r} (rules[{seen[rule.id] + 1}] is the other)"
            log.add("P018", message, hint, path=("rules", number, "id"))
        seen.setdefault(rule.id, number)


def _clients(catalog: Catalog) -> Iterator[tuple[Agent | None, Identity]]:
    """Everybody that a rule can hold for."""
    yield None, Identity.UNCLAIMED
    yield UNKNOWN_BOT, Identity.UNCLAIMED
    for agent in catalog.agents:
        for identity in (Identity.UNVERIFIED, Identity.VERIFIED, Identity.SPOOFED):
            yield agent, identity


def _holders(rule: Rule, clients: tuple[tuple[Agent | None, Identity], ...]) -> int:
    bits = "".join("1" if rule.holds_for(agent, identity) else "0" for agent, identity in clients)
    return int(bits, 2)


def _review_reach(rule: _Reach, earlier: list[_Reach], path: Path, log: ProblemLog) -> None:
    if not rule.holders:
        message = f"rule {rule.name!r} never holds: nobody meets all its conditions"
        log.add("P016", message, "remove a condition, or write several rules", path=path, warning=True)
        return
    over = [other for other in earlier if rule.holders & other.holders and other.everywhere_that(rule)]
    for other in over:
        same = other.holders == rule.holders and rule.everywhere_that(other)
        if same and other.action not in (None, rule.action):
            message = f"rules {other.name!r} and {rule.name!r} hold for the same requests and contradict each other"
            log.add("P015", message, "remove one, or narrow its conditions", path=path)
            return
    alone = [other for other in over if not rule.holders & ~other.holders]
    together = reduce(or_, (other.holders for other in over), 0)
    if alone or not rule.holders & ~together:
        names = ", ".join(dict.fromkeys(repr(other.name) for other in alone[:1] or over))
        message = f"rule {rule.name!r} is never reached: {names} come{'s' if alone else ''} first"
        log.add("P016", message, "put the narrower rule first", path=path, warning=True)
