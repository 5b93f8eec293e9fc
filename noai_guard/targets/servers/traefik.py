"""Traefik 3: a dynamic file with routers that refuse and a middleware that declares.

For each status of a refusal there is a router of a higher priority than those of the site. It has no backend; its
middleware, which allows no client address, responds with the status. Go's expressions with hundreds of names are slow,
so one expression looks for suspects before (`noai_guard.targets.suspects`). Conditions match if any line of a field
does, so none may be true of a User-Agent line that names nobody: a second line could name somebody. JSON is YAML, which
Traefik reads.

Traefik removes dot segments and double slashes before it routes and passes the path on. Rules see the rest decoded, but
for reserved characters.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.targets import go_regex, suspects, user_agent_regex
from noai_guard.targets.decisions import AgentClass, Decision
from noai_guard.targets.lookup_tables import VERDICT_ALIASES, VERDICT_HEADER
from noai_guard.targets.origins import MANY, open_expressions, origin_refusals
from noai_guard.targets.path_sets import NOT_ASCII, PathSet
from noai_guard.targets.plan import AgentToken, TargetPlan
from noai_guard.targets.target import Feature, File, ServerTarget, head

_PRIORITY = 2_000_000_000
"""Traefik's default for a rule is its length; the maximum is 2^63 - 1000."""

_DECLARE = "noai-declare"


def _user_agent_matches(pattern: str) -> str:
    return f"HeaderRegexp(`User-Agent`, `(?i){go_regex.with_ascii_letters(pattern)}`)"


Condition = str | bool
"""A part of a rule, or what it always is."""


def _not(condition: Condition) -> Condition:
    return f"!({condition})" if isinstance(condition, str) else not condition


def _either(conditions: Iterable[Condition]) -> Condition:
    listed = list(conditions)
    if True in listed:
        return True
    left = [condition for condition in listed if isinstance(condition, str)]
    return (left[0] if len(left) == 1 else f"({' || '.join(left)})") if left else False


def _all(conditions: Iterable[Condition]) -> Condition:
    listed = list(conditions)
    if False in listed:
        return False
    left = [condition for condition in listed if isinstance(condition, str)]
    return (left[0] if len(left) == 1 else f"({' && '.join(left)})") if left else True


def _named(tokens: Iterable[AgentToken]) -> Condition:
    return _either(_user_agent_matches(names.pattern()) for names in user_agent_regex.expressions(tokens))


def _path_matches(pattern: str) -> str:
    return f"PathRegexp(`{go_regex.with_characters(pattern)}`)"


def _in_paths(paths: PathSet) -> Condition:
    if paths.raw:
        # What is no UTF-8 is read as U+FFFD.
        return _all(_path_matches(pattern.replace(NOT_ASCII, r"\x{fffd}")) for pattern in paths.raw)
    return _either(map(_path_matches, paths.regexes))


def _clients(plan: TargetPlan) -> Iterator[tuple[Condition, AgentClass | None]]:
    """Yield conditions on the User-Agent with the class of clients, None for one that is allowed; the first decides."""
    for tier in plan.tiers:
        for agents, tokens in plan.by_outcome(tier):
            yield _named(tokens), agents
    if any(not token.host for token in plan.other_tokens):
        yield _named(plan.other_tokens), None
    for token in plan.host_tokens:
        yield _user_agent_matches(user_agent_regex.host_expression(token)), plan.class_of(token.value)
    if plan.detects_unknown_bots:
        yield _user_agent_matches(user_agent_regex.CALLS_ITSELF_A_BOT), plan.unknown_bot
        yield True, plan.unclaimed


def _refused_with(status: int, clients: Iterable[tuple[Condition, AgentClass | None]]) -> Condition:
    """Return who is refused with this status, and where.

    Each condition stands for its class in one nested expression, so that its length grows with their number.
    """
    refused: Condition = False
    for client, agents in reversed(list(clients)):
        here = _refused_in(status, agents.rows if agents and agents.restricted else ())
        if here is False:
            refused = _all([_not(client), refused])
        elif here is True:
            refused = _either([client, refused])
        else:
            refused = _either([_all([client, here]), _all([_not(client), refused])])
    return refused


def _refused_in(status: int, decisions: Sequence[Decision]) -> Condition:
    """Return where the first of these decisions whose paths match has this status."""
    refused: Condition = False
    for decision in reversed(decisions):
        paths = _in_paths(decision.paths) if decision.paths else True
        here = _either if decision.status == status else _all
        refused = here([paths if decision.status == status else _not(paths), refused])
    return refused


def _refused(plan: TargetPlan) -> Iterator[tuple[str, int]]:
    """Yield (rule, status) of each router that refuses: one for each status, and one for who cannot be read.

    Of a long User-Agent only the names are looked for: the exact expressions take half a millisecond each for 7 KB.
    """
    documents = _either(_path_matches(pattern_to_regex(document.path)) for document in plan.documents)
    exceptions = [_not(_all([documents, "(Method(`GET`) || Method(`HEAD`))"]))]
    exceptions += [f"!ClientIP(`{network}`)" for network in plan.exempt_networks]
    everybody = suspects.suspects_everybody(plan)
    suspect = everybody or _either(map(_user_agent_matches, suspects.words_without_look_around(plan)))
    in_characters, *in_bytes = map(_user_agent_matches, go_regex.LONG)
    long = _either([in_characters, _all(in_bytes)])
    read = _not(long) if plan.hidden_tokens and not everybody else True
    clients = list(_clients(plan))
    refusing = (row.status for agents in plan.all_classes if agents.restricted for row in agents.rows if row.status)
    for status in sorted(set(refusing)):
        yield from _rule([read, suspect, *exceptions, _refused_with(status, clients)], status)
    if plan.hidden_tokens:
        hidden = user_agent_regex.hidden_expression(plan.hidden_tokens)
        named = _user_agent_matches(hidden if everybody else suspects.anywhere_without_look_around(plan.hidden_tokens))
        escapes = (f"HeaderRegexp(`User-Agent`, `{escape}`)" for escape in suspects.ESCAPES)
        unreadable = _either([_all([long, named]), *escapes])
        status = max(row.status for row in plan.unreadable.rows)
        yield from _rule([unreadable, *exceptions, _refused_in(status, plan.unreadable.rows)], status)
    target, path = open_expressions(plan)
    spared = [f"!{_path_matches(pattern)}" for pattern in (target, path) if pattern]
    for origin in origin_refusals(plan, MANY):
        networks = [_either(f"ClientIP(`{network}`)" for network in origin.networks)] if origin.networks else []
        networks += [f"!ClientIP(`{network}`)" for network in origin.outside]
        fields = [
            f"{'!' * condition.negated}HeaderRegexp(`{condition.name}`, `(?i){condition.regex or '.'}`)"
            for condition in origin.headers
        ]
        yield from _rule([*networks, *fields, *spared, *exceptions], origin.status)


def _rule(conditions: Iterable[Condition], status: int) -> Iterator[tuple[str, int]]:
    if rule := _all(conditions):
        yield (rule if isinstance(rule, str) else "PathPrefix(`/`)"), status


def _middlewares(plan: TargetPlan, statuses: Iterable[int]) -> dict[str, Any]:
    cleared = dict.fromkeys((VERDICT_HEADER, *VERDICT_ALIASES), "")
    caching = {"Cache-Control": "no-store", "Vary": "User-Agent", "X-Content-Type-Options": "nosniff"}
    refusal = {**plan.site_fields, **caching}
    declared = {"customResponseHeaders": plan.site_fields} if plan.site_fields else {}  # Traefik takes no empty one
    middlewares: dict[str, Any] = {
        _DECLARE: {"headers": {**declared, "customRequestHeaders": cleared}},
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
    if len({declared.fields for declared in plan.declarations}) > 1:
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
