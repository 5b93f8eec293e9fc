"""Envoy 1.26 or newer: ext_authz over HTTP, which appends the request's path to ours."""

from collections.abc import Iterable, Iterator, Sequence

from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import CDN, READ, SOURCES, VERDICT, VERIFY
from noai_guard.gateway.proxies.proxy import GatewaySetup, Proxy, repeatable, spoofable_names
from noai_guard.targets.target import File

_FILES = {
    "noai-guard-http-filters.yaml": ("envoy_http_filters.yaml", "in http_filters, before the router"),
    "noai-guard-routes.yaml": ("envoy_routes.yaml", "in routes of each virtual host, before yours"),
    "noai-guard-clusters.yaml": ("envoy_clusters.yaml", "in clusters"),
}
_NO_AUTHORIZATION = (
    'envoy.filters.http.ext_authz: {"@type": type.googleapis.com/envoy.extensions.filters.http.'
    "ext_authz.v3.ExtAuthzPerRoute, disabled: true}"
)


def _render(setup: GatewaySetup, root: str) -> Sequence[File]:
    if setup.client_address_header == "forwarded":
        raise CannotExpress("Envoy passes the client's address in x-forwarded-for; set trusted_proxies.header to it")
    gateway = setup.gateway
    address = f"socket_address: {{address: {gateway.host}, port_value: {gateway.port}}}"
    declared = f"patterns: [{_exactly(setup.declared_names)}]"
    return setup.generated(
        "envoy",
        _FILES,
        spoofable=(f"- {{remove: {name.lower()}}}" for name in (*spoofable_names(), *SOURCES)),
        fail_open=str(setup.fail_open).lower(),
        passed_on=(f"- {{exact: {name}}}" for name in (*READ, *CDN, setup.client_address_header)),
        gateway="127.0.0.1:80" if gateway.path else str(gateway),
        verify=VERIFY,
        verdict=_exactly(VERDICT),
        declared=("allowed_client_headers_on_success:", f"  {declared}") if setup.declared_names else (),
        documents=(line for path in setup.document_paths for line in _route(path)),
        type="STATIC" if gateway.path or gateway.host[-1] in "0123456789" else "STRICT_DNS",
        address=f"pipe: {{path: {gateway.path}}}" if gateway.path else address,
    )


def _exactly(names: Iterable[str]) -> str:
    return ", ".join(f"{{exact: {name}}}" for name in names)


def _route(path: str) -> Iterator[str]:
    quoted = path.replace("\\", "\\\\").replace('"', '\\"')
    yield f'- match: {{path: "{quoted}"}}'
    yield "  route: {cluster: noai_gateway, timeout: 2s}"
    yield "  typed_per_filter_config:"
    yield f"    {_NO_AUTHORIZATION}"


def _limitations(setup: GatewaySetup) -> Iterator[str]:
    doubled = ", ".join(name.title() for name in setup.declared_names if not repeatable(name))
    if doubled:
        yield f"Envoy adds {doubled} also where the site sends its own."


PROXY = Proxy("envoy", "Envoy", _render, _limitations, root="/etc/envoy")
