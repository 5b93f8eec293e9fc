"""nginx 1.18 or newer: auth_request, which understands 2xx, 401 and 403 only.

So the gateway answers 204 or 401, with the true status in X-NoAI-Status, and error_page fetches the refusal.
"""

from collections.abc import Iterator, Sequence

from noai_guard.core.model import Document
from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import ANSWER, REASON, SOURCES, STATUS, VERDICT, VERIFY_NGINX
from noai_guard.gateway.proxies.proxy import GatewaySetup, Proxy, repeatable, variable
from noai_guard.resources import filled
from noai_guard.targets.nginx_language import PUBLIC, prefix
from noai_guard.targets.target import File

_MAX_EXPRESSION = 3800
"""Characters of one expression: nginx reads at most 4,096 bytes as one parameter."""

_FILES = {
    ".conf": ("nginx_http.conf", "in http { }; conf.d is included there already"),
    "/server.conf": ("nginx_server.conf", "in each server { } that is protected"),
    "/ask.conf": ("nginx_ask.conf", "included by server.conf"),
    "/headers.conf": ("nginx_headers.conf", "beside add_header lines of your own"),
    "/error_page.conf": ("nginx_error_page.conf", "beside error_page lines of your own"),
    "/proxy.conf": ("nginx_proxy.conf", "beside proxy_set_header lines of your own"),
    "/fastcgi.conf": ("nginx_fastcgi.conf", "beside fastcgi_pass, for PHP"),
}
_SET_BY_TEMPLATE = ("x-original-uri", "x-original-method", "x-original-host")
_CLIENT_ADDRESS = {"x-forwarded-for": "$proxy_add_x_forwarded_for", "x-real-ip": "$remote_addr"}
_SOURCE = {"tdm-policy": "$upstream_http_tdm_reservation$upstream_http_tdm_policy"}
"""tdm-policy belongs to tdm-reservation: the policy beside the site's own reservation is the site's own, or none."""


def _render(setup: GatewaySetup, root: str) -> Sequence[File]:
    setup.reject_forwarded("nginx")
    file_name = f"noai-guard-gateway-{setup.name}" if setup.name else "noai-guard-gateway"
    folder, p = f"{root}/{file_name}", prefix(setup.policy_name, "g", "noai_gate_")
    fields = {name: _short(name) for name in VERDICT} | {
        name: f"d{number}" for number, name in enumerate(setup.declared_names, 1)
    }
    address = _CLIENT_ADDRESS.get(setup.client_address_header)
    passed_on = {name: f"${p}{_short(name)}" for name in VERDICT} | dict.fromkeys((STATUS, REASON), '""')
    return setup.generated(
        "nginx",
        {f"{file_name}{path}": template for path, template in _FILES.items()},
        folder=folder,
        p=p,
        gate=_gate(p),
        policy_name=setup.policy_name or "without a name",
        gateway=str(setup.gateway),
        cache_zone=_cache(setup, p) if setup.cache else [],
        answer_maps=(line for name, field in fields.items() for line in _answer_map(name, p, field)),
        declared_maps=(line for name in setup.declared_names for line in _declared_map(name, p, fields[name])),
        status=variable(STATUS),
        no_authorization=[] if setup.asks_for_keys else ['proxy_set_header Authorization "";'],
        answer_variables=(f"auth_request_set ${p}{field} ${p}s_{field};" for field in fields.values()),
        verify=VERIFY_NGINX,
        answer=ANSWER,
        cache=[f"proxy_cache {_gate(p)};", f"proxy_cache_key {_cache_key(setup, p)};"] if setup.cache else [],
        refused_names=_refused_names(setup, p) if setup.refuses_by_name else [],
        unreachable=_unreachable(setup, p),
        documents=(line for document in setup.documents for line in _document(document, folder, p)),
        cleared=(f'proxy_set_header {name.title()} "";' for name in SOURCES if name not in _SET_BY_TEMPLATE),
        client_address=[f"proxy_set_header {setup.client_address_header.title()} {address};"] if address else [],
        declared=(
            f"add_header {name.title()} ${p}{'' if repeatable(name) else 'a_'}{fields[name]} always;"
            for name in setup.declared_names
        ),
        proxy_fields=(f"proxy_set_header {name.title()} {value};" for name, value in passed_on.items()),
        fastcgi_fields=(f"fastcgi_param HTTP_{variable(name).upper()} {value};" for name, value in passed_on.items()),
    )


def _refused_names(setup: GatewaySetup, p: str) -> Iterator[str]:
    """Yield a map that tells whether a request has the name of a refused agent, for want of an answer."""
    yield f"map $http_user_agent ${p}named {{"
    yield "    default 0;"
    yield from (f'    "~*{_quoted(expression)}" 1;' for expression in setup.refused_expressions(_MAX_EXPRESSION // 2))
    yield "}"


def _quoted(expression: str) -> str:
    # A dollar sign would begin a variable.
    return expression.replace("$", r"\z").replace("\\", "\\\\")


def _unreachable(setup: GatewaySetup, p: str) -> list[str]:
    """Return what stands for an answer: to let the request in, or to refuse it."""
    if not setup.fail_open:
        return [f"set ${p}down 1;", "return 401;"]
    named = [f"if (${p}named) {{", f"    set ${p}down 1;", "    return 401;", "}"] if setup.refuses_by_name else []
    return [*named, "return 204;"]


def _gate(p: str) -> str:
    """Return the name of the gateway's upstream."""
    return p.rstrip("_")


def _answer_map(name: str, p: str, field: str) -> Iterator[str]:
    """Yield a map of what the gateway answered now or, after an internal redirect, before it."""
    source = f"$upstream_http_{variable(name)}"
    yield f"map {source} ${p}s_{field} {{"
    yield f'    "" ${p}{field};'
    yield f"    default {source};"
    yield "}"


def _declared_map(name: str, p: str, field: str) -> Iterator[str]:
    """Yield a map of a declared field that is empty where the site sends its own."""
    if not repeatable(name):
        yield f'map "{_SOURCE.get(name, f"$upstream_http_{variable(name)}")}" ${p}a_{field} {{'
        yield f'    "" ${p}{field};'
        yield '    default "";'
        yield "}"


def _document(document: Document, folder: str, p: str) -> Iterator[str]:
    """Yield a location for a document, for everyone: no rule of the server around it applies."""
    quoted = document.path.replace("\\", "\\\\").replace('"', '\\"')
    yield f'location = "{quoted}" {{'
    yield f"    include {folder}/ask.conf;"
    yield from (f"    {line}" for line in PUBLIC)
    yield f"    proxy_pass http://{_gate(p)};"
    yield "}"


def _short(name: str) -> str:
    return variable(name.removeprefix("x-noai-"))


def _cache(setup: GatewaySetup, p: str) -> list[str]:
    """Return a cache of verdicts, and maps from a path to its class: paths of one class get equal verdicts."""
    maps = []
    for number, rows in enumerate(setup.path_classes):
        maps += [f"map ${p}path ${p}in_{number} {{", '    default "";']
        for pattern, name in rows:
            # A path in other letter case has a class of its own: there the stricter verdict counts, which is not kept.
            maps.append(f'    "~{_path_expression(pattern)}" {name};')
            maps.append(f'    "~*{_path_expression(pattern.lower())}" {name}-in-other-case;')
        maps += ["}"]
    values = {"cache_folder": setup.cache or "", "gate": _gate(p), "p": p}
    return filled("gateway/proxies/nginx_cache.conf", **values, path_classes=maps).splitlines()


def _path_expression(pattern: str) -> str:
    expression = _quoted(pattern_to_regex(pattern))
    if len(expression) > _MAX_EXPRESSION:
        advice = "longer than nginx reads at once; leave --cache out"
        raise CannotExpress(f"nginx: the path {pattern[:40]}... is {advice}")
    return expression


def _cache_key(setup: GatewaySetup, p: str) -> str:
    """Return everything that a verdict depends on which may be cached."""
    classes = "|".join(f"${p}in_{number}" for number in range(len(setup.path_classes)))
    header = setup.client_address_header
    address = _CLIENT_ADDRESS.get(header, f"$http_{variable(header)}") if setup.compiled.guard.uses_address else "*"
    return f'"$request_method|{address}|${p}unusual|{classes}|$http_user_agent|$http_signature_agent"'


PROXY = Proxy("nginx", "nginx", _render, root="/etc/nginx/conf.d", options=frozenset({"cache", "inspect", "name"}))
