"""How a proxy asks the gateway before it serves: the contract both keep, and its configuration, a module per proxy."""

from collections.abc import Mapping

from noai_guard.gateway.proxies import apache, caddy, envoy, haproxy, nginx, traefik, varnish
from noai_guard.gateway.proxies.proxy import Proxy

PROXIES: Mapping[str, Proxy] = {
    proxy.key: proxy
    for proxy in (
        nginx.PROXY,
        caddy.PROXY,
        traefik.PROXY,
        envoy.PROXY,
        haproxy.PROXY,
        varnish.PROXY,
        apache.PROXY,
    )
}
"""In the order in which they are listed. To add one: a module with a `PROXY`, and a word here."""
