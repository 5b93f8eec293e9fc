"""AWS: a WAF rule group and a CloudFront response headers policy, as the API and the command line take them.

A RegexMatchStatement has at most 512 characters (quota of AWS WAF, 2026-11), too few for the exact context of a name;
so a name matches only between characters that belong neither to a word nor to an address. Names in URLs do not match
then, and nobody is refused for the address of their own site.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.errors import LimitExceeded
from noai_guard.targets import ordered_rules, user_agent_regex
from noai_guard.targets.decisions import Decision
from noai_guard.targets.path_sets import OPEN
from noai_guard.targets.plan import AgentToken, TargetPlan
from noai_guard.targets.target import Feature, File, ServerTarget, json_file

_MAX_EXPRESSION = 512
_MAX_CAPACITY = 5000
_MAX_BODIES = 50
_MAX_BODY = 4096
"""Quotas of a rule group (AWS WAF, 2026-11): capacity units, bodies of responses, bytes in one of them."""

_BASE_CAPACITY, _TRANSFORMATION_CAPACITY = 3, 10
"""Capacity units of a RegexMatchStatement and, unless another statement needs the same one, of its transformation."""

_USUAL_CAPACITY = 1500
_MAX_HEADERS = 10
_MAX_VALUE = 1783
"""Quotas of a CloudFront response headers policy (2026-11): custom headers, characters in the value of one."""


def _regex(field: dict[str, Any], pattern: str, transformation: str) -> dict[str, Any]:
    if len(pattern) > _MAX_EXPRESSION:
        unit = "characters in a RegexMatchStatement"
        raise LimitExceeded("AWS WAF", _MAX_EXPRESSION, unit, len(pattern), "shorten the path patterns")
    transformations = [{"Priority": 0, "Type": transformation}]
    statement = {"RegexString": pattern, "FieldToMatch": field, "TextTransformations": transformations}
    return {"RegexMatchStatement": statement}


def _joined(operator: str, statements: list[dict[str, Any]]) -> dict[str, Any]:
    return statements[0] if len(statements) == 1 else {operator: {"Statements": statements}}


def _agents(tokens: tuple[AgentToken, ...]) -> dict[str, Any]:
    header = {"SingleHeader": {"Name": "user-agent"}}
    expressions = user_agent_regex.expressions(tokens, _MAX_EXPRESSION, user_agent_regex.short_context)
    return _joined("OrStatement", [_regex(header, names.pattern(), "LOWERCASE") for names in expressions])


def _in_paths(patterns: Iterable[str], transformation: str = "NORMALIZE_PATH") -> dict[str, Any]:
    return _joined("OrStatement", [_regex({"UriPath": {}}, pattern, transformation) for pattern in patterns])


def _statements(plan: TargetPlan) -> Iterator[tuple[dict[str, Any], Decision]]:
    let_in = [_in_paths([*OPEN.raw, *(pattern_to_regex(document.path) for document in plan.documents)], "NONE")]
    for rule, allowing in ordered_rules.restricting_rules(plan):
        if rule.tokens and all(token.host for token in rule.tokens):
            continue
        excluded = [*let_in, *(_agents(other.tokens) for other in allowing if other.tokens)]
        excluded += [_in_paths(paths.regexes) for paths in rule.excluded_paths]
        included = [_agents(rule.tokens)] if rule.tokens else []
        included += [_in_paths(rule.paths.regexes)] if rule.paths else []
        included += [{"NotStatement": {"Statement": statement}} for statement in excluded]
        yield _joined("AndStatement", included), rule.decision


def _rule_group(plan: TargetPlan) -> dict[str, Any]:
    bodies: dict[str, dict[str, str]] = {}
    rules = []
    for priority, (statement, decision) in enumerate(_statements(plan)):
        name = f"noai-guard-{priority + 1}-{decision.label.replace('_', '-')}"
        rule = {"Name": name, "Priority": priority, "Statement": statement, "Action": _action(decision, bodies)}
        rules.append({**rule, "VisibilityConfig": _visibility(name)})
    expressions = json.dumps(rules).count('"RegexString"')
    for limit, unit, actual in (
        (_MAX_CAPACITY, "capacity units in a rule group", expressions * _BASE_CAPACITY),
        (_MAX_BODIES, "bodies of responses", len(bodies)),
        (
            _MAX_BODY,
            "bytes in the body of a response",
            max((len(b["Content"].encode()) for b in bodies.values()), default=0),
        ),
    ):
        if actual > limit:
            raise LimitExceeded("AWS WAF", limit, unit, actual, "name fewer paths and rules, or shorter messages")
    needed = expressions * (_BASE_CAPACITY + _TRANSFORMATION_CAPACITY)
    capacity = min(max(needed, _USUAL_CAPACITY), _MAX_CAPACITY)
    group = {"Name": "noai-guard", "Scope": "REGIONAL", "Capacity": capacity, "Rules": rules}
    return {**group, "CustomResponseBodies": bodies, "VisibilityConfig": _visibility("noai-guard")}


def _action(decision: Decision, bodies: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return Count or Block, never Allow: that would skip the other rules of the site's web ACL."""
    if not decision.status:
        return {"Count": {}}
    content = {"ContentType": "TEXT_PLAIN", "Content": decision.unnamed_text}
    key = next((key for key, body in bodies.items() if body == content), f"refusal-{len(bodies) + 1}")
    bodies[key] = content
    return {"Block": {"CustomResponse": {"ResponseCode": decision.status, "CustomResponseBodyKey": key}}}


def _visibility(name: str) -> dict[str, Any]:
    return {"SampledRequestsEnabled": True, "CloudWatchMetricsEnabled": True, "MetricName": name}


def _limitations(plan: TargetPlan) -> Iterator[str]:
    yield from ordered_rules.limitations(plan)
    yield "names in URLs and after a slash or a dot are not recognised."
    if plan.path_policies:
        yield "CloudFront has one response headers policy a behaviour: declarations of sections are left out."


def _render(plan: TargetPlan, root: str) -> list[File]:
    fields = [{"Header": name, "Value": value, "Override": False} for name, value in plan.site_fields.items()]
    for limit, unit, actual in (
        (_MAX_HEADERS, "custom headers in a policy", len(fields)),
        (_MAX_VALUE, "characters in the value of a header", max((len(str(f["Value"])) for f in fields), default=0)),
    ):
        if actual > limit:
            raise LimitExceeded("CloudFront", limit, unit, actual, "declare less, or write shorter addresses")
    headers = {"Name": "noai-guard", "CustomHeadersConfig": {"Quantity": len(fields), "Items": fields}}
    return [json_file("aws/waf-rule-group.json", _rule_group(plan)), json_file("aws/cloudfront-headers.json", headers)]


TARGET = ServerTarget(
    "aws",
    "AWS WAF and CloudFront",
    _render,
    supports=frozenset({Feature.HEADERS, Feature.OWN, Feature.REFUSALS, Feature.PATHS, Feature.MONITOR}),
    proof="schema",
    specific_limitations=_limitations,
)
