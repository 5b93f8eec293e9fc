"""Build objects from checked plain data, as YAML files and the compiled rules hold it."""

from collections.abc import Mapping
from typing import Any

from noai_guard.core.model import Action, Agent, Identity, Mode, OptOut, PathPolicy, Usage
from noai_guard.core.networks import NetworkSet
from noai_guard.core.policy import Exemptions, Policy, Rule, Site, Throttle
from noai_guard.core.trusted_proxies import TrustedProxies
from noai_guard.core.works import Works


def agent_from(entry: Mapping[str, Any]) -> Agent:
    """Build an agent from one entry of the catalogue."""
    facts: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in entry.items()
        if key not in ("samples", "sources")
    }
    facts["usages"] = tuple(map(Usage, entry["usages"]))
    if out := entry.get("opt_out"):
        facts["opt_out"] = OptOut(tuple(map(Usage, out["usages"])), out.get("by", ""))
    return Agent(**facts)


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `override`: mappings are merged, everything else is replaced."""
    result = dict(base)
    for key, value in override.items():
        current = result.get(key)
        result[key] = merge(current, value) if isinstance(current, dict) and isinstance(value, dict) else value
    return result


def build_policy(data: Mapping[str, Any], stance: str) -> Policy:
    """Build a policy from a stance with a site's file merged into it."""
    usages = _actions(data["usages"])
    exempt = data.get("exemptions", {})
    features, limits = data.get("features", {}), data.get("limits", {})
    return Policy(
        stance=stance,
        mode=Mode(data.get("mode", "enforce")),
        site=Site(**data.get("site", {})),
        usages=usages,
        path_policies=tuple(
            PathPolicy(pattern, {**usages, **_actions(path_policy.get("usages", {}))})
            for pattern, path_policy in data.get("paths", {}).items()
        ),
        rules=tuple(rule_from(rule, number) for number, rule in enumerate(data.get("rules", ()), 1)),
        exemptions=Exemptions(
            paths=tuple(exempt.get("paths", ())),
            agents=frozenset(name.lower() for name in exempt.get("agents", ())),
            addresses=NetworkSet(exempt.get("addresses", ())),
        ),
        on_unknown=Action(data.get("on_unknown", "allow")),
        unreadable=Action(data.get("unreadable", "deny")),
        trusted_proxies=TrustedProxies.parse(**{"peers": (), **data.get("trusted_proxies", {})})[0],
        throttle=Throttle(**limits.get("throttle", {})),
        store=data.get("store", "memory:"),
        store_deadline=limits.get("store_deadline", 5),
        declarations=data.get("declarations", {}),
        second_look=features.get("second_look", False),
        shared_cache=features.get("shared_cache", False),
        reload=features.get("reload", "off"),
        page_texts=data.get("page_texts", {}),
        works=Works(data.get("works", ())),
    )


def _actions(data: Mapping[str, str]) -> dict[Usage, Action]:
    return {Usage(usage): Action(action) for usage, action in data.items()}


def rule_from(data: Mapping[str, Any], number: int) -> Rule:
    """Build the rule at position `number` (from 1) of the list, which gives it an id if it has none."""
    return Rule(
        id=data.get("id", f"rule-{number}"),
        action=Action(data["action"]),
        agents=frozenset(name.lower() for name in data.get("agents", ())),
        operators=frozenset(name.lower() for name in data.get("operators", ())),
        usages=frozenset(map(Usage, data.get("usages", ()))),
        identities=frozenset(map(Identity, data.get("identities", ()))),
        paths=tuple(data.get("paths", ())),
        message=data.get("message", ""),
    )
