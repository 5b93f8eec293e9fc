"""AWS: a WAF rule group and a CloudFront response headers policy, as the API and the command line take them.

A RegexMatchStatement has at most 512 characters (quota of AWS WAF, 2026-11), too few for what may stand around a
name; so a name counts between characters that are neither of a word nor of an address, and nothing more is read. A
name in a URL is not seen then, and nobody is refused for the address of his own site.
"""

import json
from collections.abc import Iterator
from typing import Any

from noai_guard.core.model import Agent
from noai_guard.core.path_patterns import glob_to_regex
from noai_guard.core.user_agent_matcher import Token
from noai_guard.errors import CannotExpress
from noai_guard.targets import ordered_rules, user_agent_regex
from noai_guard.targets.ordered_rules import refuses_or_tells
from noai_guard.targets.plan import Decision, PathSet, TargetPlan
from noai_guard.targets.target import Feature, File, ServerTarget

_LONGEST = 512


def _regex(field: dict[str, Any], pattern: str, transformation: str) -> dict[str, Any]:
    if len(pattern) > _LONGEST:
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
    patterns = [
        found.pattern() for found in user_agent_regex.expressions(tokens, _LONGEST, user_agent_regex.in_few_characters)
    ]
    return _any([_regex(header, pattern, "LOWERCASE") for pattern in patterns])


def _in_paths(paths: PathSet) -> dict[str, Any]:
    patterns = [_regex({"UriPath": {}}, glob_to_regex(glob), "NORMALIZE_PATH") for glob in paths.globs]
    return _any(patterns)


def _documents(plan: TargetPlan) -> dict[str, Any]:
    return _any([_regex({"UriPath": {}}, glob_to_regex(document.path), "NONE") for document in plan.documents])


def _statements(plan: TargetPlan) -> Iterator[tuple[dict[str, Any], Decision]]:
    never = [_documents(plan)] if plan.documents else []
    for rule, open_to in refuses_or_tells(plan):
        if rule.tokens and all(token.host for token in rule.tokens):
            continue
        excluded = [*never, *(_agents(other.tokens) for other in open_to if other.tokens)]
        excluded += [_in_paths(paths) for paths in rule.unless]
        wanted = [*([_agents(rule.tokens)] if rule.tokens else []), *([_in_paths(rule.paths)] if rule.paths else [])]
        yield _all([*wanted, *({"NotStatement": {"Statement": statement}} for statement in excluded)]), rule.decision


def _rule_group(plan: TargetPlan) -> dict[str, Any]:
    bodies: dict[str, dict[str, str]] = {}
    listed = []
    for priority, (statement, decision) in enumerate(_statements(plan)):
        name = f"noai-guard-{priority + 1}-{decision.word.replace('_', '-')}"
        listed.append(
            {
                "Name": name,
                "Priority": priority,
                "Statement": statement,
                "Action": _action(decision, bodies),
                "VisibilityConfig": _visible(name),
            }
        )
    return {
        "Name": "noai-guard",
        "Scope": "REGIONAL",
        "Capacity": 1500,
        "Rules": listed,
        "CustomResponseBodies": bodies,
        "VisibilityConfig": _visible("noai-guard"),
    }


def _action(decision: Decision, bodies: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Nothing is ever allowed here: that would end the rules of the site's own web ACL too."""
    if not decision.status:
        return {"Count": {}}
    text = f"This client{decision.tail}"
    key = next((key for key, body in bodies.items() if body["Content"] == text), f"refusal-{len(bodies) + 1}")
    bodies[key] = {"ContentType": "TEXT_PLAIN", "Content": text}
    return {"Block": {"CustomResponse": {"ResponseCode": decision.status, "CustomResponseBodyKey": key}}}


def _visible(name: str) -> dict[str, Any]:
    return {"SampledRequestsEnabled": True, "CloudWatchMetricsEnabled": True, "MetricName": name}


def _headers(plan: TargetPlan) -> dict[str, Any]:
    """CloudFront has one value a name: what stands on several lines is joined, without any colon in X-Robots-Tag."""
    joined: dict[str, str] = {}
    for name, value in plan.compiled.declared[0].fields:
        text = value.decode("ascii")
        joined[name.decode()] = f"{joined[name.decode()]}, {text}" if name.decode() in joined else text
    items = [{"Header": name, "Value": value, "Override": False} for name, value in joined.items()]
    return {"Name": "noai-guard", "CustomHeadersConfig": {"Quantity": len(items), "Items": items}}


def _limitations(plan: TargetPlan) -> Iterator[str]:
    yield from ordered_rules.limitations(plan)
    yield "names in URLs and behind a slash or a dot are not seen."
    if plan.path_policies:
        yield "CloudFront has one response headers policy a behaviour: what sections declare is left out."


def _render(plan: TargetPlan, root: str) -> list[File]:
    contents = {"waf-rule-group": _rule_group(plan), "cloudfront-headers": _headers(plan)}
    return [
        File(f"aws/{name}.json", json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")
        for name, content in contents.items()
    ]


TARGET = ServerTarget(
    "aws",
    "AWS WAF and CloudFront",
    _render,
    supports=frozenset({Feature.HEADERS, Feature.OWN, Feature.REFUSALS, Feature.PATHS, Feature.MONITOR}),
    proof="schema",
    specific_limitations=_limitations,
)
