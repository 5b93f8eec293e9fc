"""Envoy 1.26 or newer: ext_authz over HTTP, which appends the request's path to ours."""

from collections.abc import Iterable, Iterator, Sequence

from noai_guard.core.model import Document
from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import CDN, SOURCES, VERDICT, VERIFY
from noai_guard.gateway.proxies.proxy import (
    GatewaySetup,
    Proxy,
    lua_names,
    repeatable,
    spoofable_names,
    without_characters,
)
from noai_guard.resources import filled, text
from noai_guard.targets.servers.envoy import LOST_USER_AGENT
from noai_guard.targets.target import File

_FILES = {
    "noai-guard-http-filters.yaml": ("envoy_http_filters.yaml", "in http_filters, before the router"),
    "noai-guard-routes.yaml": ("envoy_routes.yaml", "in routes of each virtual host, before yours"),
    "noai-guard-clusters.yaml": ("envoy_clusters.yaml", "in clusters"),
}
_SPECIAL = '"\\\n\r'
_EXTENSIONS = "type.googleapis.com/envoy.extensions.filters.http"
_NO_AUTHORIZATION = (
    f'envoy.filters.http.ext_authz: {{"@type": {_EXTENSIONS}.ext_authz.v3.ExtAuthzPerRoute, disabled: true}}'
)
_NO_LUA = f'{{"@type": {_EXTENSIONS}.lua.v3.LuaPerRoute, disabled: true}}'


def _render(setup: GatewaySetup, root: str) -> Sequence[File]:
    if setup.client_address_header == "forwarded":
        raise CannotExpress("Envoy passes the client's address in x-forwarded-for; set trusted_proxies.header to it")
    gateway = setup.gateway
    address = f"socket_address: {{address: {gateway.host}, port_value: {gateway.port}}}"
    stored = setup.stored_documents("noai-guard-documents")
    declared = f"patterns: [{_exactly(setup.declared_names)}]"
    configuration = setup.generated(
        "envoy",
        _FILES,
        spoofable=(f"- {{remove: {name.lower()}}}" for name in (*spoofable_names(), *SOURCES)),
        fail_open=str(setup.fail_open).lower(),
        passed_on=(f"- {{exact: {name}}}" for name in (*setup.read, *CDN, setup.client_address_header)),
        gateway="127.0.0.1:80" if gateway.path else str(gateway),
        verify=VERIFY,
        verdict=_exactly(VERDICT),
        declared=("allowed_client_headers_on_success:", f"  {declared}") if setup.declared_names else (),
        documents_unanswered=_documents_unanswered(stored, root),
        user_agent=_user_agent(setup),
        unanswered=_unanswered(setup),
        documents=(line for path in setup.document_paths for line in _route(path, setup)),
        type="STATIC" if gateway.path or gateway.host[-1] in "0123456789" else "STRICT_DNS",
        address=f"pipe: {{path: {gateway.path}}}" if gateway.path else address,
    )
    return [*configuration, *(file for _, file in stored)]


def _documents_unanswered(stored: Iterable[tuple[Document, File]], root: str) -> list[str]:
    """Return a filter that sends the documents from files where the gateway does not."""
    files = [
        f'read("{without_characters(_SPECIAL, document.path, "Envoy")}", "{root}/{file.path}", "{document.media_type}")'
        for document, file in stored
    ]
    return filled("gateway/proxies/envoy_documents.yaml", document_files=files).splitlines() if files else []


def _exactly(names: Iterable[str]) -> str:
    return ", ".join(f"{{exact: {name}}}" for name in names)


def _user_agent(setup: GatewaySetup) -> list[str]:
    """Return filters that refuse a client whose User-Agent Envoy removed, because the client's Connection names it."""
    if not setup.refused_tokens:
        return []
    source = text(LOST_USER_AGENT).splitlines()
    return filled("gateway/proxies/envoy_user_agent.yaml", lost_user_agent=source).splitlines()


def _unanswered(setup: GatewaySetup) -> list[str]:
    """Return a filter that refuses an agent by its name where ext_authz had no answer."""
    if not setup.refuses_by_name:
        return []
    return filled("gateway/proxies/envoy_unanswered.yaml", refused_names=lua_names(setup)).splitlines()


def _route(path: str, setup: GatewaySetup) -> Iterator[str]:
    quoted = path.replace("\\", "\\\\").replace('"', '\\"')
    yield f'- match: {{path: "{quoted}"}}'
    yield "  route: {cluster: noai_gateway, timeout: 0.5s}"
    yield "  typed_per_filter_config:"
    yield f"    {_NO_AUTHORIZATION}"
    if setup.refused_tokens:
        yield f"    noai_user_agent: {_NO_LUA}"
    if setup.refuses_by_name:
        yield f"    noai_unanswered: {_NO_LUA}"


def _limitations(setup: GatewaySetup) -> Iterator[str]:
    yield "Envoy removes a User-Agent that Connection names; a client that seems to have lost one so gets a bare 403."
    doubled = ", ".join(name.title() for name in setup.declared_names if not repeatable(name))
    if doubled:
        yield f"Envoy adds {doubled} also where the site sends its own."


PROXY = Proxy("envoy", "Envoy", _render, _limitations, root="/etc/envoy", options=frozenset({"merge"}))
