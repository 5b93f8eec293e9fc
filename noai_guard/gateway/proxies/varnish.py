"""Varnish 6 or newer, with the modules it has: a request first goes to the gateway and then, by restart, to the site.

The question comes before the look-up, so what is in the cache is guarded too, and a refusal is never kept.
"""

import re
from collections.abc import Iterator, Sequence

from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import SOURCES, VERDICT, VERIFY
from noai_guard.gateway.proxies.proxy import BESIDE, GatewaySetup, Proxy, Snippet, spellings, title

_STEP = "X-NoAI-Step"
_KEPT = "X-NoAI-Kept"

_MOST_BODY = 1024 * 1024
"""Bytes of a request body that are kept in memory while the gateway is asked."""


def _vcl(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('Varnish')}"
    yield '# On top of your VCL: vcl 4.1; include "noai-guard.vcl"; Your subs of the same names come behind ours.'
    yield "import std;"
    yield "backend noai_gateway {"
    if wanted.gateway.socket:
        yield f'    .path = "{wanted.gateway.socket}";'
    else:
        yield f'    .host = "{wanted.gateway.host.strip("[]")}";'
        yield f'    .port = "{wanted.gateway.port}";'
    yield "    .connect_timeout = 0.3s;"
    yield "    .first_byte_timeout = 0.5s;"
    yield "    .between_bytes_timeout = 0.5s;"
    yield "}"
    yield "sub vcl_recv {"
    yield from _indented(_recv(wanted))
    yield "}"
    yield "sub vcl_backend_fetch {"
    yield f'    if (bereq.http.{_STEP} == "asking") {{'
    yield '        set bereq.method = "GET";'
    yield "    }"
    yield f"    unset bereq.http.{_STEP};"
    yield from (f"    unset bereq.http.{_KEPT}-{title(name)};" for name in wanted.declared)
    yield "}"
    yield "sub vcl_backend_response {"
    yield "    if (beresp.backend == noai_gateway) {"
    yield "        set beresp.uncacheable = true;"
    yield "        set beresp.ttl = 0s;"
    yield "        return (deliver);"
    yield "    }"
    yield "}"
    yield "sub vcl_backend_error {"
    yield f'    if (bereq.http.{_STEP} == "asking") {{ return (deliver); }}'
    yield "}"
    yield "sub vcl_deliver {"
    yield from _indented(_deliver(wanted))
    yield "}"
    if not wanted.lets_in:
        yield "sub vcl_synth {"
        yield f'    if (req.http.{_STEP} == "unanswered") {{'
        yield '        set resp.http.Content-Type = "text/plain";'
        yield '        set resp.http.Cache-Control = "no-store";'
        yield '        set resp.body = "Forbidden";'
        yield "        return (deliver);"
        yield "    }"
        yield "}"


def _recv(wanted: GatewaySetup) -> Iterator[str]:
    yield "if (req.restarts == 0 && req.esi_level == 0) {"
    yield from (f"    unset req.http.{name};" for name in spellings("-_"))
    yield f"    unset req.http.{_STEP};"
    yield from (f"    unset req.http.{_KEPT}-{title(name)};" for name in wanted.declared)
    documents = "|".join(map(_expression, wanted.documents))
    yield f'    if (req.url ~ "^(?:{documents})(?:\\?|$)" && (req.method == "GET" || req.method == "HEAD")) {{'
    yield "        set req.backend_hint = noai_gateway;"
    yield "        return (pass);"
    yield "    }"
    yield from (f"    unset req.http.{title(name)};" for name in SOURCES if name not in _RESTORED)
    yield "    set req.http.X-Original-URI = req.url;"
    yield "    set req.http.X-Original-Method = req.method;"
    yield "    set req.http.X-Original-Host = req.http.Host;"
    if wanted.address_header == "x-real-ip":
        yield "    set req.http.X-Real-IP = client.ip;"
    yield from (f"    {line}" for line in _bodies(wanted))
    yield f'    if (req.http.{_STEP} != "not asked") {{'
    yield f'        set req.http.{_STEP} = "asking";'
    yield f'        set req.url = "{VERIFY}";'
    yield "        set req.backend_hint = noai_gateway;"
    yield "        return (pass);"
    yield "    }"
    yield "}"
    yield f'if (req.http.{_STEP} == "asking") {{'
    yield "    set req.url = req.http.X-Original-URI;"
    yield "    set req.backend_hint = default;"
    yield f'    set req.http.{_STEP} = "answered";'
    yield "}"
    yield from (f"unset req.http.{title(name)};" for name in _RESTORED)


def _bodies(wanted: GatewaySetup) -> Iterator[str]:
    """A body is sent twice, so it has to be kept; one that is too large to be kept cannot be asked about."""
    yield f"if (req.http.Transfer-Encoding || std.integer(req.http.Content-Length, 0) > {_MOST_BODY}) {{"
    yield '    if (req.method == "GET" || req.method == "HEAD") { return (synth(413, "Content Too Large")); }'
    if wanted.lets_in:
        yield f'    set req.http.{_STEP} = "not asked";'
    else:
        yield f'    set req.http.{_STEP} = "unanswered";'
        yield '    return (synth(403, "Forbidden"));'
    yield "} else if (req.http.Content-Length) {"
    yield f"    std.cache_req_body({_MOST_BODY}B);"
    yield "}"


_RESTORED = ("x-original-uri", "x-original-method", "x-original-host")


def _deliver(wanted: GatewaySetup) -> Iterator[str]:
    yield f'if (req.http.{_STEP} == "asking") {{'
    yield "    if (resp.status >= 200 && resp.status < 300) {"
    yield from (f"        set req.http.{title(name)} = resp.http.{title(name)};" for name in VERDICT)
    for name in wanted.declared:
        yield f"        set req.http.{_KEPT}-{title(name)} = resp.http.{title(name)};"
    yield "        return (restart);"
    yield "    }"
    yield "    if (resp.status >= 500 || resp.status == 404 || resp.status == 405) {"
    if wanted.lets_in:
        yield "        return (restart);"
    else:
        yield f'        set req.http.{_STEP} = "unanswered";'
        yield '        return (synth(403, "Forbidden"));'
    yield "    }"
    yield "    return (deliver);"
    yield "}"
    for name in wanted.declared:
        own, ours = f"resp.http.{title(name)}", f"req.http.{_KEPT}-{title(name)}"
        yield f'if ({ours} && {ours} != "" && !{own}) {{ set {own} = {ours}; }}'
        if name in BESIDE:
            yield f'else if ({ours} && {ours} != "") {{ set {own} = {own} + ", " + {ours}; }}'


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)


def _expression(path: str) -> str:
    """A path in any percent-encoding: VCL decodes none."""
    if not re.fullmatch(r"/[A-Za-z0-9/._~-]*", path):
        raise CannotExpress(f"Varnish: the path {path!r} of a document would need quoting; choose a plainer one")
    return "".join(f"(?:[{character}]|(?i:%{ord(character):x}))" for character in path)


def _render(wanted: GatewaySetup) -> Sequence[Snippet]:
    if wanted.address_header == "forwarded":
        raise CannotExpress("Varnish passes a client's Forwarded on; set trusted_proxies.header to x-forwarded-for")
    text = "".join(f"{line}\n" for line in _vcl(wanted))
    return [Snippet("noai-guard.vcl", "behind your backends and before your subs, by include", text)]


def _limits(wanted: GatewaySetup) -> Iterator[str]:
    unasked = "let in" if wanted.lets_in else "refused"
    yield f"Varnish cannot ask about a request with more than 1 MiB of body, or a chunked one: it is {unasked}."
    beside = ", ".join(title(name) for name in wanted.declared if name in BESIDE)
    if beside:
        yield f"Varnish has no second line of a name: {beside} is joined to the site's own."


PROXY = Proxy("varnish", "Varnish", "/etc/varnish", _render, lambda wanted: tuple(_limits(wanted)))
