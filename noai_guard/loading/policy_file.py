"""noai.yaml -> Policy. `POLICY_FILE` is the one table of everything a policy may say."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from noai_guard.catalog import Catalog
from noai_guard.client_address import HEADERS, TrustedProxies
from noai_guard.loading.build import rules_from
from noai_guard.loading.fields import (
    Choice,
    Field,
    Flag,
    ListOf,
    MapOf,
    Number,
    Record,
    Text,
    did_you_mean,
)
from noai_guard.loading.nodes import ProblemLog, parse
from noai_guard.model import Usage
from noai_guard.policy import rule_problems
from noai_guard.request_path import glob_problem

STANCES = ("no-ai", "no-training", "search-only")

_ACTIONS = {
    "allow": "let in",
    "log": "let in, with a line in the decision log",
    "throttle": "429 above the rate in limits",
    "license_required": "402 with where to get a licence",
    "deny": "403",
}
_WISH_ALIASES = {
    **dict.fromkeys(("yes", "y", "true", "on", "allowed"), "allow"),
    **dict.fromkeys(("no", "n", "false", "off", "disallow", "disallowed"), "deny"),
    "license-required": "license_required",
    "licence_required": "license_required",
}
_USAGES = {
    Usage.TRAIN_AI: "training of generative models",
    Usage.DATA_BROKER: "collecting data to sell it on, AI training included",
    Usage.SCRAPER: "scraping tools and services that feed AI",
    Usage.AI_AGENT: "agents that act on a person's behalf",
    Usage.AI_INPUT: "fetching pages to answer a person's prompt",
    Usage.AI_SEARCH: "indexes of answer engines",
    Usage.ARCHIVE: "web archives",
    Usage.SEO: "search engine optimisation tools",
    Usage.SEARCH: "search engines that send people to the site",
    Usage.ADS: "advertising quality checks",
    Usage.PREVIEW: "link previews in messengers and social networks",
    Usage.FEED: "feed readers and podcast directories",
    Usage.PLAYER: "players and podcast apps",
    Usage.MONITORING: "uptime and security checks",
    Usage.AUTOMATION: "HTTP libraries and headless browsers",
    Usage.UNKNOWN_BOT: "clients that call themselves bots and are in no catalogue",
}

Wrong = tuple[str, str, str] | None


def _url(text: str) -> Wrong:
    parts = urlsplit(text)
    if parts.scheme in ("https", "http") and parts.hostname and _IN_HEADER.fullmatch(text):
        return None
    return "P014", f"{text[:100]!r} is not a web address", "write https://..."


def _contact(text: str) -> Wrong:
    mail = text.removeprefix("mailto:")
    if re.fullmatch(r"[^\s@<>\"]+@[^\s@<>\"]+\.[^\s@<>\"]+", mail) and _IN_HEADER.fullmatch(mail):
        return None
    if text.startswith(("https://", "http://")):
        return _url(text)
    return "P014", f"{text[:100]!r} is neither an e-mail nor a web address", "write name@example.org"


def _page(text: str) -> Wrong:
    if text.startswith("/") and not text.startswith("//"):
        return None if _IN_HEADER.fullmatch(text) and "?" not in text and "#" not in text else _bad_page(text)
    return _url(text) and _bad_page(text)


def _bad_page(text: str) -> Wrong:
    return "P014", f"{text[:100]!r} is neither a path nor a web address", "write /ai-policy or https://..."


def _glob(text: str) -> Wrong:
    problem = glob_problem(text)
    return ("P011", f"bad path pattern {text[:100]!r}: {problem}", "e.g. /tracks/**") if problem else None


def _network(text: str) -> Wrong:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "P013", f"{text[:100]!r} is not an address or network", "write 203.0.113.0/24 or 2001:db8::/32"
    return None


def _rule_name(text: str) -> Wrong:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        return None
    return "P007", f"bad rule id {text[:100]!r}", "letters, digits, dot, dash and underscore, at most 64"


_IN_HEADER = re.compile(r"[!#-;=?-~]{1,2000}")
"""Printable ASCII that may stand inside <...> or quotes of a header value."""

_usage = Choice({usage.value: doc for usage, doc in _USAGES.items()}, {}, "P012", "usage")
_wish = Choice(_ACTIONS, _WISH_ALIASES, "P009", "wish")
_action = Choice(_ACTIONS, {"license-required": "license_required", "licence_required": "license_required"},
                 "P009", "action")  # fmt: skip
_identity = Choice(
    {
        "unclaimed": "names no known agent",
        "unverified": "names an agent, not checked",
        "verified": "is the agent it names",
        "spoofed": "is not the agent it names",
    },
    {},
    "P009",
    "identity",
)
_words = ListOf(Text(longest=100))
_paths = ListOf(Text(_glob, longest=1024, pattern="^/", examples=("/tracks/**",)))
_wishes = MapOf(_usage, _wish)

_SECTION = Record({"usages": Field(_wishes, "wishes for these paths; what is not named is as for the site")})
_RULE = Record(
    {
        "id": Field(Text(_rule_name, longest=64), "name of the rule in logs and metrics"),
        "agents": Field(_words, "agents by name, as `noai-guard agents` lists them"),
        "operators": Field(_words, "agents by operator"),
        "usages": Field(ListOf(_usage), "agents by what they fetch for"),
        "identities": Field(ListOf(_identity), "how far the claim has been checked"),
        "paths": Field(_paths, "only under these paths"),
        "action": Field(_action, "what is done", required=True),
        "message": Field(Text(longest=300), "a sentence added to a refusal"),
    }
)
_STANDARDS: dict[str, Field] = {
    "robots_txt": Field(
        Choice({"merge": "with the app's own", "replace": "the app's own is not asked", "off": "left alone"},
               {"no": "off", "false": "off", "yes": "merge", "true": "merge", "on": "merge"}),
        "/robots.txt",
    ),
    "x_robots_tag": Field(Flag(), "X-Robots-Tag: noai, noimageai"),
    "noarchive": Field(Flag(), "X-Robots-Tag: noarchive, which Bing and Amazon read as no training"),
    "content_usage": Field(Flag(), "Content-Usage (IETF AIPREF), as a header and in robots.txt"),
    "tdmrep": Field(Flag(), "TDMRep: /.well-known/tdmrep.json, headers and metas"),
    "html_meta": Field(Flag(), "metas in HTML pages"),
    "licence_link": Field(Flag(), "Link: rel=license"),
    "policy_page": Field(Flag(), "a page for people, at site.policy_page"),
}  # fmt: skip

POLICY_FILE = Record(
    {
        "extends": Field(Choice(dict.fromkeys(STANCES, ""), {}, "P009", "stance"), "the stance to begin with"),
        "mode": Field(
            Choice({"enforce": "refuse", "monitor": "judge and count everything, refuse nothing"}, {}),
            "enforce, or monitor to look first",
        ),
        "site": Field(
            Record(
                {
                    "url": Field(Text(_url), "where the site lives, https://..."),
                    "name": Field(Text(longest=200), "the site's name"),
                    "owner": Field(Text(longest=200), "who holds the rights"),
                    "contact": Field(Text(_contact), "whom to ask for a licence: e-mail or web address"),
                    "policy_page": Field(Text(_page), "path of the page for people, or an address of your own"),
                    "licence": Field(Text(_url), "address of the licence"),
                    "tdm_policy": Field(Text(_url), "address of a TDMRep policy document"),
                }
            ),
            "facts about the site, shown in refusals and declarations",
        ),
        "usages": Field(_wishes, "what fetched content may be used for: yes, no, or an action"),
        "paths": Field(
            MapOf(Text(_glob, longest=1024, pattern="^/", examples=("/tracks/**", "/press/**")), _SECTION),
            "different wishes for parts of the site; the most specific pattern counts",
        ),
        "rules": Field(ListOf(_RULE, lone=False), "exceptions, first match wins, before usages"),
        "exemptions": Field(
            Record(
                {
                    "paths": Field(_paths, "never judged"),
                    "agents": Field(_words, "never refused"),
                    "addresses": Field(ListOf(Text(_network)), "clients never refused"),
                }
            ),
            "what is left alone",
        ),
        "on_unknown": Field(
            Choice({"allow": "let in", "deny": "403"}, {}),
            "what happens when a backend cannot answer",
        ),
        "trusted_proxies": Field(
            Record(
                {
                    "peers": Field(ListOf(Text(longest=100)), "networks of your own proxies, or unix:", required=True),
                    "header": Field(
                        Choice(dict.fromkeys(HEADERS, ""), {}, "P009", "header"),
                        "the one header they set",
                        required=True,
                    ),
                    "max_hops": Field(Number(1, 32, "hops"), "how many proxies at most"),
                }
            ),
            "who may say where a request came from; nobody unless named here",
        ),
        "limits": Field(
            Record(
                {
                    "throttle": Field(
                        Record(
                            {
                                "requests": Field(Number(1, 1_000_000), "requests", required=True),
                                "seconds": Field(Number(1, 86_400, "seconds"), "per so many seconds"),
                            }
                        ),
                        "the rate of the action throttle, per agent and address block",
                    )
                }
            ),
            "numbers",
        ),
        "declarations": Field(Record(_STANDARDS), "which standards are declared"),
        "features": Field(
            Record(
                {
                    "second_look": Field(
                        Flag(), "let user-agents say whether an unknown client is a bot (1 ms per new one)"
                    ),
                    "reload": Field(
                        Choice(
                            {"off": "", "signal": "on SIGHUP", "watch": "when the file changes, and on SIGHUP"},
                            {"no": "off", "false": "off"},
                        ),
                        "read this file again while running",
                    ),
                }
            ),
            "switches",
        ),
    }
)


def policy_schema() -> dict[str, Any]:
    """The JSON Schema of noai.yaml, generated from the table that reads it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://noai-guard.dev/schema/policy.schema.json",
        "title": "noai-guard policy (noai.yaml)",
        **POLICY_FILE.schema(),
    }


def read_policy(text: bytes, file: str) -> tuple[dict[str, Any], ProblemLog]:
    """A policy file -> what it says, as plain data, and the log of problems and places."""
    log = ProblemLog(file)
    root = parse(text, log)
    said = POLICY_FILE.read(root, (), log) if root is not None else {}
    return said or {}, log


def look_over(said: Mapping[str, Any], catalog: Catalog, log: ProblemLog) -> None:
    """Logs what only shows when the policy is seen as a whole and beside the catalogue."""
    if trusted := said.get("trusted_proxies"):
        _, mistakes = TrustedProxies.parse(
            trusted.get("peers", ()), trusted.get("header"), trusted.get("max_hops", 32)
        )
        for mistake in mistakes:
            at = ("trusted_proxies", mistake.setting, *(() if mistake.index is None else (mistake.index,)))
            log.add_at("P013", mistake.message, at, hint=mistake.hint)
    agents = {agent.name.lower(): agent for agent in catalog.agents}
    operators = {name.lower() for name in catalog.operators}
    named = [("exemptions", said.get("exemptions", {}).get("agents", ()))]
    named += [(("rules", n), rule.get("agents", ())) for n, rule in enumerate(said.get("rules", ()))]  # type: ignore[misc]
    for where, names in named:
        path = (*(where if isinstance(where, tuple) else (where,)), "agents")
        for name in names:
            agent = agents.get(name.lower())
            if agent is None:
                hint = did_you_mean(name, agents) or "noai-guard agents lists them"
                log.add_at("P017", f"no agent is called {name!r}", path, hint=hint)
            elif not agent.expected_user_agent:
                message = f"{agent.name} cannot be recognised by its user agent: this is declared, not enforced"
                log.add_at("P020", message, path, warning=True)
    for number, rule in enumerate(said.get("rules", ())):
        for name in rule.get("operators", ()):
            if name.lower() not in operators:
                hint = did_you_mean(name, operators)
                log.add_at("P017", f"no operator is called {name!r}", ("rules", number, "operators"), hint=hint)
        checked = {"verified", "spoofed"}
        if rule.get("identities") and checked.issuperset(rule["identities"]):
            message = "no way to verify a claim is installed: this rule never holds"
            log.add_at("P019", message, ("rules", number, "identities"), warning=True)
    for place, problem in rule_problems(rules_from(said.get("rules", ()))):
        log.add_at(problem.code, problem.message, ("rules", place), hint=problem.hint, warning=problem.warning)

