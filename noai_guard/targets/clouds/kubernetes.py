"""Kubernetes: nginx's configuration for the ingress-nginx controller, and an HTTPRoute of the Gateway API.

ingress-nginx reads files of a ConfigMap that is mounted beside its own configuration, so every Ingress of the
controller is protected as by nginx itself. The Gateway API cannot refuse: its HTTPRoute sends refused agents and
requests for the documents to a Service that runs `noai-guard serve`, and adds the declarations to all other responses.

JSON is YAML: `kubectl apply` and `helm --values` take both.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from noai_guard.responses.header_fields import one_line_per_name
from noai_guard.targets import user_agent_regex
from noai_guard.targets.ordered_rules import rules
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.servers.nginx import files as nginx_files
from noai_guard.targets.target import File, ServerTarget, json_file

_MOUNT_PATH = "/etc/nginx/noai"
_MAX_EXPRESSION = 4000
"""A header match of the Gateway API has at most 4,096 characters (v1, HTTPHeaderMatch)."""

_LABELS = {"app.kubernetes.io/name": "noai-guard"}


def _ingress(plan: TargetPlan) -> Iterator[tuple[str, dict[str, Any]]]:
    files = nginx_files(plan, _MOUNT_PATH)
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
                    "http-snippet": f"include {_MOUNT_PATH}/noai-guard.conf;",
                    "server-snippet": f"include {_MOUNT_PATH}/noai-guard/server.conf;",
                    "location-snippet": f"include {_MOUNT_PATH}/noai-guard/proxy.conf;",
                },
                "extraVolumes": [{"name": "noai-guard", "configMap": {"name": "noai-guard", "items": items}}],
                "extraVolumeMounts": [{"name": "noai-guard", "mountPath": _MOUNT_PATH, "readOnly": True}],
            }
        },
    )


def _route(plan: TargetPlan) -> dict[str, Any]:
    guard = [{"name": "noai-guard", "port": 8080}]
    agents = [
        {"headers": [{"name": "User-Agent", "type": "RegularExpression", "value": f"(?i).*{pattern}.*"}]}
        for pattern in _refused_agents(plan)
    ]
    documents = [{"path": {"type": "Exact", "value": document.path}} for document in plan.documents]
    declared = one_line_per_name(plan.compiled.site_declared.fields)
    headers = [{"name": name.decode(), "value": value.decode("ascii")} for name, value in declared.items()]
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


def _refused_agents(plan: TargetPlan) -> Iterator[str]:
    """Yield expressions for agents that are refused on some path; the guard behind the Service decides."""
    tokens = {token: None for rule in rules(plan) if rule.decision.status for token in rule.tokens}
    for expression in user_agent_regex.expressions(tokens, _MAX_EXPRESSION):
        yield expression.pattern()
    yield from (user_agent_regex.host_expression(token) for token in tokens if token.host)


def _render(plan: TargetPlan, root: str) -> Sequence[File]:
    contents = {**dict(_ingress(plan)), "gateway-api-httproute": _route(plan)}
    return [json_file(f"kubernetes/{name}.json", content) for name, content in contents.items()]


def _limitations(plan: TargetPlan) -> Iterator[str]:
    yield "Gateway API: refused agents are sent to a Service `noai-guard` (noai-guard serve), which responds to them."
    yield "Gateway API: responses have the site's own X-Robots-Tag, Link and Content-Usage in addition to ours."


TARGET = ServerTarget("kubernetes", "Kubernetes", _render, proof="schema", specific_limitations=_limitations)
