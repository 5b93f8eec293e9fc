"""Proxies that ask the gateway before they serve, one module per proxy, with its templates beside it."""

from collections.abc import Mapping

from noai_guard.gateway.proxies import apache, caddy, envoy, haproxy, nginx, traefik, varnish
from noai_guard.gateway.proxies.proxy import Proxy

PROXIES: Mapping[str, Proxy] = {
    module.PROXY.key: module.PROXY for module in (nginx, apache, caddy, haproxy, varnish, traefik, envoy)
}
"""In the order in which they are listed. To add one: a module with a `PROXY`, and a word here."""
