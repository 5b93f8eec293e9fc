"""A policy as plain data that says what it means, whatever the file looked like: what the ledger keeps and compares.

How the site runs (proxies, store, reload, key files, works, texts of the page) is no promise and is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from noai_guard.config.build import build_policy
from noai_guard.core.header_conditions import HeaderCondition
from noai_guard.core.model import Action, Agent, PathPolicy, Usage
from noai_guard.core.networks import NetworkSet
from noai_guard.core.partners import Partner
from noai_guard.core.path_patterns import by_specificity
from noai_guard.core.policy import Creators, LedgerPolicy, Policy, Rule
from noai_guard.core.wish_index import WishIndex
from noai_guard.record.canonical_json import digest

RUNNING = (
    "trusted_proxies", "store", "store_deadline", "shared_cache", "reload", "page_texts", "hosts", "key_sets",
    "refresh", "feeds", "files", "works", "events",
)  # fmt: skip
"""Fields of Policy that say how the site runs, not what it promises."""


def policy_data(policy: Policy) -> dict[str, Any]:
    """Return what a policy promises, as the data that `build_policy` takes. Equal promises give equal data."""
    site, identity, exempt = policy.site, policy.identity, policy.exemptions
    return {
        "mode": str(policy.mode),
        "site": {name: value for name in site.__slots__ if (value := getattr(site, name))},
        "usages": _wishes(policy.usages),
        "paths": [{"pattern": each.pattern, "usages": _wishes(each.usages)} for each in _ordered(policy.path_policies)],
        "rules": [_rule(rule) for rule in policy.rules],
        "exemptions": {
            "paths": sorted(exempt.paths),
            "agents": sorted(exempt.agents),
            "addresses": _networks(exempt.addresses),
        },
        "on_unknown": str(policy.on_unknown),
        "unreadable": str(policy.unreadable),
        "identity": {
            "spoofed": str(identity.spoofed),
            "stale_after": identity.stale_after,
            "networks": {name: _networks(networks) for name, networks in identity.networks.items()},
            "edge_ranges": identity.edge_ranges,
        },
        "limits": {"throttle": {"requests": policy.throttle.requests, "seconds": policy.throttle.seconds}},
        "declarations": dict(policy.declarations),
        "features": {"second_look": policy.second_look},
        "partners": [_partner(partner) for partner in policy.partners],
        "agents": [_agent(agent) for agent in policy.agents],
        "networks": {name: _networks(networks) for name, networks in policy.networks.items()},
        "uses": [asdict(use) for use in policy.uses],
        "notices": [asdict(notice) for notice in policy.notices],
        "notice": policy.ledger.notice if policy.ledger else 0,
        **({"creators": "decide"} if policy.creators.decide else {}),
        # Where wishes are kept is how the site runs; that they are followed there is a promise to creators.
        **({"works": sorted(policy.works.patterns)} if policy.follows_wishes else {}),
    }


def policy_digest(policy: Policy) -> str:
    """Return `sha256:` and the digest of what a policy promises. Not for the public: parts could be guessed."""
    return f"sha256:{digest(policy_data(policy))}"


def policy_from(data: Mapping[str, Any], running: Policy | None = None) -> Policy:
    """Build the policy that promised this. How the site runs is taken from `running`.

    Raises ValueError, KeyError, TypeError or AttributeError for data of another form.
    """
    networks = {name: NetworkSet(each) for name, each in data["networks"].items()}
    paths = {section["pattern"]: {"usages": section["usages"]} for section in data["paths"]}
    # Of a usage that there was not when it was written, nothing was promised.
    usages = {**dict.fromkeys(map(str, Usage), str(Action.ALLOW)), **data["usages"]}
    complete = {**data, "networks": networks, "paths": paths, "usages": usages}
    policy = build_policy(complete, running.stance if running else "no-ai")
    place = running.ledger if running and running.ledger else LedgerPolicy("")
    kept = {name: getattr(running, name) for name in RUNNING} if running else {}
    if "works" in data:
        kept.pop("works", None)
    creators = replace(_creators(running, followed="works" in data), decide=policy.creators.decide)
    return replace(policy, ledger=replace(place, notice=data["notice"]), creators=creators, **kept)


def _creators(running: Policy | None, *, followed: bool) -> Creators:
    """Return where the wishes of creators are. What they wish is theirs; whether it is followed, and whether it may
    open something, is the site's promise."""
    creators = running.creators if running else Creators()
    if not followed:
        is_known = creators.index is not None and creators.index.known
        return replace(creators, source="", index=creators.index if is_known else None)
    return creators if creators.source or creators.asked else Creators(index=WishIndex(known=False))


def _ordered(sections: Sequence[PathPolicy]) -> list[PathPolicy]:
    """Return sections in the order in which they count. That in the file is kept only where it may matter: of two
    equally specific patterns without a wildcard but a final `/**`, no path matches both."""
    plain = [section for section in sections if not set("*?") & set(section.pattern.removesuffix("/**"))]
    others = [section for section in sections if section not in plain]
    listed = [*sorted(plain, key=lambda section: section.pattern), *others]
    return [listed[number] for number in by_specificity([section.pattern for section in listed])]


def _wishes(usages: Mapping[Any, Any]) -> dict[str, str]:
    return {str(usage): str(action) for usage, action in usages.items()}


def _networks(networks: NetworkSet) -> list[str]:
    return [str(network) for network in networks]


def _headers(conditions: tuple[HeaderCondition, ...]) -> dict[str, list[str]]:
    return {each.name: list(each.words) or ["present"] for each in conditions}


def _rule(rule: Rule) -> dict[str, Any]:
    facts = {
        "id": rule.id,
        "action": str(rule.action),
        "agents": sorted(rule.agents),
        "operators": sorted(rule.operators),
        "usages": sorted(map(str, rule.usages)),
        "identities": sorted(map(str, rule.identities)),
        "paths": list(rule.paths),
        "message": rule.message,
        "networks": sorted(rule.networks),
        "headers": _headers(rule.headers),
    }
    return {key: value for key, value in facts.items() if value}


def _partner(partner: Partner) -> dict[str, Any]:
    signature = {"directory": partner.directory, "key_ids": sorted(partner.key_ids)} if partner.directory else {}
    proof = {
        "api_key": [key.hex() for key in partner.api_keys],
        "networks": _networks(partner.networks),
        "signature": signature,
    }
    facts = {
        "name": partner.name,
        "usages": sorted(map(str, partner.usages)),
        "paths": list(partner.paths.patterns),
        "from": partner.begins,
        "until": partner.until,
        "named": partner.named,
        "proof": {key: value for key, value in proof.items() if value},
    }
    return {key: value for key, value in facts.items() if value or key == "proof"}


def _agent(agent: Agent) -> dict[str, Any]:
    facts: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value
        for name in Agent.__slots__
        if (value := getattr(agent, name)) and name not in ("opt_out", "networks", "headers", "verify", "usages")
    }
    facts["usages"] = list(map(str, agent.usages))
    if agent.opt_out:
        facts["opt_out"] = {"usages": list(map(str, agent.opt_out.usages)), "by": agent.opt_out.by}
    if agent.verify:
        facts["verify"] = {way: list(values) for way, values in agent.verify.items()}
    if agent.networks:
        facts["networks"] = _networks(agent.networks)
    if agent.headers:
        facts["headers"] = _headers(agent.headers)
    return facts
