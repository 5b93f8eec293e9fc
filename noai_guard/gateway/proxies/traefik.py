"""Traefik 3.7 or newer: ForwardAuth, through an entry point of Traefik's own on loopback.

ForwardAuth waits up to 30 s for an answer and cannot let in without one (traefik#9857). A service has both a timeout
and, since 3.7, a fallback by status; an entry point of its own makes the gateway one.
"""

from collections.abc import Iterator, Sequence

from noai_guard.core.model import HeaderField
from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import SOURCES, VERDICT, VERIFY
from noai_guard.gateway.proxies.proxy import GatewaySetup, Proxy, Snippet, spellings, title
from noai_guard.responses.header_fields import one_line_per_name

_ENTRY = "127.0.0.1:9796"
"""Where Traefik asks itself."""

_KEEPS = ("x-forwarded-uri", "x-forwarded-method", "x-forwarded-host")
"""ForwardAuth writes them itself."""


def _static(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('Traefik')}"
    yield "# In the static configuration: a place where Traefik asks itself, with a timeout and a fallback."
    yield "entryPoints:"
    yield "  noai:"
    yield f'    address: "{_ENTRY}"'
    yield '    forwardedHeaders: {trustedIPs: ["127.0.0.1"]}'
    yield "ping: {manualRouting: true}"


def _dynamic(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('Traefik')}"
    yield "# In the folder of the file provider. Then, on each router of a site: middlewares: [noai-guard@file]"
    yield "http:"
    yield "  middlewares:"
    yield "    noai-guard:"
    yield "      chain: {middlewares: [noai-clean, noai-ask, noai-declare]}"
    yield "    noai-clean:"
    yield "      headers:"
    yield "        customRequestHeaders:"
    yield from (f'          {name}: ""' for name in _cleaned())
    yield "    noai-ask:"
    yield "      forwardAuth:"
    yield f'        address: "http://{_ENTRY}{VERIFY}"'
    yield f"        authResponseHeaders: [{', '.join(map(title, VERDICT))}]"
    yield "        maxResponseBodySize: 65536"
    yield "    noai-declare:"
    yield "      headers:"
    yield "        customResponseHeaders:"
    yield from (f"          {title(name.decode())}: {_quoted(value.decode())}" for name, value in _declared(wanted))
    if not wanted.lets_in:
        yield "    noai-refuse:"
        yield "      errors:"
        yield '        status: ["404-405", "500-504"]'
        yield '        statusRewrites: {"404-405": 403, "500-504": 403}'
        yield "        service: ping@internal"
        yield '        query: "/"'
    yield "  routers:"
    yield "    noai-ask:"
    yield "      entryPoints: [noai]"
    yield '      rule: "PathPrefix(`/`)"'
    if wanted.lets_in:
        yield "      service: noai-or-let-in"
    else:
        yield "      service: noai-gateway"
        yield "      middlewares: [noai-refuse]"
    yield "    # With TLS, as in your own routers: tls: {certResolver: ...}"
    yield "    noai-documents:"
    yield f"      rule: {_quoted(' || '.join(f'Path(`{_plain(path)}`)' for path in wanted.documents))}"
    yield "      priority: 1000000"
    yield "      service: noai-gateway"
    yield "  services:"
    yield "    noai-gateway:"
    yield "      loadBalancer:"
    yield f'        servers: [{{url: "http://{wanted.gateway}"}}]'
    yield "        serversTransport: noai-soon"
    if wanted.lets_in:
        yield "    noai-or-let-in:"
        yield "      failover:"
        yield "        service: noai-gateway"
        yield "        fallback: ping@internal"
        yield '        errors: {status: ["404-405", "500-504"]}'
    yield "  serversTransports:"
    yield "    noai-soon:"
    yield "      forwardingTimeouts: {dialTimeout: 300ms, responseHeaderTimeout: 500ms}"


def _cleaned() -> Iterator[str]:
    """What a client must not say: our headers, and where others put what ForwardAuth puts elsewhere."""
    yield from spellings()
    yield from (title(name) for name in SOURCES if name not in _KEEPS)


def _declared(wanted: GatewaySetup) -> Iterator[HeaderField]:
    """What the whole site declares. Link is left out: Traefik would take the site's own away."""
    fields = wanted.compiled.declared[0].fields
    yield from one_line_per_name(field for field in fields if field[0] != b"link").items()


def _plain(path: str) -> str:
    if any(character in path for character in "`\\\"'{}\n"):
        raise CannotExpress(f"Traefik: the path {path!r} of a document holds what means something else there")
    return path


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _render(wanted: GatewaySetup) -> Sequence[Snippet]:
    if wanted.gateway.socket:
        raise CannotExpress("Traefik asks no UNIX socket; let the gateway listen on an address and say it by --gateway")
    if wanted.address_header != "x-forwarded-for":
        raise CannotExpress("Traefik tells the client's address in x-forwarded-for; set trusted_proxies.header to it")
    files = (
        ("noai-guard-static.yml", "in traefik.yml, merged with yours", _static),
        ("dynamic/noai-guard.yml", "in the folder of providers.file", _dynamic),
    )
    return [Snippet(file, where, "".join(f"{line}\n" for line in lines(wanted))) for file, where, lines in files]


def _limits(wanted: GatewaySetup) -> Iterator[str]:
    names = ", ".join(title(name.decode()) for name, _ in _declared(wanted))
    if names:
        yield f"Traefik replaces the site's own {names}: where it sends one, take ours out of noai-declare."
    if "link" in wanted.declared:
        yield "Link is not declared through Traefik, which would take the site's own away; robots.txt says it."
    if len({declared.fields for declared in wanted.compiled.declared}) > 1:
        yield "Traefik declares the same for every path: what the whole site says, not what `paths` say."


PROXY = Proxy("traefik", "Traefik", "/etc/traefik", _render, lambda wanted: tuple(_limits(wanted)), language="yml")
