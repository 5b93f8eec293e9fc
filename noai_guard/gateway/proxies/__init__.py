"""Proxies that ask the gateway before they serve, one module per proxy, with its templates beside it."""

from collections.abc import Mapping

from noai_guard.gateway.proxies import apache, caddy, envoy, haproxy, nginx, traefik, varnish
from noai_guard.gateway.proxies.proxy import Proxy

PROXIES: Mapping[str, Proxy] = {
    proxy.key: proxy
    for proxy in (
        nginx.PROXY,
        apache.PROXY,
        caddy.PROXY,
        haproxy.PROXY,
        varnish.PROXY,
        traefik.PROXY,
        envoy.PROXY,
    )
}
"""In the order in which they are listed. To add one: a module with a `PROXY`, and a word here."""
