"""Semantic checks across the whole policy and the catalogue."""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import Any

from noai_guard.config.build import rule_from
from noai_guard.config.yaml_nodes import KeyPath, ProblemLog, printable
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import NAMELESS, UNKNOWN_BOT, Action, Agent, Identity, Usage
from noai_guard.core.path_patterns import PathMatcher, perhaps_query
from noai_guard.core.policy import OWN_RULE_IDS, Rule
from noai_guard.core.text import did_you_mean
from noai_guard.core.trusted_proxies import TrustedProxies
from noai_guard.core.works import Works
from noai_guard.stores.addresses import MEMORY, is_shared


def check_semantics(data: Mapping[str, Any], catalog: Catalog, log: ProblemLog) -> None:
    """Log the problems of a policy that was read. Parts in which a problem was logged before are left out."""
    _check_proxies(data.get("trusted_proxies") or {}, log)
    site = data.get("site") or {}
    if is_shared(data.get("store") or MEMORY) and not (site.get("url") or site.get("name")):
        message = "the site has neither a url nor a name: whatever else uses the store without one has the same counts"
        log.add("P026", message, "write site: {url: ...}", path=("store",), warning=True)
    if data.get("wishes") and not data.get("works") and log.is_valid("works"):
        message = "wishes are for works, and the policy does not say which paths are a work"
        log.add("P056", message, "write works: [/audio/{work}.mp3], as your addresses are", path=("wishes",))
    if data.get("works") and log.is_valid("works"):
        for one, other, sample, names in Works(data["works"]).overlaps:
            message = f"{printable(one)} and {printable(other)} overlap: {sample} is {' or '.join(map(repr, names))}"
            hint = "the strictest wish for any of these names counts; write patterns that tell works apart"
            log.add("P058", message, hint, path=("works",), warning=True)
    if "/**" in data.get("paths", {}):
        message = "/** is the whole site: its wishes replace those under usages:"
        log.add("P016", message, "write them under usages: only", path=("paths", "/**"), warning=True)
    _check_agents(data.get("exemptions", {}).get("agents", ()), ("exemptions", "agents"), catalog, log)
    networks = tuple(data.get("identity", {}).get("networks", {}))
    _check_agents(networks, ("identity", "networks"), catalog, log, is_mapping=True)
    _check_patterns(data, log)
    _check_partners(data, log)
    _check_uses(data, log)
    rules = dict(enumerate(data.get("rules", ())))
    for index, rule in rules.items():
        if rule is not None:
            _check_agents(rule.get("agents") or (), ("rules", index, "agents"), catalog, log)
            _check_networks(rule.get("networks") or (), ("rules", index, "networks"), data.get("networks") or {}, log)
            _check_operators(rule.get("operators") or (), ("rules", index, "operators"), catalog, log)
    valid = {index: rule_from(rules[index], index + 1) for index in rules if log.is_valid("rules", index)}
    exemptions = data.get("exemptions", {}) if log.is_valid("exemptions") else {}
    _check_rules(valid, exemptions, {name.lower() for name in networks}, catalog, log)


def _check_partners(data: Mapping[str, Any], log: ProblemLog) -> None:
    seen: set[str] = set()
    for index, partner in enumerate(data.get("partners") or ()):
        if partner is None:
            continue
        path = ("partners", index)
        name = partner.get("name", "")
        if name.lower() in seen:
            log.add("P043", f"two partners are called {name!r}", "rename one", path=(*path, "name"))
        seen.add(name.lower())
        if partner.get("proof") == {} and log.is_valid(*path, "proof"):
            hint = "give proof: {api_key: ...}, {networks: ...} or {signature: ...}"
            log.add("P044", f"partner {name!r} has nothing to prove itself with", hint, path=(*path, "proof"))
        first, last = partner.get("from", ""), partner.get("until", "")
        if first and last and last < first:
            log.add("P041", f"the grant of {name!r} ends before it begins", "exchange from and until", path=path)
        signature = partner.get("proof", {}).get("signature")
        if signature and not data.get("site", {}).get("url") and not data.get("signatures", {}).get("hosts"):
            message = f"partner {name!r} signs its requests for a host, and the policy does not say which host this is"
            log.add("P045", message, "write site: {url: https://...}", path=(*path, "proof"), warning=True)


def _check_uses(data: Mapping[str, Any], log: ProblemLog) -> None:
    seen: set[tuple[str, str]] = set()
    for index, use in enumerate(data.get("uses", ())):
        if not log.is_valid("uses", index):
            continue
        name = (use["use"].lower(), use["by"].lower())
        if name in seen:
            message = f"{printable(use['use'])!r} by {printable(use['by'])!r} is declared twice"
            log.add("P060", message, "remove one, or say in words what is different", path=("uses", index))
        seen.add(name)
        if use["trains_generative_models"] and _refuses_training(data):
            message = f"{printable(use['use'])!r} trains generative models, and training is refused to others"
            hint = "the page for people says both; leave it so only if that is meant"
            log.add("P061", message, hint, path=("uses", index, "trains_generative_models"), warning=True)
    is_ours = data.get("site", {}).get("policy_page", "/").startswith("/")
    if is_ours and data.get("declarations", {}).get("policy_page", True):
        return
    for key in ("uses", "notices"):
        if data.get(key):
            message = f"{key} are shown to nobody: the page for people is {'switched off' if is_ours else 'your own'}"
            log.add("P016", message, "write them on a page of your own", path=(key,), warning=True)


def _refuses_training(data: Mapping[str, Any]) -> bool:
    """Return True if the policy refuses training on some path. Every stance refuses it."""
    usages = [data.get("usages", {}), *(part.get("usages", {}) for part in data.get("paths", {}).values())]
    whole_site, *parts = (of_paths.get(Usage.TRAIN_AI) for of_paths in usages)
    return any(Action(action).restricts for action in (whole_site or Action.DENY, *filter(None, parts)))


def _check_patterns(data: Mapping[str, Any], log: ProblemLog) -> None:
    patterns: list[tuple[KeyPath, str | None]] = [(("paths", pattern), pattern) for pattern in data.get("paths", {})]
    lists: dict[KeyPath, Sequence[str | None]] = {("exemptions", "paths"): data.get("exemptions", {}).get("paths", ())}
    for key in ("rules", "partners"):
        lists |= {(key, i, "paths"): (entry or {}).get("paths", ()) for i, entry in enumerate(data.get(key) or ())}
    patterns += [((*path, index), pattern) for path, each in lists.items() for index, pattern in enumerate(each or ())]
    for path, pattern in patterns:
        if pattern is not None and perhaps_query(pattern):
            message = f"? stands for one character in {printable(pattern)!r}: paths are judged without their query"
            log.add(
                "P011", message, "leave out ? and what follows, unless a character is meant", path=path, warning=True
            )


def _check_proxies(trusted: Mapping[str, Any], log: ProblemLog) -> None:
    peers = [peer if isinstance(peer, str) else "192.0.2.1" for peer in trusted.get("peers", ())]
    _, problems = TrustedProxies.parse(peers, trusted.get("header"), trusted.get("max_hops", 32))
    is_new = {setting: log.is_valid("trusted_proxies", setting) for setting in trusted}
    for problem in problems:
        if is_new.get(problem.setting):
            index = () if problem.index is None else (problem.index,)
            log.add("P013", problem.message, problem.hint, path=("trusted_proxies", problem.setting, *index))


def _check_agents(
    names: Sequence[str | None], path: KeyPath, catalog: Catalog, log: ProblemLog, *, is_mapping: bool = False
) -> None:
    """Log names that are no agents'. They stand in a list, or are the keys of a mapping."""
    operators = {operator.lower(): operator for operator in catalog.operators}
    for position, name in enumerate(names):
        index = name if is_mapping and name is not None else position
        if name is None:
            continue
        if agent := catalog.agent(name):
            if not agent.is_recognisable:
                message = f"{agent.name} cannot be recognised by its user agent: it is declared, not enforced"
                log.add("P020", message, "nothing to change: robots.txt says it", path=(*path, index), warning=True)
            continue
        if name.lower() in operators:
            hint = f"write operators: [{operators[name.lower()]}]"
        elif name.lower() in set(Usage):
            hint = f"write usages: [{name.lower()}]"
        else:
            matches = (agent for agent in catalog.agents if name.lower() in map(str.lower, agent.all_robots_tokens))
            match = next(matches, None)
            known = (agent.name for agent in catalog.agents)
            hint = f"write {match.name!r}" if match else did_you_mean(name, known) or "`noai-guard agents` lists them"
        log.add("P017", f"no agent is called {printable(name)!r}", hint, path=(*path, index))


def _check_networks(names: Sequence[str | None], path: KeyPath, known: Mapping[str, Any], log: ProblemLog) -> None:
    for index, name in enumerate(names):
        if name is not None and name not in known:
            hint = did_you_mean(name, known) or f"write networks: {{{name}: [203.0.113.0/24]}} at the top"
            log.add("P017", f"no networks are called {printable(name)!r}", hint, path=(*path, index))


def _check_operators(names: Sequence[str | None], path: KeyPath, catalog: Catalog, log: ProblemLog) -> None:
    operators = {operator.lower() for operator in catalog.operators}
    for index, name in enumerate(names):
        if name is not None and name.lower() not in operators:
            agent = catalog.agent(name)
            hint = f"write agents: [{agent.name}]" if agent else did_you_mean(name, catalog.operators)
            message = f"no operator is called {printable(name)!r}"
            log.add("P017", message, hint or "`noai-guard agents` lists them", path=(*path, index))


@dataclass(frozen=True)
class _Scope:
    """The clients and paths that a rule applies to. `clients` has a bit for each agent and identity."""

    name: str
    clients: int
    paths: tuple[str, ...]
    action: Action | None

    @cached_property
    def _matcher(self) -> PathMatcher:
        return PathMatcher(self.paths)

    @cached_property
    def _patterns(self) -> frozenset[str]:
        return frozenset(self.paths)

    @cached_property
    def _wider(self) -> Mapping[str, set[str]]:
        """Each pattern, with itself and every `directory/**` above it."""
        wider = {path: {path} for path in self.paths}
        for path in self.paths:
            above = (path[: match.start()] for match in re.finditer("/", path))
            wider[path].update(f"{directory}/**" for directory in above if "**" not in directory)
        return wider

    def covers_paths_of(self, other: "_Scope") -> bool:
        """Return True if the paths of `other` certainly all lie within the paths of this."""
        if not self.paths or "/**" in self.paths:
            return True
        return bool(other.paths) and all(
            not other._wider[path].isdisjoint(self._patterns)
            if "*" in path or "?" in path
            else self._matcher.first(path) >= 0
            for path in other._patterns - self._patterns
        )


def _check_rules(
    rules: Mapping[int, Rule],
    exemptions: Mapping[str, Any],
    own_networks: Set[str],
    catalog: Catalog,
    log: ProblemLog,
) -> None:
    _check_ids(rules, log)
    proven = (Identity.UNVERIFIED, Identity.VERIFIED, Identity.SPOOFED)
    clients: list[tuple[Agent | None, Identity]] = [
        (None, Identity.UNCLAIMED),
        (UNKNOWN_BOT, Identity.UNCLAIMED),
        (NAMELESS, Identity.UNCLAIMED),
        *((agent, identity) for agent in catalog.agents for identity in proven),
    ]

    def scope_of(rule: Rule, action: Action | None) -> _Scope:
        bits = "".join("1" if rule.holds_for(agent, identity) else "0" for agent, identity in clients)
        return _Scope(rule.id, int(bits, 2), rule.paths, action)

    earlier: list[_Scope] = []
    if agents := frozenset(map(str.lower, exemptions.get("agents", ()))):
        earlier.append(scope_of(Rule("exemptions", Action.ALLOW, agents=agents), None))
    if paths := tuple(exemptions.get("paths", ())):
        earlier.append(scope_of(Rule("exemptions", Action.ALLOW, paths=paths), None))
    for index, rule in rules.items():
        scope = scope_of(rule, rule.action)
        _check_scope(scope, earlier, ("rules", index), log)
        if not rule.needs_origin:
            earlier.append(scope)
        if rule.identities and rule.identities <= {Identity.VERIFIED, Identity.SPOOFED} and scope.clients:
            meant = [agent for agent in catalog.agents if any(rule.holds_for(agent, each) for each in rule.identities)]
            if not any(agent.verify or agent.name.lower() in own_networks for agent in meant):
                message = "no agent that is meant has published anything to be checked by: this rule never holds"
                log.add("P019", message, "name unverified too", path=("rules", index, "identities"), warning=True)
        if rule.action.restricts and rule.holds_for(None, Identity.UNCLAIMED) and not rule.needs_origin:
            message = f"rule {rule.id!r} turns people away too, because it names no agents, operators or usages"
            hint = "name whom it is for, unless that is meant"
            log.add("P022", message, hint, path=("rules", index), warning=True)


def _check_ids(rules: Mapping[int, Rule], log: ProblemLog) -> None:
    seen: dict[str, int] = {}
    for index, rule in rules.items():
        if rule.id.lower() in (*OWN_RULE_IDS, *Usage):
            message = f"the rule id {rule.id!r} is taken: logs and metrics use it for what noai-guard decides itself"
            log.add("P018", message, "choose another", path=("rules", index, "id"))
        elif rule.id in seen:
            hint = "rename one; a rule without an id is called rule-1, rule-2 ... by its place"
            message = f"two rules have the id {rule.id!r} (rules[{seen[rule.id] + 1}] is the other)"
            log.add("P018", message, hint, path=("rules", index, "id"))
        seen.setdefault(rule.id, index)


def _check_scope(rule: _Scope, earlier: list[_Scope], path: KeyPath, log: ProblemLog) -> None:
    if not rule.clients:
        message = f"rule {rule.name!r} never holds: nobody meets all its conditions"
        log.add("P016", message, "remove a condition, or write several rules", path=path, warning=True)
        return
    wider = [other for other in earlier if rule.clients & other.clients and other.covers_paths_of(rule)]
    for other in wider:
        same = other.clients == rule.clients and rule.covers_paths_of(other)
        if same and other.action not in (None, rule.action):
            message = f"rules {other.name!r} and {rule.name!r} hold for the same requests and contradict each other"
            log.add("P015", message, "remove one, or narrow its conditions", path=path)
            return
    covering = [other for other in wider if not rule.clients & ~other.clients]
    together = reduce(or_, (other.clients for other in wider), 0)
    if covering or not rule.clients & ~together:
        names = ", ".join(dict.fromkeys(repr(other.name) for other in covering[:1] or wider))
        message = f"rule {rule.name!r} is never reached: {names} come{'s' if covering else ''} first"
        log.add("P016", message, "put the narrower rule first", path=path, warning=True)
