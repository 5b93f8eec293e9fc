"""Servers that carry out a policy by themselves, one module per server.

To add a server: one module with a `TARGET`, and one word in `TARGETS`.
"""

from collections.abc import Mapping

from noai_guard.targets.clouds import aws, cloudflare, kubernetes
from noai_guard.targets.servers import apache, caddy, envoy, haproxy, htaccess, lighttpd, nginx, traefik, varnish
from noai_guard.targets.target import ServerTarget

TARGETS: Mapping[str, ServerTarget] = {
    target.key: target
    for target in (
        nginx.TARGET,
        apache.TARGET,
        htaccess.TARGET,
        caddy.TARGET,
        haproxy.TARGET,
        varnish.TARGET,
        lighttpd.TARGET,
        envoy.TARGET,
        traefik.TARGET,
        cloudflare.TARGET,
        aws.TARGET,
        kubernetes.TARGET,
    )
}
"""In the order in which they are listed."""
