"""Services that cannot run here: their files fit the schema, and a small evaluator of them decides as the guard does."""

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.errors import LimitExceeded
from noai_guard.targets import TARGETS
from noai_guard.targets.plan import TargetPlan
from tests.servers import require
from tests.targets.conformance import RICH, corpus, policy, refusal

CATALOG = load_catalog()
POLICIES = {"no-ai": load_stance("no-ai"), "rich": policy(RICH), "monitor": policy(b"extends: no-ai\nmode: monitor\n")}
PATHS = (
    "/",
    "/press/x",
    "/tracks/a/stems/b",
    "/partner/a",
    "/open/page",
    "/health",
    "/robots.txt",
    "/license.xml",
    "/.well-known/acme-challenge/tok_En-1",
    "/.well-known/acme-challenge/../../x",
)


@cache
def rendered(key: str, name: str) -> dict[str, str]:
    files = TARGETS[key].render(TargetPlan(CompiledPolicy(POLICIES[name], CATALOG)), "/etc/noai")
    return {file.path: file.content.decode() for file in files}


def loaded(key: str, name: str, path: str) -> Any:
    return json.loads(rendered(key, name)[path])


def sees(pattern: str, text: str) -> bool:
    any_case = pattern.startswith("(?i)")
    pattern = re.sub(r"\$(?=\)|\||$)", r"\\Z", pattern.removeprefix("(?i)"))
    return re.search(pattern, text, re.ASCII | (re.IGNORECASE if any_case else 0)) is not None


def cloudflare(expression: str, path: str, user_agent: str) -> bool:
    """Evaluate an expression of the Rules language; only the parts that are generated."""
    paths = dict.fromkeys(("http.request.uri.path", "raw.http.request.uri.path"), path)
    fields = {**paths, "http.user_agent": user_agent, "http.request.method": "GET"}
    strings: list[str] = []

    def kept(match: re.Match[str]) -> str:
        strings.append(match[2])
        return f" strings[{len(strings) - 1}] "

    text = re.sub(r'r(#+)"(.*?)"\1', kept, expression)
    text = re.sub(r"ip\.src in \{[^}]*\}", "False", text)
    text = re.sub(r"\{([^}]*)\}", lambda match: "(" + re.sub(r"\]\s+(?=s)", "], ", match[1].strip()) + ",)", text)
    text = re.sub(r"([a-z._]+) matches (strings\[\d+\])", r"sees(\2, fields['\1'])", re.sub(r" +", " ", text))
    text = re.sub(r"(?<!')\b(http[a-z._]+) in", r"fields['\1'] in", text).replace("true", "True")
    return bool(eval(text, {"strings": strings, "fields": fields, "sees": sees}))


def cloudflare_status(rules: list[dict[str, Any]], path: str, user_agent: str) -> int:
    for rule in rules:
        if rule["action"] == "block" and cloudflare(rule["expression"], path, user_agent):
            return rule["action_parameters"]["response"]["status_code"]
    return 0


def aws(statement: dict[str, Any], path: str, user_agent: str) -> bool:
    [(kind, inner)] = statement.items()
    if kind == "NotStatement":
        return not aws(inner["Statement"], path, user_agent)
    if kind in ("AndStatement", "OrStatement"):
        return (all if kind == "AndStatement" else any)(aws(part, path, user_agent) for part in inner["Statements"])
    text = path if "UriPath" in inner["FieldToMatch"] else user_agent
    if inner["TextTransformations"][0]["Type"] == "LOWERCASE":
        text = text.lower()
    return sees(inner["RegexString"], text)


def aws_status(rules: list[dict[str, Any]], path: str, user_agent: str) -> int:
    for rule in sorted(rules, key=lambda rule: rule["Priority"]):
        if "Block" in rule["Action"] and aws(rule["Statement"], path, user_agent):
            return rule["Action"]["Block"]["CustomResponse"]["ResponseCode"]
    return 0


Status = Callable[[str, str], int]


def statuses(key: str, name: str) -> Status:
    if key == "cloudflare":
        rules = loaded(key, name, "cloudflare/waf.json")["rules"]
        return lambda path, user_agent: cloudflare_status(rules, path, user_agent)
    rules = loaded(key, name, "aws/waf-rule-group.json")["Rules"]
    return lambda path, user_agent: aws_status(rules, path, user_agent)


def judged(name: str, path: str, user_agent: str) -> int:
    compiled = CompiledPolicy(POLICIES[name], CATALOG)
    return 0 if path in compiled.documents else refusal(compiled, path, user_agent.encode())[0]


@pytest.mark.parametrize("key", ["cloudflare", "aws"])
def test_every_third_sample_gets_the_response_that_the_guard_decides(key: str) -> None:
    decides = statuses(key, "no-ai")
    compiled = CompiledPolicy(POLICIES["no-ai"], CATALOG)
    wrong = []
    for user_agent in corpus()[::3]:
        status, text = refusal(compiled, "/", user_agent)[0], user_agent.decode("latin-1")
        if decides("/", text) != status and not (key == "aws" and status and "://" in text):
            wrong.append((text, status))
    # AWS does not recognise a name after a slash or a dot, which could be an address.
    # Cloudflare's expressions have no room for all names beside which an address does not count.
    wrong = [each for each in wrong if (key, *each) != ("cloudflare", "wordpress/6.1.1; https://www.diffbot.com", 0)]
    assert not [(text, status) for text, status in wrong if key == "cloudflare" or status == 0]
    assert len(wrong) < 12


@pytest.mark.parametrize("key", ["cloudflare", "aws"])
@pytest.mark.parametrize("user_agent", ["GPTBot/1.2", "ClaudeBot/1.0", "CCBot/2.0", "PerplexityBot/1.0", "Googlebot/2.1",
                                        "Mozilla/5.0 (X11; Linux x86_64; rv:154.0) Gecko/20100101 Firefox/154.0"])  # fmt: skip
def test_paths_and_rules_apply(key: str, user_agent: str) -> None:
    decides = statuses(key, "rich")
    assert [decides(path, user_agent) for path in PATHS] == [judged("rich", path, user_agent) for path in PATHS]


@pytest.mark.parametrize("key", ["cloudflare", "aws"])
def test_monitor_mode_refuses_nobody_and_no_rule_skips_those_of_the_site(key: str) -> None:
    assert {"cloudflare": '"action": "log"', "aws": '"Count": {}'}[key] in str(rendered(key, "monitor"))
    assert statuses(key, "monitor")("/", "GPTBot/1.2") == 0
    assert '"skip"' not in str(rendered(key, "rich"))
    assert '"Allow"' not in str(rendered(key, "rich"))


@pytest.mark.parametrize("name", POLICIES)
def test_cloudflare_accepts_the_rulesets(name: str) -> None:
    require("cloudflare", "pydantic")
    from cloudflare.types.rulesets import RulesetCreateParams
    from pydantic import TypeAdapter

    for path in ("cloudflare/waf.json", "cloudflare/transform.json"):
        content = loaded("cloudflare", name, path)
        TypeAdapter(RulesetCreateParams).validate_python({"account_id": "1", **content})
        assert all(len(rule["expression"]) <= 4096 for rule in content["rules"])


@pytest.mark.parametrize("name", POLICIES)
def test_aws_accepts_the_rule_group_and_the_headers_policy(name: str) -> None:
    require("botocore")
    import botocore.session
    from botocore.validate import ParamValidator

    session = botocore.session.get_session()
    group = loaded("aws", name, "aws/waf-rule-group.json")
    headers = loaded("aws", name, "aws/cloudfront-headers.json")
    for service, operation, content in (
        ("wafv2", "CreateRuleGroup", group),
        ("cloudfront", "CreateResponseHeadersPolicy", {"ResponseHeadersPolicyConfig": headers}),
    ):
        shape = session.get_service_model(service).operation_model(operation).input_shape
        assert not ParamValidator().validate(content, shape).generate_report()
    assert max(map(len, re.findall(r'"RegexString": "((?:[^"\\]|\\.)*)"', json.dumps(group)))) <= 2 * 512


def test_kubernetes_accepts_the_configmap() -> None:
    require("kubernetes_validate")
    import kubernetes_validate

    kubernetes_validate.validate(loaded("kubernetes", "rich", "kubernetes/configmap.json"), "1.33", strict=True)
    route = loaded("kubernetes", "rich", "kubernetes/gateway-api-httproute.json")["spec"]["rules"]
    assert all(len(header["value"]) <= 4096 for match in route[0]["matches"] for header in match.get("headers", ()))
    assert len(route[0]["matches"]) <= 64


def test_the_configmap_contains_the_files_of_nginx() -> None:
    data = loaded("kubernetes", "no-ai", "kubernetes/configmap.json")["data"]
    values = loaded("kubernetes", "no-ai", "kubernetes/ingress-nginx-values.json")["controller"]
    mounted = values["extraVolumeMounts"][0]["mountPath"]
    files = {file.path: file.content.decode() for file in TARGETS["nginx"].render(
        TargetPlan(CompiledPolicy(POLICIES["no-ai"], CATALOG)), mounted)}  # fmt: skip
    items = values["extraVolumes"][0]["configMap"]["items"]
    assert {item["path"]: data[item["key"]] for item in items} == files


def sections(number: int, length: int = 1) -> bytes:
    entries = (f"  /{'a' * length}-{each}/**: {{usages: {{train-ai: yes}}}}\n" for each in range(number))
    return b"extends: no-ai\npaths:\n" + "".join(entries).encode()


LONG_LICENCE = b"extends: no-ai\nsite: {url: https://a.example, licence: https://a.example/%s}" % (b"l" * 1900)


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("aws", sections(20), "5,000 capacity units"),
        ("aws", sections(1, 600), "512 characters in a RegexMatchStatement"),
        ("aws", LONG_LICENCE, "1,783 characters in the value of a header"),
        ("cloudflare", sections(8, 600), "4,000 characters in an expression"),
        ("cloudflare", sections(39).replace(b"no-ai", b"search-only"), "1,000 custom rules"),
        ("kubernetes", sections(300, 500), "1,048,576 bytes in a ConfigMap"),
    ],
)
def test_files_that_a_service_would_refuse_are_not_written(key: str, text: bytes, expected: str) -> None:
    with pytest.raises(LimitExceeded, match=f"T001 .* takes at most {expected}"):
        TARGETS[key].render(TargetPlan(CompiledPolicy(policy(text), CATALOG)), "/etc/noai")


def test_a_rule_group_of_aws_has_room_for_its_rules() -> None:
    for name in POLICIES:
        expressions = rendered("aws", name)["aws/waf-rule-group.json"].count("RegexString")
        assert min(13 * expressions, 5000) <= loaded("aws", name, "aws/waf-rule-group.json")["Capacity"] <= 5000


def test_more_rules_than_the_business_plan_has_are_a_note() -> None:
    def notes(text: bytes) -> str:
        return "\n".join(TARGETS["cloudflare"].limitations(TargetPlan(CompiledPolicy(policy(text), CATALOG))))

    assert "below the Enterprise plan" in notes(sections(10))
    assert "below the Enterprise plan" not in notes(sections(1))
