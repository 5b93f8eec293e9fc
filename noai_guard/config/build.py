"""Build objects from checked plain data, as YAML files and the compiled rules hold it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from noai_guard.core.event_settings import EventSettings, days_in
from noai_guard.core.header_conditions import HeaderCondition
from noai_guard.core.identity.published import PublishedRanges
from noai_guard.core.identity.settings import STALE_AFTER_DAYS, IdentityPolicy
from noai_guard.core.model import Action, Agent, Identity, Mode, OptOut, PathPolicy, Usage
from noai_guard.core.networks import NetworkSet
from noai_guard.core.partners import Partner, midnight
from noai_guard.core.path_patterns import PathMatcher
from noai_guard.core.policy import Creators, Exemptions, LedgerPolicy, Policy, Refresh, Rule, Site, Throttle
from noai_guard.core.trusted_proxies import TrustedProxies
from noai_guard.core.uses import Notice, Use
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
    if "networks" in entry:
        facts["networks"] = NetworkSet(entry["networks"])
    if "headers" in entry:
        facts["headers"] = header_conditions(entry["headers"])
    return Agent(**{"operator": entry["name"], **facts})


def header_conditions(data: Mapping[str, Sequence[str]]) -> tuple[HeaderCondition, ...]:
    """Build conditions on header fields; the one word `present` stands for any value."""
    return tuple(
        HeaderCondition(name, () if list(words) == ["present"] else tuple(words)) for name, words in data.items()
    )


def ranges_from(data: Mapping[str, Any]) -> PublishedRanges:
    """Build a list of networks from a file of rules/ranges."""
    published = datetime.fromisoformat(data["published"]).replace(tzinfo=UTC)
    return PublishedRanges(data["uri"], data["published"], published.timestamp(), data["networks"])


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
        identity=identity_from(data.get("identity", {})),
        trusted_proxies=TrustedProxies.parse(**{"peers": (), **data.get("trusted_proxies", {})})[0],
        throttle=Throttle(**limits.get("throttle", {})),
        store=data.get("store", "memory:"),
        store_deadline=limits.get("store_deadline", 50),
        declarations=data.get("declarations", {}),
        second_look=features.get("second_look", False),
        shared_cache=features.get("shared_cache", False),
        reload=features.get("reload", "off"),
        page_texts=data.get("page_texts", {}),
        partners=tuple(map(partner_from, data.get("partners", ()))),
        hosts=tuple(data.get("signatures", {}).get("hosts", ())),
        key_sets=data.get("key_sets", {}),
        refresh=Refresh(**data.get("refresh", {})),
        feeds=tuple(data.get("feeds", ())),
        agents=tuple(map(agent_from, data.get("agents", ()))),
        networks=data.get("networks", {}),
        files=tuple(data.get("files", ())),
        works=Works(data.get("works", ())),
        creators=Creators(data.get("wishes", ""), data.get("creators") == "decide", data.get("wish_index")),
        ledger=LedgerPolicy(**data["ledger"]) if data.get("ledger") else None,
        events=events_from(data["events"]) if "events" in data else None,
        uses=tuple(Use(**use) for use in data.get("uses", ())),
        notices=tuple(Notice(**notice) for notice in data.get("notices", ())),
    )


def _actions(data: Mapping[str, str]) -> dict[Usage, Action]:
    return {Usage(usage): Action(action) for usage, action in data.items()}


def identity_from(data: Mapping[str, Any]) -> IdentityPolicy:
    """Build the settings under `identity:`."""
    return IdentityPolicy(
        spoofed=Action(data.get("spoofed", "deny")),
        stale_after=data.get("stale_after", STALE_AFTER_DAYS),
        networks={name.lower(): NetworkSet(networks) for name, networks in data.get("networks", {}).items()},
        edge_ranges=data.get("edge_ranges", False),
    )


def events_from(data: Mapping[str, Any]) -> EventSettings:
    """Build the settings under `events:`."""
    given: dict[str, Any] = {key: data[key] for key in ("folder", "file_size") if key in data}
    if "to" in data:
        given["to"] = tuple(dict.fromkeys(data["to"]))
    if "keep" in data:
        given["keep"] = days_in(data["keep"])
    return EventSettings(full_addresses=data.get("addresses") == "full", keep_keys=data.get("keys") == "keep", **given)


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
        networks=tuple(data.get("networks", ())),
        headers=header_conditions(data.get("headers", {})),
    )


def partner_from(data: Mapping[str, Any]) -> Partner:
    """Build a partner from an entry under `partners:`."""
    proof = data["proof"]
    signature = proof.get("signature", {})
    given: dict[str, Any] = {}
    if first := data.get("from"):
        given |= {"begins": first, "starts": midnight(first)}
    if last := data.get("until"):
        given |= {"until": last, "ends": midnight(last, 1)}
    return Partner(
        name=data["name"],
        usages=frozenset(map(Usage, data["usages"])),
        paths=PathMatcher(data.get("paths", ["/**"])),
        api_keys=tuple(map(bytes.fromhex, proof.get("api_key", ()))),
        networks=NetworkSet(proof.get("networks", ())),
        directory=signature.get("directory", ""),
        key_ids=frozenset(signature.get("key_ids", ())),
        named=data.get("named", False),
        **given,
    )
