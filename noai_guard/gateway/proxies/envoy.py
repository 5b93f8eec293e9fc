"""Envoy 1.26 or newer: ext_authz over HTTP, which appends the request's path to ours."""

from collections.abc import Iterator, Sequence

from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import READ, SOURCES, VERDICT, VERIFY
from noai_guard.gateway.proxies.proxy import BESIDE, GatewaySetup, Proxy, Snippet, spellings, title

_TYPE = '"@type": type.googleapis.com/envoy.extensions.filters.http'


def _filters(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('Envoy')}"
    yield "# In http_filters of the connection manager, before the router. It needs use_remote_address: true."
    yield "- name: envoy.filters.http.header_mutation"
    yield "  typed_config:"
    yield f"    {_TYPE}.header_mutation.v3.HeaderMutation"
    yield "    mutations:"
    yield "      request_mutations:"
    yield from (f"      - {{remove: {name.lower()}}}" for name in (*spellings(), *SOURCES))
    yield "- name: envoy.filters.http.ext_authz"
    yield "  typed_config:"
    yield f"    {_TYPE}.ext_authz.v3.ExtAuthz"
    yield "    transport_api_version: V3"
    yield f"    failure_mode_allow: {str(wanted.lets_in).lower()}"
    yield "    status_on_error: {code: Forbidden}"
    yield "    allowed_headers:"
    yield "      patterns:"
    yield from (f"      - {{exact: {name}}}" for name in (*READ, wanted.address_header))
    yield "    http_service:"
    yield "      server_uri:"
    yield f"        uri: http://{'127.0.0.1:80' if wanted.gateway.socket else wanted.gateway}"
    yield "        cluster: noai_gateway"
    yield "        timeout: 0.5s"
    yield f"      path_prefix: {VERIFY}"
    yield "      authorization_response:"
    yield "        allowed_upstream_headers:"
    yield f"          patterns: [{', '.join(f'{{exact: {name}}}' for name in VERDICT)}]"
    if wanted.declared:
        yield "        allowed_client_headers_on_success:"
        yield f"          patterns: [{', '.join(f'{{exact: {name}}}' for name in wanted.declared)}]"


def _routes(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('Envoy')}"
    yield "# In routes of each virtual host, before yours."
    for path in wanted.documents:
        yield f"- match: {{path: {_quoted(path)}}}"
        yield "  route: {cluster: noai_gateway, timeout: 2s}"
        yield "  typed_per_filter_config:"
        yield f"    envoy.filters.http.ext_authz: {{{_TYPE}.ext_authz.v3.ExtAuthzPerRoute, disabled: true}}"


def _cluster(wanted: GatewaySetup) -> Iterator[str]:
    address = wanted.gateway
    if address.socket:
        where = f"pipe: {{path: {address.socket}}}"
    else:
        where = f"socket_address: {{address: {address.host.strip('[]')}, port_value: {address.port}}}"
    yield f"# {wanted.head('Envoy')}"
    yield "# In clusters."
    yield "- name: noai_gateway"
    yield f"  type: {'STATIC' if address.socket or address.host.strip('[]')[-1] in '0123456789' else 'STRICT_DNS'}"
    yield "  connect_timeout: 0.3s"
    yield "  load_assignment:"
    yield "    cluster_name: noai_gateway"
    yield f"    endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{{where}}}}}}}]}}]"


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _render(wanted: GatewaySetup) -> Sequence[Snippet]:
    if wanted.address_header == "forwarded":
        raise CannotExpress("Envoy tells the client's address in x-forwarded-for; set trusted_proxies.header to it")
    files = (
        ("noai-guard-http-filters.yaml", "in http_filters, before the router", _filters),
        ("noai-guard-routes.yaml", "in routes of each virtual host, before yours", _routes),
        ("noai-guard-clusters.yaml", "in clusters", _cluster),
    )
    return [Snippet(file, where, "".join(f"{line}\n" for line in lines(wanted))) for file, where, lines in files]


def _limits(wanted: GatewaySetup) -> Iterator[str]:
    alone = ", ".join(title(name) for name in wanted.declared if name not in BESIDE)
    if alone:
        yield f"Envoy adds {alone} also where the site sends its own."


PROXY = Proxy("envoy", "Envoy", "/etc/envoy", _render, lambda wanted: tuple(_limits(wanted)), language="yml")
