"""Kubernetes: nginx's configuration for the ingress-nginx controller, and an HTTPRoute of the Gateway API.

ingress-nginx takes files from a ConfigMap that is mounted beside its own configuration, so every Ingress of the
controller is protected as by nginx itself. The Gateway API has no way to refuse: its HTTPRoute sends refused agents
and the documents to a Service that runs `noai-guard serve`, and adds the declarations to all other answers.

JSON is YAML: `kubectl apply` and `helm --values` take both.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from noai_guard.targets import user_agent_regex
from noai_guard.targets.ordered_rules import rules
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.servers.nginx import files as nginx_files
from noai_guard.targets.target import File, ServerTarget

_MOUNTED = "/etc/nginx/noai"
_LONGEST = 4000
"""Characters of a header match of the Gateway API are at most 4,096 (v1, HTTPHeaderMatch)."""

_LABELS = {"app.kubernetes.io/name": "noai-guard"}


def _ingress(plan: TargetPlan) -> Iterator[tuple[str, dict[str, Any]]]:
    files = nginx_files(plan, _MOUNTED)
    keys = {file.path: re.sub(r"[^-._a-zA-Z0-9]", "_", file.path) for file in files}
    data = {keys[file.path]: file.content.decode("utf-8") for file in files}
    yield (
        "configmap",
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "noai-guard", "labels": _LABELS},
            "data": data,
        },
    )
    items = [{"key": key, "path": path} for path, key in keys.items()]
    yield (
        "ingress-nginx-values",
        {
            "controller": {
                "config": {
                    "http-snippet": f"include {_MOUNTED}/noai-guard.conf;",
                    "server-snippet": f"include {_MOUNTED}/noai-guard/server.conf;",
                    "location-snippet": f"include {_MOUNTED}/noai-guard/proxy.conf;",
                },
                "extraVolumes": [{"name": "noai-guard", "configMap": {"name": "noai-guard", "items": items}}],
                "extraVolumeMounts": [{"name": "noai-guard", "mountPath": _MOUNTED, "readOnly": True}],
            }
        },
    )


def _route(plan: TargetPlan) -> dict[str, Any]:
    guard = [{"name": "noai-guard", "port": 8080}]
    agents = [
        {"headers": [{"name": "User-Agent", "type": "RegularExpression", "value": f"(?i).*{pattern}.*"}]}
        for pattern in _refused(plan)
    ]
    documents = [{"path": {"type": "Exact", "value": document.path}} for document in plan.documents]
    declared: dict[str, list[str]] = {}
    for name, value in plan.compiled.declared[0].fields:
        declared.setdefault(name.decode(), []).append(value.decode("ascii"))
    headers = [{"name": name, "value": ", ".join(values)} for name, values in declared.items()]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "noai-guard", "labels": _LABELS},
        "spec": {
            "parentRefs": [{"name": "your-gateway"}],
            "rules": [
                {"matches": [*documents, *agents], "backendRefs": guard},
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": headers}}],
                    "backendRefs": [{"name": "your-site", "port": 80}],
                },
            ],
        },
    }


def _refused(plan: TargetPlan) -> Iterator[str]:
    """Expressions for agents that are refused anywhere; the guard behind knows where."""
    tokens = {token: None for rule in rules(plan) if rule.decision.status for token in rule.tokens}
    for expression in user_agent_regex.expressions(tokens, _LONGEST):
        yield expression.pattern()
    yield from (user_agent_regex.host_expression(token) for token in tokens if token.host)


def _render(plan: TargetPlan, root: str) -> Sequence[File]:
    contents = {**dict(_ingress(plan)), "gateway-api-httproute": _route(plan)}
    return [
        File(f"kubernetes/{name}.json", json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")
        for name, content in contents.items()
    ]


def _limitations(plan: TargetPlan) -> Iterator[str]:
    yield "Gateway API: refused agents are sent to a Service `noai-guard` (noai-guard serve), which answers them."
    yield "Gateway API: the site's own X-Robots-Tag, Link and Content-Usage stand beside ours."


TARGET = ServerTarget("kubernetes", "Kubernetes", _render, proof="schema", specific_limitations=_limitations)
