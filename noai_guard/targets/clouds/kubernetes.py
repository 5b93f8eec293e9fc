"""Kubernetes: nginx's configuration for the ingress-nginx controller, and an HTTPRoute of the Gateway API.

ingress-nginx reads files of a ConfigMap that is mounted beside its own configuration, so every Ingress of the
controller is protected as by nginx itself. The Gateway API cannot refuse: its HTTPRoute sends refused agents and
requests for the documents to a Service that runs `noai-guard serve`, and adds the declarations to all other responses.

JSON is YAML: `kubectl apply` and `helm --values` take both.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from noai_guard.errors import LimitExceeded
from noai_guard.targets import user_agent_regex
from noai_guard.targets.ordered_rules import rules
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.servers.nginx import files as nginx_files
from noai_guard.targets.target import File, ServerTarget, json_file

_MOUNT_PATH = "/etc/nginx/noai"
_MAX_EXPRESSION = 4000
"""A header match of the Gateway API has at most 4,096 characters (v1, HTTPHeaderMatch)."""


_MAX_MATCHES = 64
"""Matches of one rule of an HTTPRoute (Gateway API v1.2)."""

_MAX_CONFIG_MAP = 1024 * 1024
"""Bytes of a ConfigMap's data (kubernetes.io/docs/concepts/configuration/configmap, 2026-11)."""


def _manifest(api_version: str, kind: str, **content: Any) -> dict[str, Any]:
    metadata = {"name": "noai-guard", "labels": {"app.kubernetes.io/name": "noai-guard"}}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def _ingress_values(items: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Return values for the Helm chart of ingress-nginx, which mount the ConfigMap and include its files."""
    files = {"http": "noai-guard.conf", "server": "noai-guard/server.conf", "location": "noai-guard/proxy.conf"}
    return {
        "controller": {
            "config": {f"{context}-snippet": f"include {_MOUNT_PATH}/{file};" for context, file in files.items()},
            "extraVolumes": [{"name": "noai-guard", "configMap": {"name": "noai-guard", "items": items}}],
            "extraVolumeMounts": [{"name": "noai-guard", "mountPath": _MOUNT_PATH, "readOnly": True}],
        }
    }


def _route(plan: TargetPlan) -> dict[str, Any]:
    # Agents that are refused on some path; the guard behind the Service decides.
    tokens = {token: None for rule in rules(plan) if rule.decision.status for token in rule.tokens}
    patterns = [expression.pattern() for expression in user_agent_regex.expressions(tokens, _MAX_EXPRESSION)]
    patterns += [user_agent_regex.host_expression(token) for token in tokens if token.host]
    header = {"name": "User-Agent", "type": "RegularExpression"}
    agents = [{"headers": [{**header, "value": f"(?i).*{pattern}.*"}]} for pattern in patterns]
    documents = [{"path": {"type": "Exact", "value": document.path}} for document in plan.documents]
    fields = [{"name": name, "value": value} for name, value in plan.site_fields.items()]
    matches = [*documents, *agents]
    if len(matches) > _MAX_MATCHES:
        hint = "refuse fewer agents there, or let all requests go to the Service"
        raise LimitExceeded("Gateway API", _MAX_MATCHES, "matches in a rule", len(matches), hint)
    to_guard = {"matches": matches, "backendRefs": [{"name": "noai-guard", "port": 8080}]}
    to_site = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": fields}}],
        "backendRefs": [{"name": "your-site", "port": 80}],
    }
    spec = {"parentRefs": [{"name": "your-gateway"}], "rules": [to_guard, to_site]}
    return _manifest("gateway.networking.k8s.io/v1", "HTTPRoute", spec=spec)


def _render(plan: TargetPlan, root: str) -> Sequence[File]:
    files = {file.path: file.content.decode("utf-8") for file in nginx_files(plan, _MOUNT_PATH)}
    keys = {path: re.sub(r"[^-._a-zA-Z0-9]", "_", path) for path in files}
    size = sum(len(key) + len(files[path].encode()) for path, key in keys.items())
    if size > _MAX_CONFIG_MAP:
        raise LimitExceeded("Kubernetes", _MAX_CONFIG_MAP, "bytes in a ConfigMap", size, "name fewer paths and rules")
    config_map = _manifest("v1", "ConfigMap", data={keys[path]: content for path, content in files.items()})
    values = _ingress_values([{"key": key, "path": path} for path, key in keys.items()])
    contents = {"configmap": config_map, "ingress-nginx-values": values, "gateway-api-httproute": _route(plan)}
    return [json_file(f"kubernetes/{name}.json", content) for name, content in contents.items()]


def _limitations(plan: TargetPlan) -> Iterator[str]:
    yield "Gateway API: refused agents are sent to a Service `noai-guard` (noai-guard serve), which responds to them."
    yield "Gateway API: responses have the site's own X-Robots-Tag, Link and Content-Usage in addition to ours."


TARGET = ServerTarget("kubernetes", "Kubernetes", _render, proof="schema", specific_limitations=_limitations)
