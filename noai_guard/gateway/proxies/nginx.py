"""nginx 1.18 or newer: auth_request, which understands 2xx, 401 and 403 only.

So the gateway answers 204 or 401, with the true status in X-NoAI-Status, and error_page fetches the refusal.
"""

from collections.abc import Iterator, Mapping, Sequence

from noai_guard.core.model import Document
from noai_guard.core.path_patterns import in_both_forms, pattern_to_regex
from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import ANSWER, REASON, SOURCES, STATUS, VERDICT, VERIFY_NGINX
from noai_guard.gateway.proxies.proxy import UNUSUAL_PATH, GatewaySetup, Proxy, repeatable, variable
from noai_guard.resources import filled
from noai_guard.targets import user_agent_regex
from noai_guard.targets.nginx_language import PUBLIC, expression, in_quotes, prefix, public_document, quote
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
_ONE_USER_AGENT = r'"~^1\\.(?:1?[0-9]|2[0-2])\\."'
"""Versions that have only the first of several User-Agent lines in a variable."""

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
    stored = setup.stored_documents(f"{file_name}/documents")
    configuration = setup.generated(
        "nginx",
        {f"{file_name}{path}": template for path, template in _FILES.items()},
        folder=folder,
        p=p,
        gate=_gate(p),
        policy_name=setup.policy_name or "without a name",
        gateway=str(setup.gateway),
        not_asked_about=(f"# {line}" for line in setup.not_asked_about),
        suspects=_suspects(setup, p, fields),
        unasked=_unasked(setup, p),
        ask_people=_ask_people(setup, p, folder),
        cache_zone=_cache(setup, p) if setup.cache else [],
        answer_maps=(line for name, field in fields.items() for line in _answer_map(name, p, field, setup)),
        declared_maps=(line for name in setup.declared_names for line in _declared_map(name, p, fields[name])),
        status=variable(STATUS),
        no_authorization=[] if setup.asks_for_keys else ['proxy_set_header Authorization "";'],
        answer_variables=(f"auth_request_set ${p}{field} ${p}s_{field};" for field in fields.values()),
        verify=VERIFY_NGINX,
        answer=ANSWER,
        cache=_kept(setup, p, "$http_user_agent", 2) if setup.cache else [],
        refused_names=_refused_names(setup, p) if setup.refuses_by_name else [],
        unreachable=_unreachable(setup, p),
        documents=(
            line
            for number, (document, file) in enumerate(stored, 1)
            for line in _document(document, file, number, root, folder, p)
        ),
        cleared=(f'proxy_set_header {name.title()} "";' for name in SOURCES if name not in _SET_BY_TEMPLATE),
        client_address=[f"proxy_set_header {setup.client_address_header.title()} {address};"] if address else [],
        declared=(
            f"add_header {name.title()} ${p}{'' if repeatable(name) else 'a_'}{fields[name]} always;"
            for name in setup.declared_names
        ),
        proxy_fields=(f"proxy_set_header {name.title()} {value};" for name, value in passed_on.items()),
        fastcgi_fields=(f"fastcgi_param HTTP_{variable(name).upper()} {value};" for name, value in passed_on.items()),
    )
    return [*configuration, *(file for _, file in stored)]


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


def _kept(setup: GatewaySetup, p: str, who: str, min_uses: int) -> list[str]:
    """Return the lines that keep a verdict. One that is asked for once is not kept, which costs more than asking."""
    uses = [f"proxy_cache_min_uses {min_uses};"] if min_uses > 1 else []
    return [f"proxy_cache {_gate(p)};", f"proxy_cache_key {_cache_key(setup, p, who)};", *uses]


def _looks(setup: GatewaySetup) -> bool:
    """Return True if a first look at the user agent tells who is no suspect."""
    return setup.suspects_only or bool(setup.cache and not setup.everybody_matters)


def _path(p: str) -> str:
    """Return the map from a request to its path; empty if it has none."""
    return f'map $request_uri ${p}path {{ "~^(?<{p}plain>/[^?]*)" ${p}plain; default ""; }}'


def _suspects(setup: GatewaySetup, p: str, fields: Mapping[str, str]) -> Iterator[str]:
    """Yield maps that tell who is no suspect, and whether to ask."""
    if not _looks(setup):
        return
    yield "# A first look: who may have the name of an agent that the policy restricts, or hides one."
    usual = user_agent_regex.common_browser_expression(setup.suspect_anchors)
    yield f"map $http_user_agent ${p}suspect {{"
    yield "    default 0;"
    if usual:
        yield f"    {expression(usual, any_case=False)} 0;"
    yield from (f"    {expression(look)} 1;" for look in setup.first_look(_MAX_EXPRESSION))
    yield "}"
    claims = "".join(f"$http_{variable(name)}" for name in setup.claim_headers)
    if not setup.suspects_only:
        yield "# nginx before 1.23 sees the first of several User-Agent lines only: there everybody is a suspect."
        yield f'map "${p}suspect{claims}" ${p}no_suspect {{ 0 1; default ""; }}'
        yield f'map $nginx_version ${p}person {{ {_ONE_USER_AGENT} ""; default ${p}no_suspect; }}'
        return
    yield _path(p)
    yield f"map ${p}path ${p}special_path {{"
    yield "    default 0;"
    yield '    "" 1;'
    for pattern in (UNUSUAL_PATH, *setup.sections_that_declare_otherwise):
        yield f"    {expression(pattern)} 1;"
    yield "}"
    yield f'map "${p}suspect${p}special_path{claims}" ${p}unasked {{ "00" 1; default ""; }}'
    for name, field in fields.items():
        if value := setup.site_fields.get(name):
            yield f'map "${p}unasked" ${p}u_{field} {{ 1 {quote(value)}; default ${p}{field}; }}'


def _unasked(setup: GatewaySetup, p: str) -> list[str]:
    """Return the lines of the question for who is no suspect."""
    if setup.suspects_only:
        return [f"if (${p}unasked) {{ return 204; }}"]
    return [f"if (${p}person) {{ rewrite ^ /.noai-guard/ask-people last; }}"] if _looks(setup) else []


def _ask_people(setup: GatewaySetup, p: str, folder: str) -> Iterator[str]:
    """Yield a location that asks once about all who are no suspects: as about a client that names nobody."""
    if _looks(setup) and not setup.suspects_only:
        yield "location = /.noai-guard/ask-people {"
        yield "    internal;"
        yield f"    include {folder}/ask.conf;"
        # More than one word: a client of one word, or of none, is a nameless one.
        yield '    proxy_set_header User-Agent "Mozilla/5.0 (no suspect)";'
        yield f"    proxy_pass http://{_gate(p)}{VERIFY_NGINX};"
        yield from (f"    {line}" for line in _kept(setup, p, "no suspect", 1))
        yield "    proxy_ignore_headers Vary;"
        yield f"    error_page 400 404 405 414 431 500 502 503 504 = @{p}unreachable;"
        yield "}"


def _answer_map(name: str, p: str, field: str, setup: GatewaySetup) -> Iterator[str]:
    """Yield a map of what the gateway answered now or, after an internal redirect, before it."""
    source = f"$upstream_http_{variable(name)}"
    before = f"u_{field}" if setup.suspects_only and name in setup.site_fields else field
    yield f"map {source} ${p}s_{field} {{"
    yield f'    "" ${p}{before};'
    yield f"    default {source};"
    yield "}"


def _declared_map(name: str, p: str, field: str) -> Iterator[str]:
    """Yield a map of a declared field that is empty where the site sends its own."""
    if not repeatable(name):
        yield f'map "{_SOURCE.get(name, f"$upstream_http_{variable(name)}")}" ${p}a_{field} {{'
        yield f'    "" ${p}{field};'
        yield '    default "";'
        yield "}"


def _document(document: Document, file: File, number: int, root: str, folder: str, p: str) -> Iterator[str]:
    """Yield a location for a document, for everyone: no rule of the server around it applies."""
    quoted = document.path.replace("\\", "\\\\").replace('"', '\\"')
    yield f'location = "{quoted}" {{'
    yield f"    include {folder}/ask.conf;"
    yield from (f"    {line}" for line in PUBLIC)
    yield f"    proxy_pass http://{_gate(p)};"
    yield f"    error_page 500 502 503 504 = @{p}document_{number};"
    yield "}"
    yield f"location @{p}document_{number} {{"
    yield "    auth_request off;"
    yield from (f"    {line}" for line in public_document(document.media_type))
    yield f"    root {quote(root)};"
    yield f"    try_files {quote(f'/{file.path}')} =404;"
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
            for form in in_both_forms([pattern]):
                maps.append(f'    "~{_path_expression(form)}" {name};')
                maps.append(f'    "~*{_path_expression(form.lower())}" {name}-in-other-case;')
        maps += ["}"]
    path = [] if setup.suspects_only else [_path(p)]
    unusual = in_quotes(UNUSUAL_PATH)[1:-1]
    values = {"cache_folder": setup.cache or "", "gate": _gate(p), "p": p, "unusual_path": unusual}
    return filled("gateway/proxies/nginx_cache.conf", **values, path=path, path_classes=maps).splitlines()


def _path_expression(pattern: str) -> str:
    expression = _quoted(pattern_to_regex(pattern))
    if len(expression) > _MAX_EXPRESSION:
        advice = "longer than nginx reads at once; leave --cache out"
        raise CannotExpress(f"nginx: the path {pattern[:40]}... is {advice}")
    return expression


def _cache_key(setup: GatewaySetup, p: str, who: str) -> str:
    """Return everything that a verdict about `who` depends on which may be cached."""
    classes = "|".join(f"${p}in_{number}" for number in range(len(setup.path_classes)))
    header = setup.client_address_header
    address = _CLIENT_ADDRESS.get(header, f"$http_{variable(header)}") if setup.compiled.guard.uses_address else "*"
    return f'"$request_method|{address}|${p}unusual|{classes}|{who}|$http_signature_agent"'


PROXY = Proxy(
    "nginx", "nginx", _render, root="/etc/nginx/conf.d", options=frozenset({"ask", "cache", "inspect", "merge", "name"})
)
