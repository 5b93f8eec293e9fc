"""Traefik 3: a dynamic file with routers that refuse and a middleware that declares.

For each class of refused agents there is a router of a higher priority than those of the site. It has no backend; its
middleware, which allows no client address, responds with the status. Go's expressions with hundreds of names are slow,
so at first one expression looks for a word of a name. Conditions match if any line of a field does, so none may be true
of a User-Agent line that names nobody: a second line could name somebody. JSON is YAML, which Traefik reads.

Traefik removes dot segments and double slashes before it routes and passes the path on. Rules see the rest decoded, but
for reserved characters.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.targets import go_regex, user_agent_regex
from noai_guard.targets.lookup_tables import VERDICT_ALIASES, VERDICT_HEADER
from noai_guard.targets.origins import MANY, open_expressions, origin_refusals
from noai_guard.targets.plan import NOT_ASCII, AgentClass, AgentToken, PathSet, TargetPlan
from noai_guard.targets.target import Feature, File, ServerTarget, head

_PRIORITY = 2_000_000_000
"""Traefik's default for a rule is its length; the maximum is 2^63 - 1000."""

_DECLARE = "noai-declare"


def _user_agent_matches(pattern: str) -> str:
    return f"HeaderRegexp(`User-Agent`, `(?i){pattern}`)"


def _any(conditions: Iterable[str]) -> str:
    listed = list(conditions)
    return listed[0] if len(listed) == 1 else f"({' || '.join(listed)})"


def _named(tokens: Iterable[AgentToken]) -> str:
    return _any(_user_agent_matches(names.pattern()) for names in user_agent_regex.expressions(tokens))


def _path_matches(pattern: str) -> str:
    return f"PathRegexp(`{go_regex.with_characters(pattern)}`)"


def _in_paths(paths: PathSet) -> str:
    if paths.raw:
        # What is no UTF-8 is read as U+FFFD.
        conditions = (_path_matches(pattern.replace(NOT_ASCII, r"\x{fffd}")) for pattern in paths.raw)
        return f"({' && '.join(conditions)})"
    return _any(map(_path_matches, paths.regexes))


def _clients(plan: TargetPlan) -> Iterator[tuple[AgentClass, list[str]]]:
    """Yield each class with the conditions on the User-Agent, all of which must be true, by precedence."""
    word = _user_agent_matches(rf"(?:^|[^a-z]){user_agent_regex.trie(sorted(plan.anchors))}(?:[^a-z]|$)")
    suspect = [] if plan.unclaimed.restricted else [word]
    known: list[str] = []
    for tier in plan.tiers:
        for agents, tokens in plan.by_outcome(tier):
            named = _named(tokens)
            yield agents, [*suspect, named, *(f"!{other}" for other in known)]
            known.append(named)
    others = [_named(plan.other_tokens)] if any(not token.host for token in plan.other_tokens) else []
    unnamed = [f"!{other}" for other in (*known, *others)]
    for token in plan.host_tokens:
        host = _user_agent_matches(user_agent_regex.host_expression(token))
        yield plan.class_of(token.value), [host, *unnamed]
        unnamed.append(f"!{host}")
    if plan.detects_unknown_bots:
        bot = _user_agent_matches(user_agent_regex.CALLS_ITSELF_A_BOT)
        yield plan.unknown_bot, [bot, *unnamed]
        yield plan.unclaimed, [f"!{bot}", *unnamed]
    if plan.hidden_tokens:
        hidden = user_agent_regex.hidden_expression(plan.hidden_tokens)
        yield plan.unreadable, [_user_agent_matches(user_agent_regex.LONG), _user_agent_matches(hidden)]


def _refused(plan: TargetPlan) -> Iterator[tuple[str, int]]:
    """Yield (rule, status) of each router that refuses."""
    documents = [_path_matches(pattern_to_regex(document.path)) for document in plan.documents]
    exceptions = [f"!({_any(documents)} && (Method(`GET`) || Method(`HEAD`)))"] if documents else []
    exceptions += [f"!ClientIP(`{network}`)" for network in plan.exempt_networks]
    for agents, conditions in _clients(plan):
        earlier: list[str] = []
        for decision in agents.rows if agents.restricted else ():
            paths = [_in_paths(decision.paths)] if decision.paths else []
            if decision.status:
                excluded = (f"!{other}" for other in earlier)
                yield " && ".join([*conditions, *paths, *excluded, *exceptions]), decision.status
            earlier += paths
    target, path = open_expressions(plan)
    spared = [f"!{_path_matches(pattern)}" for pattern in (target, path) if pattern]
    for origin in origin_refusals(plan, MANY):
        found = [_any(f"ClientIP(`{network}`)" for network in origin.networks)] if origin.networks else []
        found += (f"HeaderRegexp(`{condition.name}`, `(?i){condition.regex}`)" for condition in origin.headers)
        yield " && ".join([*found, *spared, *exceptions]), origin.status


def _middlewares(plan: TargetPlan, statuses: Iterable[int]) -> dict[str, Any]:
    cleared = dict.fromkeys((VERDICT_HEADER, *VERDICT_ALIASES), "")
    refusal = {**plan.site_fields, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    middlewares: dict[str, Any] = {
        _DECLARE: {"headers": {"customResponseHeaders": plan.site_fields, "customRequestHeaders": cleared}},
        "noai-refusal": {"headers": {"customResponseHeaders": refusal}},
    }
    for status in statuses:
        nobody = {"sourceRange": ["255.255.255.255/32"], "rejectStatusCode": status}
        middlewares[f"noai-refuse-{status}"] = {"ipAllowList": nobody}
    return middlewares


def _render(plan: TargetPlan, root: str) -> list[File]:
    """Return one dynamic file. Each router is in it a second time with TLS, for entry points that terminate TLS."""
    refused = list(_refused(plan))
    routers = {
        f"noai-{number}": {
            "rule": rule,
            "priority": _PRIORITY - number,
            "middlewares": ["noai-refusal", f"noai-refuse-{status}"],
            "service": "noop@internal",
        }
        for number, (rule, status) in enumerate(refused, 1)
    }
    secure = {f"{name}-tls": {**router, "tls": {}} for name, router in routers.items()}
    http: dict[str, Any] = {"middlewares": _middlewares(plan, sorted({status for _, status in refused}))}
    if routers:
        http["routers"] = {**routers, **secure}
    comment = (
        f"# {head(plan, 'traefik')}\n"
        "# Put this into the folder of the file provider, and in the static configuration, at each entry point:\n"
        f"#   http: {{middlewares: [{_DECLARE}@file]}}\n"
        "#   forwardedHeaders: {connection: [User-Agent]}\n"
        "# Without the second line, `Connection: User-Agent` in a request removes the field before a rule reads it.\n"
    )
    return [File("noai-guard.yml", (comment + json.dumps({"http": http}, indent=1) + "\n").encode("utf-8"))]


def _limitations(plan: TargetPlan) -> Iterator[str]:
    yield "responses of Traefik itself, where no router matches, have no declarations."
    if len({declared.fields for declared in plan.compiled.declared.values()}) > 1:
        yield "every response declares what applies to the whole site, also in sections with other declarations."


TARGET = ServerTarget(
    "traefik",
    "Traefik",
    _render,
    max_networks=MANY,
    supports=frozenset(
        {Feature.ORIGINS, Feature.HEADERS, Feature.REFUSALS, Feature.PATHS, Feature.ADDRESSES, Feature.MONITOR}
    ),
    specific_limitations=_limitations,
)
