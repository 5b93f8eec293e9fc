"""Servers that carry out a policy by themselves, one module per server.

To add a server: one module with a `TARGET`, and one word in `_MODULES`.
"""

from collections.abc import Mapping

from noai_guard.targets.clouds import aws, cloudflare, kubernetes
from noai_guard.targets.servers import apache, caddy, envoy, haproxy, htaccess, lighttpd, nginx, traefik, varnish
from noai_guard.targets.target import ServerTarget

_MODULES = (nginx, apache, htaccess, caddy, haproxy, varnish, lighttpd, envoy, traefik, cloudflare, aws, kubernetes)

TARGETS: Mapping[str, ServerTarget] = {module.TARGET.key: module.TARGET for module in _MODULES}
"""In the order in which they are listed."""
