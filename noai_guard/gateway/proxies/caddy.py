"""Caddy 2.6 or newer: `forward_auth` in its long form, because the short one has no timeout and nothing for errors.

Header names are written as Go writes them: in a placeholder nothing else is found.
"""

from collections.abc import Iterator, Sequence

from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import SOURCES, VERDICT, VERIFY
from noai_guard.gateway.proxies.proxy import BESIDE, GatewaySetup, Proxy, Snippet, title, variable

_SETS = {"x-forwarded-uri": "{http.request.orig_uri}", "x-forwarded-method": "{http.request.orig_method}"}
_SPOOFED = ("X-NoAI*", "X_noai*", "X.noai*")
"""Request headers that only we may send, in every spelling that some server or language takes for the same."""

_KEEPS = "x-forwarded-host"
"""Caddy writes it itself."""


def _upstream(wanted: GatewaySetup) -> str:
    return f"unix/{wanted.gateway.socket}" if wanted.gateway.socket else str(wanted.gateway)


def _asks(wanted: GatewaySetup) -> Iterator[str]:
    """What the gateway is told of a request; nothing of it can be said by the client."""
    yield from (f"header_up {title(name)} {value}" for name, value in _SETS.items())
    yield from (f"header_up -{title(name)}" for name in SOURCES if name not in (*_SETS, _KEEPS))
    yield from (f"header_up -{name}" for name in ("Cookie", "Authorization"))
    if wanted.address_header == "x-real-ip":
        yield "header_up X-Real-IP {http.request.remote.host}"
    yield "transport http {"
    yield "\tdial_timeout 300ms"
    yield "\tresponse_header_timeout 500ms"
    yield "}"


def _refused() -> Iterator[str]:
    yield "header Cache-Control no-store"
    yield 'respond "Forbidden" 403'


def _guard(wanted: GatewaySetup) -> Iterator[str]:
    yield from (f"request_header -{spelling}" for spelling in _SPOOFED)
    yield f"@noai_documents path {' '.join(map(_quoted, wanted.documents))}"
    yield f"reverse_proxy @noai_documents {_upstream(wanted)} {{"
    yield from _indented(_asks(wanted))
    yield "}"
    yield "vars noai_gate asking"
    yield f"reverse_proxy {_upstream(wanted)} {{"
    yield "\tmethod GET"
    yield f"\trewrite {VERIFY}"
    yield from _indented(_asks(wanted))
    yield "\t@noai_let_in status 2xx"
    yield "\thandle_response @noai_let_in {"
    yield "\t\tvars noai_gate answered"
    yield from (f"\t\trequest_header {title(name)} {{rp.header.{title(name)}}}" for name in VERDICT)
    yield from (f"\t\tvars noai_{variable(name)} {{rp.header.{title(name)}}}" for name in wanted.declared)
    yield "\t}"
    yield "\t@noai_no_verdict status 404 405 5xx"
    yield "\thandle_response @noai_no_verdict {"
    yield from _indented(["vars noai_gate unanswered"] if wanted.lets_in else _refused(), 2)
    yield "\t}"
    yield "}"
    for name in wanted.declared:
        # `?`: where the site has none of its own.
        sign = "+" if name in BESIDE else "?"
        yield f'@noai_{variable(name)} expression `{{vars.noai_{variable(name)}}} != ""`'
        yield f"header @noai_{variable(name)} {sign}{title(name)} {{vars.noai_{variable(name)}}}"
    yield "import noai_site"


def _caddyfile(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('Caddy')}"
    yield "# Put `import noai-guard-gateway.caddy` on top of your Caddyfile, name what your site does, and use both:"
    yield "#     (noai_site) {"
    yield f"#     	reverse_proxy {wanted.origin}"
    yield "#     }"
    yield "#     music.example {"
    yield "#     	import noai_guard"
    yield "#     }"
    yield "(noai_guard) {"
    yield "\troute {"
    yield from _indented(_guard(wanted), 2)
    yield "\t}"
    yield "\thandle_errors {"
    yield '\t\t@noai_unanswered expression `{vars.noai_gate} == "asking"`'
    yield "\t\thandle @noai_unanswered {"
    yield from _indented(["import noai_site"] if wanted.lets_in else _refused(), 3)
    yield "\t\t}"
    yield "\t}"
    yield "}"


def _indented(lines: Iterator[str] | Sequence[str], depth: int = 1) -> Iterator[str]:
    return ("\t" * depth + line for line in lines)


def _quoted(path: str) -> str:
    """A path as one token, in which no placeholder is looked for and no `*` is a wildcard."""
    if any(character in path for character in '{}*`"\\\n'):
        raise CannotExpress(f"Caddy: the path {path!r} of a document holds what means something else there")
    return f'"{path}"'


def _render(wanted: GatewaySetup) -> Sequence[Snippet]:
    if wanted.address_header == "forwarded":
        raise CannotExpress("Caddy passes a client's Forwarded on; set trusted_proxies.header to x-forwarded-for")
    text = "".join(f"{line}\n" for line in _caddyfile(wanted))
    return [Snippet("noai-guard-gateway.caddy", "on top of the Caddyfile, by import", text)]


PROXY = Proxy("caddy", "Caddy", "/etc/caddy", _render)
