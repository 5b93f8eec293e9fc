"""Cloudflare: two rulesets for its API, WAF custom rules and response header transforms.

`matches` in the Rules language needs a plan with regular expressions. An expression may have 4,096 characters (limits
of the Rulesets engine, 2026-11), so names are spread over several rules. A transform has one value a header name, so
the second X-Robots-Tag line is a separate rule.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from noai_guard.errors import LimitExceeded
from noai_guard.targets import ordered_rules, user_agent_regex
from noai_guard.targets.path_sets import OPEN, PathSet
from noai_guard.targets.plan import AgentToken, TargetPlan
from noai_guard.targets.target import USUAL, Feature, File, ServerTarget, json_file

_MAX_EXPRESSION = 4000
_MAX_RULES = 1000
_MAX_RULES_BUSINESS = 100
"""Custom rules of a zone on the plans that have regular expressions, Enterprise and Business (2026-11)."""


def quote(text: str) -> str:
    """Return a text as a raw string of the Rules language, with as many # as it needs."""
    hashes = "#"
    while f'"{hashes}' in text:
        hashes += "#"
    return f'r{hashes}"{text}"{hashes}'


def _matches(field: str, pattern: str) -> str:
    return f"({field} matches {quote(pattern)})"


def _in_paths(paths: PathSet) -> str:
    return "(" + " or ".join(_matches("http.request.uri.path", pattern) for pattern in paths.regexes) + ")"


def _named(tokens: Iterable[AgentToken], max_length: int, context: user_agent_regex.Context) -> list[str]:
    """Return conditions on the User-Agent, at least one of which is true if it has one of these tokens."""
    tokens = tuple(tokens)
    max_pattern = max_length - len(_matches("http.user_agent", "(?i)"))
    patterns = [names.pattern() for names in user_agent_regex.expressions(tokens, max_pattern, context)]
    patterns += [user_agent_regex.host_expression(token) for token in tokens if token.host]
    return [_matches("http.user_agent", f"(?i){pattern}") for pattern in patterns]


def _check_length(expression: str) -> None:
    if len(expression) > _MAX_EXPRESSION:
        hint = "name fewer paths, or shorter ones"
        raise LimitExceeded("Cloudflare", _MAX_EXPRESSION, "characters in an expression", len(expression), hint)


def _waf(plan: TargetPlan) -> Iterator[dict[str, Any]]:
    exceptions = [f"({_matches('raw.http.request.uri.path', OPEN.raw[0])})"]
    if plan.documents:
        paths = " ".join(quote(document.path) for document in plan.documents)
        methods = 'http.request.method in {r#"GET"# r#"HEAD"#}'
        exceptions.append(f"(http.request.uri.path in {{{paths}}} and {methods})")
    if plan.exempt_networks:
        exceptions.append(f"(ip.src in {{{' '.join(map(str, plan.exempt_networks))}}})")
    for rule, allowing in ordered_rules.restricting_rules(plan):
        allowed = [token for other in allowing for token in other.tokens]
        excluded = [*exceptions, *_named(allowed, _MAX_EXPRESSION, user_agent_regex.short_context)]
        excluded += [_in_paths(paths) for paths in rule.excluded_paths]
        conditions = [*([_in_paths(rule.paths)] if rule.paths else []), *(f"not {condition}" for condition in excluded)]
        max_length = _MAX_EXPRESSION - len(" and ".join(["", *conditions]))
        for agents in _named(rule.tokens, max_length, user_agent_regex.unescaped_context) or ["true"]:
            expression = " and ".join([agents, *conditions])
            _check_length(expression)
            description = f"noai-guard: {rule.decision.label}, {rule.decision.verdict.rule}"
            content = {"content": rule.decision.unnamed_text, "content_type": "text/plain"}
            response = {"status_code": rule.decision.status, **content}
            block = {"action": "block", "action_parameters": {"response": response}}
            action = block if rule.decision.status else {"action": "log"}
            yield {**action, "expression": expression, "description": description}


def _transforms(plan: TargetPlan) -> Iterator[dict[str, Any]]:
    earlier: list[str] = []
    for paths, declared in plan.declared:
        conditions = [f"not {condition}" for condition in earlier]
        if paths is not None:
            earlier.append(_in_paths(paths))
            conditions.append(earlier[-1])
        expression = " and ".join(conditions) or "true"
        _check_length(expression)
        transforms: list[dict[str, dict[str, str]]] = []
        for name, value in declared.fields:
            free = next((headers for headers in transforms if name.decode() not in headers), None)
            if free is None:
                transforms.append(free := {})
            free[name.decode()] = {"operation": "add", "value": value.decode("ascii")}
        for headers in transforms:
            yield {
                "action": "rewrite",
                "action_parameters": {"headers": headers},
                "expression": expression,
                "description": "noai-guard: declarations",
            }


def _render(plan: TargetPlan, root: str) -> list[File]:
    def ruleset(name: str, phase: str, rules: Iterable[dict[str, Any]]) -> File:
        content = {"name": f"noai-guard {name}", "kind": "zone", "phase": phase, "rules": list(rules)}
        return json_file(f"cloudflare/{name}.json", content)

    rules = list(_waf(plan))
    if len(rules) > _MAX_RULES:
        raise LimitExceeded("Cloudflare", _MAX_RULES, "custom rules", len(rules), "name fewer paths and rules")
    return [
        ruleset("waf", "http_request_firewall_custom", rules),
        ruleset("transform", "http_response_headers_transform", _transforms(plan)),
    ]


def _limitations(plan: TargetPlan) -> Iterator[str]:
    yield from ordered_rules.limitations(plan)
    if plan.host_tokens:
        yield "the address of a refused agent counts beside any other name: of a feed reader for its site, say."
    if (rules := sum(1 for _ in _waf(plan))) > _MAX_RULES_BUSINESS:
        yield f"these are {rules} custom rules; below the Enterprise plan a zone has {_MAX_RULES_BUSINESS}."


TARGET = ServerTarget(
    "cloudflare",
    "Cloudflare",
    _render,
    supports=USUAL - {Feature.OWN, Feature.DOCUMENTS, Feature.BODIES, Feature.VERDICT},
    proof="schema",
    specific_limitations=_limitations,
)
