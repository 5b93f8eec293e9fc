"""AWS: a WAF rule group and a CloudFront response headers policy, as the API and the command line take them.

A RegexMatchStatement has at most 512 characters (quota of AWS WAF, 2026-11), too few for the exact context of a name;
so a name matches only between characters that belong neither to a word nor to an address. Names in URLs do not match
then, and nobody is refused for the address of their own site.
"""

from collections.abc import Iterator
from typing import Any

from noai_guard.core.model import Agent
from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.core.user_agent_matcher import Token
from noai_guard.errors import CannotExpress
from noai_guard.responses.header_fields import one_line_per_name
from noai_guard.targets import ordered_rules, user_agent_regex
from noai_guard.targets.files import json_file
from noai_guard.targets.lookup_tables import UNNAMED_CLIENT
from noai_guard.targets.plan import Decision, PathSet, TargetPlan
from noai_guard.targets.target import Feature, File, ServerTarget

_MAX_EXPRESSION = 512


def _regex(field: dict[str, Any], pattern: str, transformation: str) -> dict[str, Any]:
    if len(pattern) > _MAX_EXPRESSION:
        raise CannotExpress("AWS: a path pattern is longer than the 512 characters of a RegexMatchStatement")
    return {
        "RegexMatchStatement": {
            "RegexString": pattern,
            "FieldToMatch": field,
            "TextTransformations": [{"Priority": 0, "Type": transformation}],
        }
    }


def _any(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return statements[0] if len(statements) == 1 else {"OrStatement": {"Statements": statements}}


def _all(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return statements[0] if len(statements) == 1 else {"AndStatement": {"Statements": statements}}


def _agents(tokens: tuple[Token[Agent], ...]) -> dict[str, Any]:
    header = {"SingleHeader": {"Name": "user-agent"}}
    expressions = user_agent_regex.expressions(tokens, _MAX_EXPRESSION, user_agent_regex.short_context)
    return _any([_regex(header, names.pattern(), "LOWERCASE") for names in expressions])


def _in_paths(paths: PathSet) -> dict[str, Any]:
    patterns = [_regex({"UriPath": {}}, pattern_to_regex(glob), "NORMALIZE_PATH") for glob in paths.globs]
    return _any(patterns)


def _documents(plan: TargetPlan) -> dict[str, Any]:
    return _any([_regex({"UriPath": {}}, pattern_to_regex(document.path), "NONE") for document in plan.documents])


def _statements(plan: TargetPlan) -> Iterator[tuple[dict[str, Any], Decision]]:
    documents = [_documents(plan)] if plan.documents else []
    for rule, allowing in ordered_rules.restricting_rules(plan):
        if rule.tokens and all(token.host for token in rule.tokens):
            continue
        excluded = [*documents, *(_agents(other.tokens) for other in allowing if other.tokens)]
        excluded += [_in_paths(paths) for paths in rule.excluded_paths]
        included = [*([_agents(rule.tokens)] if rule.tokens else []), *([_in_paths(rule.paths)] if rule.paths else [])]
        yield _all([*included, *({"NotStatement": {"Statement": statement}} for statement in excluded)]), rule.decision


def _rule_group(plan: TargetPlan) -> dict[str, Any]:
    bodies: dict[str, dict[str, str]] = {}
    rules = []
    for priority, (statement, decision) in enumerate(_statements(plan)):
        name = f"noai-guard-{priority + 1}-{decision.label.replace('_', '-')}"
        rules.append(
            {
                "Name": name,
                "Priority": priority,
                "Statement": statement,
                "Action": _action(decision, bodies),
                "VisibilityConfig": _visibility(name),
            }
        )
    return {
        "Name": "noai-guard",
        "Scope": "REGIONAL",
        "Capacity": 1500,
        "Rules": rules,
        "CustomResponseBodies": bodies,
        "VisibilityConfig": _visibility("noai-guard"),
    }


def _action(decision: Decision, bodies: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return Count or Block, never Allow: that would skip the other rules of the site's web ACL."""
    if not decision.status:
        return {"Count": {}}
    text = f"{UNNAMED_CLIENT}{decision.tail}"
    key = next((key for key, body in bodies.items() if body["Content"] == text), f"refusal-{len(bodies) + 1}")
    bodies[key] = {"ContentType": "TEXT_PLAIN", "Content": text}
    return {"Block": {"CustomResponse": {"ResponseCode": decision.status, "CustomResponseBodyKey": key}}}


def _visibility(name: str) -> dict[str, Any]:
    return {"SampledRequestsEnabled": True, "CloudWatchMetricsEnabled": True, "MetricName": name}


def _headers(plan: TargetPlan) -> dict[str, Any]:
    """Return a response headers policy. CloudFront takes one value a name, so several lines are joined."""
    declared = one_line_per_name(plan.compiled.site_declared.fields)
    items = [
        {"Header": name.decode(), "Value": value.decode("ascii"), "Override": False} for name, value in declared.items()
    ]
    return {"Name": "noai-guard", "CustomHeadersConfig": {"Quantity": len(items), "Items": items}}


def _limitations(plan: TargetPlan) -> Iterator[str]:
    yield from ordered_rules.limitations(plan)
    yield "names in URLs and after a slash or a dot are not recognised."
    if plan.path_policies:
        yield "CloudFront has one response headers policy a behaviour: declarations of sections are left out."


def _render(plan: TargetPlan, root: str) -> list[File]:
    contents = {"waf-rule-group": _rule_group(plan), "cloudfront-headers": _headers(plan)}
    return [json_file(f"aws/{name}.json", content) for name, content in contents.items()]


TARGET = ServerTarget(
    "aws",
    "AWS WAF and CloudFront",
    _render,
    supports=frozenset({Feature.HEADERS, Feature.OWN, Feature.REFUSALS, Feature.PATHS, Feature.MONITOR}),
    proof="schema",
    specific_limitations=_limitations,
)
