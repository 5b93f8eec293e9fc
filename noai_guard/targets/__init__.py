"""Other servers that a policy is compiled for, one module per server.

To add a server: one module with a `TARGET`, and one word in `TARGETS`.
"""

from collections.abc import Mapping

from noai_guard.targets.clouds import aws, cloudflare, kubernetes
from noai_guard.targets.servers import apache, caddy, envoy, haproxy, htaccess, lighttpd, nginx, traefik, varnish
from noai_guard.targets.target import Target

TARGETS: Mapping[str, Target] = {
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
