"""nginx 1.18 or newer: auth_request, which understands 2xx, 401 and 403 only.

So the gateway says 204 or 403, with the true status in X-NoAI-Status, and error_page fetches the refusal.
"""

from collections.abc import Iterator, Sequence

from noai_guard.core.path_patterns import glob_to_regex
from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import ANSWER, REASON, SOURCES, STATUS, VERDICT, VERIFY_NGINX
from noai_guard.gateway.proxies.proxy import BESIDE, GatewaySetup, Proxy, Snippet, title, variable

_LONGEST = 3800
"""Characters of one expression: nginx reads at most 4,096 bytes as one parameter."""

_FOLDER = "noai-guard-gateway"
_OURS = ("x-original-uri", "x-original-method", "x-original-host")
_APPENDS = {"x-forwarded-for": "$proxy_add_x_forwarded_for", "x-real-ip": "$remote_addr"}
_WITH = {"tdm-policy": "$upstream_http_tdm_reservation$upstream_http_tdm_policy"}
"""tdm-policy belongs to tdm-reservation: with the site's own reservation goes its own policy."""


def _http(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('nginx')}"
    yield "# Include this in http { }; a file in conf.d is included there already. Then, in each server { }:"
    yield f"#     include {wanted.root}/{_FOLDER}/server.conf;"
    yield "upstream noai_gate {"
    yield f"    server {wanted.gateway};"
    yield "    keepalive 16;"
    yield "}"
    if wanted.cache:
        yield from _cache(wanted, wanted.cache)
    yield "# What the gateway said; an internal redirect (try_files, index, error_page) does not ask again."
    for name in (*VERDICT, *wanted.declared):
        yield from _unless_empty(
            f"$upstream_http_{variable(name)}", f"said_{_short(name)}", f"$noai_gate_{_short(name)}"
        )
    yield "# The site's own stands alone."
    for name in wanted.declared:
        if name not in BESIDE:
            own = _WITH.get(name, f"$upstream_http_{variable(name)}")
            yield f'map "{own}" $noai_gate_add_{variable(name)} {{'
            yield f'    "" $noai_gate_{variable(name)};'
            yield '    default "";'
            yield "}"


def _unless_empty(source: str, name: str, otherwise: str) -> Iterator[str]:
    yield f"map {source} $noai_gate_{name} {{"
    yield f'    "" {otherwise};'
    yield f"    default {source};"
    yield "}"


def _ask(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('nginx')}"
    yield "# What the gateway is told of a request; nothing of it can be said by the client."
    yield "auth_request off;"
    yield "proxy_http_version 1.1;"
    yield "proxy_pass_request_body off;"
    for name, value in (
        ("Connection", '""'),
        ("Content-Length", '""'),
        ("Cookie", '""'),
        ("Authorization", '""'),
        ("Host", "$host"),
        ("X-Original-URI", "$request_uri"),
        ("X-Original-Method", "$request_method"),
        ("X-Original-Host", "$host"),
        ("X-NoAI-Status", "$noai_gate_status"),
    ):
        yield f"proxy_set_header {name} {value};"
    yield from (f'proxy_set_header {title(name)} "";' for name in SOURCES if not name.startswith(_OURS))
    if wanted.address_header in _APPENDS:
        yield f"proxy_set_header {title(wanted.address_header)} {_APPENDS[wanted.address_header]};"
    yield "proxy_connect_timeout 300ms;"
    yield "proxy_send_timeout 300ms;"
    yield "proxy_read_timeout 500ms;"
    yield "proxy_buffer_size 8k;"
    yield "proxy_intercept_errors on;"
    yield "# The site's add_header lines are not for this."
    yield 'add_header X-NoAI-Status "";'


def _server(wanted: GatewaySetup) -> Iterator[str]:
    folder = f"{wanted.root}/{_FOLDER}"
    yield f"# {wanted.head('nginx')}"
    yield "# Include this in each server { } that noai-guard protects, once, before your locations."
    yield "auth_request /.noai-guard/ask;"
    yield f"auth_request_set $noai_gate_status $upstream_http_{variable(STATUS)};"
    for name in (*VERDICT, *wanted.declared):
        yield f"auth_request_set $noai_gate_{_short(name)} $noai_gate_said_{_short(name)};"
    yield "error_page 403 = @noai_gate_answer;"
    yield f"include {folder}/headers.conf;"
    yield f"include {folder}/proxy.conf;"
    yield "location = /.noai-guard/ask {"
    yield "    internal;"
    yield f"    include {folder}/ask.conf;"
    yield "    if ($noai_gate_verdict) { return 204; }"
    yield f"    proxy_pass http://noai_gate{VERIFY_NGINX};"
    if wanted.cache:
        yield "    proxy_cache noai_gate;"
        yield f"    proxy_cache_key {_key(wanted)};"
    yield "    error_page 404 405 500 502 503 504 = @noai_gate_unreachable;"
    yield "}"
    yield "location @noai_gate_unreachable {"
    yield "    auth_request off;"
    yield f"    return {204 if wanted.lets_in else 403};"
    yield "}"
    yield "location @noai_gate_answer {"
    yield f"    include {folder}/ask.conf;"
    yield "    default_type text/plain;"
    yield '    if ($noai_gate_status = "") { return 403 "Forbidden\\n"; }'
    yield f"    rewrite ^ {ANSWER}? break;"
    yield "    proxy_method GET;"
    yield "    proxy_pass http://noai_gate;"
    yield "    error_page 500 502 503 504 = @noai_gate_refused;"
    yield "}"
    yield "location @noai_gate_refused {"
    yield "    auth_request off;"
    yield "    default_type text/plain;"
    yield '    add_header Cache-Control "no-store" always;'
    yield '    return 403 "Forbidden\\n";'
    yield "}"
    for path in wanted.documents:
        yield f"location = {_quoted(path)} {{"
        yield f"    include {folder}/ask.conf;"
        yield "    proxy_pass http://noai_gate;"
        yield "}"


def _headers(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('nginx')}"
    yield "# For responses. A location with add_header lines of its own inherits none: include this there too."
    for name in wanted.declared:
        add = "" if name in BESIDE else "add_"
        yield f"add_header {title(name)} $noai_gate_{add}{variable(name)} always;"


def _proxy(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('nginx')}"
    yield "# For the site behind proxy_pass. A location with proxy_set_header lines of its own: include this there too."
    yield from (f"proxy_set_header {title(name)} $noai_gate_{_short(name)};" for name in VERDICT)
    yield from (f'proxy_set_header {title(name)} "";' for name in _CLEARED)


def _fastcgi(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('nginx')}"
    yield "# For the site behind fastcgi_pass (PHP): include this beside your fastcgi_param lines."
    for name in VERDICT:
        yield f"fastcgi_param HTTP_{variable(name).upper()} $noai_gate_{_short(name)};"
    yield from (f'fastcgi_param HTTP_{variable(name).upper()} "";' for name in _CLEARED)


_CLEARED = (STATUS, REASON)


def _short(name: str) -> str:
    return variable(name.removeprefix("x-noai-"))


def _quoted(path: str) -> str:
    """A path as one parameter of `location`, where no variables are looked for."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _cache(wanted: GatewaySetup, folder: str) -> Iterator[str]:
    """A place for verdicts, and the class of a path: what lies in the same class is judged alike."""
    yield f"proxy_cache_path {folder} keys_zone=noai_gate:10m max_size=100m inactive=1m use_temp_path=off;"
    yield 'map $request_uri $noai_gate_path { "~^(?<noai_gate_plain>/[^?]*)" $noai_gate_plain; default ""; }'
    yield "# A path that may mean another one is a class of its own, as it was sent."
    yield "map $noai_gate_path $noai_gate_unusual {"
    yield '    default "";'
    yield '    "" $request_uri;'
    yield '    "~[^!-~]|[%#;\\\\\\\\]|//|/[.]" $request_uri;'
    yield "}"
    for number, rows in enumerate(wanted.path_lists):
        yield f"map $noai_gate_path $noai_gate_in_{number} {{"
        yield '    default "";'
        yield from (f"    {_matching(glob)} {place};" for glob, place in rows)
        yield "}"


def _matching(glob: str) -> str:
    """A path pattern as a key of a map, where a dollar sign would begin a variable."""
    escaped = glob_to_regex(glob).replace("$", r"\z").replace("\\", "\\\\")
    if len(escaped) > _LONGEST:
        raise CannotExpress(f"nginx: the path {glob[:40]}... is longer than nginx reads at once; leave --cache out")
    return f'"~{escaped}"'


def _key(wanted: GatewaySetup) -> str:
    """All that a verdict depends on that may be kept."""
    classes = "|".join(f"$noai_gate_in_{number}" for number in range(len(wanted.path_lists)))
    header = wanted.address_header
    address = _APPENDS.get(header, f"$http_{variable(header)}") if wanted.compiled.guard.uses_address else "*"
    return f'"$request_method|{address}|$noai_gate_unusual|{classes}|$http_user_agent"'


def _render(wanted: GatewaySetup) -> Sequence[Snippet]:
    if wanted.address_header == "forwarded":
        raise CannotExpress("nginx passes a client's Forwarded on; set trusted_proxies.header to x-forwarded-for")
    files = (
        (f"{_FOLDER}.conf", "in http { }; conf.d is included there already", _http),
        (f"{_FOLDER}/server.conf", "in each server { } that is protected", _server),
        (f"{_FOLDER}/ask.conf", "included by server.conf", _ask),
        (f"{_FOLDER}/headers.conf", "included by server.conf", _headers),
        (f"{_FOLDER}/proxy.conf", "included by server.conf", _proxy),
        (f"{_FOLDER}/fastcgi.conf", "beside fastcgi_pass, for PHP", _fastcgi),
    )
    return [Snippet(file, where, "".join(f"{line}\n" for line in lines(wanted))) for file, where, lines in files]


PROXY = Proxy("nginx", "nginx", "/etc/nginx/conf.d", _render, language="nginx")
