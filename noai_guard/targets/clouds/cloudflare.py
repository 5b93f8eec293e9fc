"""Cloudflare: two rulesets for its API, WAF custom rules and response header transforms.

`matches` in the Rules language wants a plan that has regular expressions. An expression may have 4,096 characters
(limits of the Rulesets engine, 2026-11), so names are spread over rules. A transform holds one value a header name,
so the second X-Robots-Tag line is a rule of its own.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from noai_guard.core.model import Agent
from noai_guard.core.path_patterns import glob_to_regex
from noai_guard.core.user_agent_matcher import Token
from noai_guard.errors import CannotExpress
from noai_guard.targets import ordered_rules, user_agent_regex
from noai_guard.targets.ordered_rules import refuses_or_tells
from noai_guard.targets.plan import Decision, PathSet, TargetPlan
from noai_guard.targets.target import Feature, File, ServerTarget

Around = Callable[[user_agent_regex.Kind], tuple[str, str]]

_LONGEST = 4000


def quote(text: str) -> str:
    """A text as a raw string of the Rules language, with as many signs around it as it takes."""
    signs = "#"
    while f'"{signs}' in text:
        signs += "#"
    return f'r{signs}"{text}"{signs}'


def _matches(field: str, pattern: str) -> str:
    return f"({field} matches {quote(pattern)})"


def _in_paths(paths: PathSet) -> str:
    patterns = (glob_to_regex(glob) for glob in paths.globs)
    return "(" + " or ".join(_matches("http.request.uri.path", pattern) for pattern in patterns) + ")"


def _is_document(plan: TargetPlan) -> str:
    paths = " ".join(quote(document.path) for document in plan.documents)
    return f'(http.request.uri.path in {{{paths}}} and http.request.method in {{r#"GET"# r#"HEAD"#}})'


def _named(tokens: Iterable[Token[Agent]], longest: int, around: Around) -> list[str]:
    """Conditions on the user agent, of which any one is enough."""
    tokens = tuple(tokens)
    room = longest - len(_matches("http.user_agent", "(?i)"))
    found = [expression.pattern() for expression in user_agent_regex.expressions(tokens, room, around)]
    found += [user_agent_regex.host_expression(token) for token in tokens if token.host]
    return [_matches("http.user_agent", f"(?i){pattern}") for pattern in found]


def _waf(plan: TargetPlan) -> Iterator[dict[str, Any]]:
    never = [_is_document(plan)] if plan.documents else []
    if plan.exempt_networks:
        never.append(f"(ip.src in {{{' '.join(map(str, plan.exempt_networks))}}})")
    for rule, open_to in refuses_or_tells(plan):
        outweighing = [token for other in open_to for token in other.tokens]
        excluded = [*never, *_named(outweighing, _LONGEST, user_agent_regex.in_few_characters)]
        excluded += [_in_paths(paths) for paths in rule.unless]
        where = [*([_in_paths(rule.paths)] if rule.paths else []), *(f"not {condition}" for condition in excluded)]
        room = _LONGEST - len(" and ".join(["", *where]))
        for agents in _named(rule.tokens, room, user_agent_regex.as_the_judge_reads) or ["true"]:
            expression = " and ".join([agents, *where])
            if len(expression) > _LONGEST:
                raise CannotExpress("Cloudflare: path patterns longer than an expression of 4,096 characters")
            said = f"noai-guard: {rule.decision.word}, {rule.decision.verdict.rule}"
            yield {**_action(rule.decision), "expression": expression, "description": said}


def _action(decision: Decision) -> dict[str, Any]:
    if not decision.status:
        return {"action": "log"}
    answer = {"status_code": decision.status, "content": f"This client{decision.tail}", "content_type": "text/plain"}
    return {"action": "block", "action_parameters": {"response": answer}}


def _transforms(plan: TargetPlan) -> Iterator[dict[str, Any]]:
    earlier: list[str] = []
    for paths, declared in plan.declared:
        where = [f"not {condition}" for condition in earlier]
        if paths is not None:
            earlier.append(_in_paths(paths))
            where.append(earlier[-1])
        seen: dict[str, int] = {}
        rounds: dict[int, dict[str, dict[str, str]]] = {}
        for name, value in declared.fields:
            place = seen[name.decode()] = seen.get(name.decode(), 0) + 1
            rounds.setdefault(place, {})[name.decode()] = {"operation": "add", "value": value.decode("ascii")}
        for headers in rounds.values():
            yield {
                "action": "rewrite",
                "action_parameters": {"headers": headers},
                "expression": " and ".join(where) or "true",
                "description": "noai-guard: declarations",
            }


def _render(plan: TargetPlan, root: str) -> list[File]:
    def ruleset(name: str, phase: str, found: Iterator[dict[str, Any]]) -> File:
        content = {"name": f"noai-guard {name}", "kind": "zone", "phase": phase, "rules": list(found)}
        return File(f"cloudflare/{name}.json", json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")

    return [
        ruleset("waf", "http_request_firewall_custom", _waf(plan)),
        ruleset("transform", "http_response_headers_transform", _transforms(plan)),
    ]


TARGET = ServerTarget(
    "cloudflare",
    "Cloudflare",
    _render,
    supports=frozenset(
        {Feature.HEADERS, Feature.LINES, Feature.REFUSALS, Feature.PATHS, Feature.ADDRESSES, Feature.MONITOR}
    ),
    proof="schema",
    specific_limitations=ordered_rules.limitations,
)
