"""Traefik 3: a dynamic file with routers that refuse and a middleware that declares.

A router of ours stands before those of the site for each agent that is refused; it leads nowhere, and a middleware
that lets no address in answers with the status. Go's expressions are slow where hundreds of names are looked for, so
user agents of browsers are told first (`noai_guard.targets.go_regex`). JSON is YAML, which Traefik reads.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from noai_guard.core.model import Agent
from noai_guard.core.path_patterns import glob_to_regex
from noai_guard.core.user_agent_matcher import Token
from noai_guard.targets import go_regex, user_agent_regex
from noai_guard.targets.plan import AgentClass, PathSet, TargetPlan
from noai_guard.targets.target import Feature, File, ServerTarget, head

_FIRST = 2_000_000_000
"""Priority: Traefik's own for a rule is its length; the largest it takes is 2^63 - 1000."""

_DECLARE = "noai-declare"
_SPELLINGS = ("X-NoAI-Verdict", "X_NoAI_Verdict", "X-NoAI_Verdict", "X_NoAI-Verdict", "X.NoAI.Verdict")


def _quoted(text: str) -> str:
    """A text as a string of a rule; between back quotes nothing has a meaning, and ours hold none."""
    return f"`{text}`"


def _sees(pattern: str, any_case: bool = True) -> str:
    return f"HeaderRegexp({_quoted('User-Agent')}, {_quoted(('(?i)' if any_case else '') + pattern)})"


def _any(conditions: Iterable[str]) -> str:
    found = list(conditions)
    return found[0] if len(found) == 1 else f"({' || '.join(found)})"


def _named(tokens: Iterable[Token[Agent]]) -> str:
    return _any(_sees(found.pattern()) for found in user_agent_regex.expressions(tokens))


def _in_paths(paths: PathSet) -> str:
    return _any(f"PathRegexp({_quoted(_path(glob))})" for glob in paths.globs)


def _path(glob: str) -> str:
    """Traefik decodes everything in a path but a slash, which the site may well decode."""
    return go_regex.in_characters(re.sub(r"(?<!\^)/", "(?:/|%2[Ff])", glob_to_regex(glob)))


class _Rules:
    """The conditions of one plan."""

    def __init__(self, plan: TargetPlan) -> None:
        self.plan = plan

    def _never(self) -> Iterator[str]:
        documents = [f"PathRegexp({_quoted(_path(document.path))})" for document in self.plan.documents]
        if documents:
            yield f"!({_any(documents)} && (Method(`GET`) || Method(`HEAD`)))"
        yield from (f"!ClientIP({_quoted(str(network))})" for network in self.plan.exempt_networks)

    def _clients(self) -> Iterator[tuple[AgentClass, list[str]]]:
        """Each class and the conditions on the user agent, all of which must hold; what counts first comes first."""
        plan = self.plan
        browser = f"!{_sees(go_regex.browser_expression(plan.anchors))}" if plan.unclaimed.harmless else ""
        known: list[str] = []
        for tier in plan.tiers:
            by_class: dict[object, list[Token[Agent]]] = {}
            for token in tier:
                by_class.setdefault(plan.class_of(token.value).outcome, []).append(token)
            for tokens in by_class.values():
                named = _named(tokens)
                conditions = [named, *(f"!{other}" for other in known)]
                yield plan.class_of(tokens[0].value), [browser, *conditions] if browser else conditions
                known.append(named)
        others = [_named(plan.others)] if any(not token.host for token in plan.others) else []
        unnamed = [f"!{other}" for other in (*known, *others)]
        for token in plan.hosts:
            host = _sees(user_agent_regex.host_expression(token))
            yield plan.class_of(token.value), [host, *unnamed]
            unnamed.append(f"!{host}")
        if plan.asks_unknown_bots:
            bot = _sees(user_agent_regex.CALLS_ITSELF_A_BOT)
            yield plan.unknown_bot, [bot, *unnamed]
            yield plan.unclaimed, [f"!{bot}", *unnamed]

    def refused(self) -> Iterator[tuple[str, int]]:
        """(rule, status) of each router that refuses."""
        never = list(self._never())
        for found, conditions in self._clients():
            earlier: list[str] = []
            for decision in found.decisions:
                here = [_in_paths(decision.paths)] if decision.paths else []
                if decision.status:
                    outside = (f"!{paths}" for paths in earlier)
                    yield " && ".join([*conditions, *here, *outside, *never]), decision.status
                earlier += here


def _middlewares(plan: TargetPlan, statuses: Iterable[int]) -> dict[str, Any]:
    joined: dict[str, str] = {}
    for name, value in plan.compiled.declared[0].fields:
        text = value.decode("ascii")
        joined[name.decode()] = f"{joined[name.decode()]}, {text}" if name.decode() in joined else text
    own = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    found: dict[str, Any] = {
        _DECLARE: {
            "headers": {
                "customResponseHeaders": joined,
                "customRequestHeaders": dict.fromkeys(_SPELLINGS, ""),
            }
        },
        "noai-refusal": {"headers": {"customResponseHeaders": {**joined, **own}}},
    }
    for status in statuses:
        nobody = {"sourceRange": ["255.255.255.255/32"], "rejectStatusCode": status}
        found[f"noai-refuse-{status}"] = {"ipAllowList": nobody}
    return found


def _routers(plan: TargetPlan) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, (rule, status) in enumerate(_Rules(plan).refused(), 1):
        yield (
            f"noai-{number}",
            {
                "rule": rule,
                "priority": _FIRST - number,
                "middlewares": ["noai-refusal", f"noai-refuse-{status}"],
                "service": "noop@internal",
            },
        )


def files(plan: TargetPlan, root: str) -> list[File]:
    """One dynamic file. A router with TLS of its own name is needed for each entry point that ends TLS."""
    routers = dict(_routers(plan))
    statuses = sorted({int(router["middlewares"][1].rpartition("-")[2]) for router in routers.values()})
    secure = {f"{name}-tls": {**router, "tls": {}} for name, router in routers.items()}
    http = {"middlewares": _middlewares(plan, statuses), **({"routers": {**routers, **secure}} if routers else {})}
    comment = (
        f"# {head(plan, 'traefik')}\n"
        "# Put this into the folder of the file provider, and in the static configuration, at each entry point:\n"
        f"#   http: {{middlewares: [{_DECLARE}@file]}}\n"
    )
    return [File("noai-guard.yml", (comment + json.dumps({"http": http}, indent=1) + "\n").encode("utf-8"))]


def _limitations(plan: TargetPlan) -> Iterator[str]:
    yield "what Traefik answers by itself where no router fits carries no declarations."
    if len({declared.fields for declared in plan.compiled.declared}) > 1:
        yield "every response declares what holds for the whole site, also where a section says otherwise."


TARGET = ServerTarget(
    "traefik",
    "Traefik",
    files,
    supports=frozenset({Feature.HEADERS, Feature.REFUSALS, Feature.PATHS, Feature.ADDRESSES, Feature.MONITOR}),
    specific_limitations=_limitations,
)
