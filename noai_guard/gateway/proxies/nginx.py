"""nginx 1.18 or newer: auth_request, which understands 2xx, 401 and 403 only.

So the gateway answers 204 or 403, with the true status in X-NoAI-Status, and error_page fetches the refusal.
"""

from collections.abc import Iterator, Sequence

from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import ANSWER, REASON, SOURCES, STATUS, VERDICT, VERIFY_NGINX
from noai_guard.gateway.proxies.proxy import GatewaySetup, Proxy, repeatable, variable
from noai_guard.resources import filled
from noai_guard.targets.target import File

_MAX_EXPRESSION = 3800
"""Characters of one expression: nginx reads at most 4,096 bytes as one parameter."""

_FOLDER = "noai-guard-gateway"
_FILES = {
    f"{_FOLDER}.conf": ("nginx_http.conf", "in http { }; conf.d is included there already"),
    f"{_FOLDER}/server.conf": ("nginx_server.conf", "in each server { } that is protected"),
    f"{_FOLDER}/ask.conf": ("nginx_ask.conf", "included by server.conf"),
    f"{_FOLDER}/headers.conf": ("nginx_headers.conf", "included by server.conf"),
    f"{_FOLDER}/proxy.conf": ("nginx_proxy.conf", "included by server.conf"),
    f"{_FOLDER}/fastcgi.conf": ("nginx_fastcgi.conf", "beside fastcgi_pass, for PHP"),
}
_SET_BY_TEMPLATE = ("x-original-uri", "x-original-method", "x-original-host")
_CLIENT_ADDRESS = {"x-forwarded-for": "$proxy_add_x_forwarded_for", "x-real-ip": "$remote_addr"}
_SOURCE = {"tdm-policy": "$upstream_http_tdm_reservation$upstream_http_tdm_policy"}
"""tdm-policy belongs to tdm-reservation: the policy beside the site's own reservation is the site's own, or none."""


def _render(setup: GatewaySetup, root: str) -> Sequence[File]:
    setup.reject_forwarded("nginx")
    folder = f"{root}/{_FOLDER}"
    names, answered = setup.declared_names, (*VERDICT, *setup.declared_names)
    address = _CLIENT_ADDRESS.get(setup.client_address_header)
    passed_on = {name: f"$noai_gate_{_short(name)}" for name in VERDICT} | dict.fromkeys((STATUS, REASON), '""')
    return setup.generated(
        "nginx",
        _FILES,
        folder=folder,
        gateway=str(setup.gateway),
        cache_zone=_cache(setup, setup.cache) if setup.cache else [],
        answer_maps=(line for name in answered for line in _answer_map(name)),
        declared_maps=(line for name in names for line in _declared_map(name)),
        status=variable(STATUS),
        answer_variables=(
            f"auth_request_set $noai_gate_{_short(name)} $noai_gate_said_{_short(name)};" for name in answered
        ),
        verify=VERIFY_NGINX,
        answer=ANSWER,
        cache=["proxy_cache noai_gate;", f"proxy_cache_key {_cache_key(setup)};"] if setup.cache else [],
        refused_names=_refused_names(setup) if setup.refuses_by_name else [],
        refuse_named=["if ($noai_gate_named) { return 403; }"] if setup.refuses_by_name else [],
        unreachable_status="204" if setup.fail_open else "403",
        documents=(line for path in setup.document_paths for line in _document(path, folder)),
        cleared=(f'proxy_set_header {name.title()} "";' for name in SOURCES if name not in _SET_BY_TEMPLATE),
        client_address=[f"proxy_set_header {setup.client_address_header.title()} {address};"] if address else [],
        declared=(
            f"add_header {name.title()} $noai_gate_{'' if repeatable(name) else 'add_'}{variable(name)} always;"
            for name in names
        ),
        proxy_fields=(f"proxy_set_header {name.title()} {value};" for name, value in passed_on.items()),
        fastcgi_fields=(f"fastcgi_param HTTP_{variable(name).upper()} {value};" for name, value in passed_on.items()),
    )


def _refused_names(setup: GatewaySetup) -> Iterator[str]:
    """Yield a map that tells whether a request has the name of a refused agent, for want of an answer."""
    yield "map $http_user_agent $noai_gate_named {"
    yield "    default 0;"
    yield from (f'    "~*{_quoted(expression)}" 1;' for expression in setup.refused_expressions(_MAX_EXPRESSION // 2))
    yield "}"


def _quoted(expression: str) -> str:
    # A dollar sign would begin a variable.
    return expression.replace("$", r"\z").replace("\\", "\\\\")


def _answer_map(name: str) -> Iterator[str]:
    """Yield a map of what the gateway answered now or, after an internal redirect, before it."""
    source, short = f"$upstream_http_{variable(name)}", _short(name)
    yield f"map {source} $noai_gate_said_{short} {{"
    yield f'    "" $noai_gate_{short};'
    yield f"    default {source};"
    yield "}"


def _declared_map(name: str) -> Iterator[str]:
    """Yield a map of a declared field that is empty where the site sends its own."""
    if not repeatable(name):
        yield f'map "{_SOURCE.get(name, f"$upstream_http_{variable(name)}")}" $noai_gate_add_{variable(name)} {{'
        yield f'    "" $noai_gate_{variable(name)};'
        yield '    default "";'
        yield "}"


def _document(path: str, folder: str) -> Iterator[str]:
    quoted = path.replace("\\", "\\\\").replace('"', '\\"')
    yield f'location = "{quoted}" {{'
    yield f"    include {folder}/ask.conf;"
    yield "    proxy_pass http://noai_gate;"
    yield "}"


def _short(name: str) -> str:
    return variable(name.removeprefix("x-noai-"))


def _cache(setup: GatewaySetup, folder: str) -> list[str]:
    """Return a cache of verdicts, and maps from a path to its class: paths of one class get equal verdicts."""
    maps = []
    for number, rows in enumerate(setup.path_classes):
        maps += [f"map $noai_gate_path $noai_gate_in_{number} {{", '    default "";']
        for pattern, name in rows:
            escaped = _quoted(pattern_to_regex(pattern))
            if len(escaped) > _MAX_EXPRESSION:
                advice = "longer than nginx reads at once; leave --cache out"
                raise CannotExpress(f"nginx: the path {pattern[:40]}... is {advice}")
            maps.append(f'    "~{escaped}" {name};')
        maps += ["}"]
    return filled("gateway/proxies/nginx_cache.conf", cache_folder=folder, path_classes=maps).splitlines()


def _cache_key(setup: GatewaySetup) -> str:
    """Return everything that a verdict depends on which may be cached."""
    classes = "|".join(f"$noai_gate_in_{number}" for number in range(len(setup.path_classes)))
    header = setup.client_address_header
    address = _CLIENT_ADDRESS.get(header, f"$http_{variable(header)}") if setup.compiled.guard.uses_address else "*"
    return f'"$request_method|{address}|$noai_gate_unusual|{classes}|$http_user_agent"'


PROXY = Proxy("nginx", "nginx", _render, root="/etc/nginx/conf.d", options=frozenset({"cache"}))
