"""Checked plain data (as YAML or the compiled rules hold it) -> objects. Needs no YAML."""

from collections.abc import Mapping
from typing import Any

from noai_guard.core.model import Action, Agent, Identity, Mode, OptOut, Usage
from noai_guard.core.networks import NetworkSet
from noai_guard.core.policy import Exemptions, PathPolicy, Policy, Rule, Site, Throttle
from noai_guard.core.trusted_proxies import TrustedProxies


def agent_from(entry: Mapping[str, Any]) -> Agent:
    """One entry, as plain data -> Agent."""
    out = entry.get("opt_out")
    return Agent(
        name=entry["name"],
        operator=entry["operator"],
        usages=tuple(map(Usage, entry["usages"])),
        expected_user_agent=tuple(entry["expected_user_agent"]),
        rfc9309_product_token=entry.get("rfc9309_product_token"),
        robots_txt_tokens=tuple(entry.get("robots_txt_tokens", ())),
        trigger=entry["trigger"],
        status=entry["status"],
        rfc9309_compliance=entry.get("rfc9309_compliance", "unknown"),
        robots_only=entry.get("robots_only", False),
        opt_out=OptOut(tuple(map(Usage, out["usages"])), out["by"]) if out else None,
        verify=entry.get("verify", {}),
        note=entry.get("note", ""),
    )


def merged(base: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """`said` laid over `base`: mappings are merged, everything else is replaced."""
    both = dict(base)
    for key, value in said.items():
        below = both.get(key)
        both[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both


def build_policy(said: Mapping[str, Any], stance: str) -> Policy:
    """Complete plain data (a stance, with a site's wishes laid over it) -> Policy."""
    usages = _actions(said["usages"])
    exempt = said.get("exemptions", {})
    trusted = said.get("trusted_proxies", {})
    features = said.get("features", {})
    return Policy(
        stance=stance,
        mode=Mode(said.get("mode", "enforce")),
        site=Site(**said.get("site", {})),
        usages=usages,
        path_policies=tuple(
            PathPolicy(pattern, {**usages, **_actions(path_policy.get("usages", {}))})
            for pattern, path_policy in said.get("paths", {}).items()
        ),
        rules=tuple(rule_from(rule, number) for number, rule in enumerate(said.get("rules", ()), 1)),
        exemptions=Exemptions(
            paths=tuple(exempt.get("paths", ())),
            agents=frozenset(name.lower() for name in exempt.get("agents", ())),
            addresses=NetworkSet(exempt.get("addresses", ())),
        ),
        on_unknown=Action(said.get("on_unknown", "allow")),
        trusted_proxies=TrustedProxies.parse(
            trusted.get("peers", ()), trusted.get("header"), trusted.get("max_hops", 32)
        )[0],
        throttle=Throttle(**said.get("limits", {}).get("throttle", {})),
        declarations=said.get("declarations", {}),
        second_look=features.get("second_look", False),
        reload=features.get("reload", "off"),
    )


def _actions(wishes: Mapping[str, str]) -> dict[Usage, Action]:
    return {Usage(usage): Action(action) for usage, action in wishes.items()}


def rule_from(said: Mapping[str, Any], number: int) -> Rule:
    """The rule that stands at `number` (from 1) in the list; without an id it is called after it."""
    return Rule(
        id=said.get("id", f"rule-{number}"),
        action=Action(said["action"]),
        agents=frozenset(name.lower() for name in said.get("agents", ())),
        operators=frozenset(name.lower() for name in said.get("operators", ())),
        usages=frozenset(map(Usage, said.get("usages", ()))),
        identities=frozenset(map(Identity, said.get("identities", ()))),
        paths=tuple(said.get("paths", ())),
        message=said.get("message", ""),
    )
