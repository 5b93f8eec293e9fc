"""Static hosts: header fields in the file that the host reads, documents as files.

To add a host: one module with a `StaticHost`, and one word in `HOSTS`.
"""

from collections.abc import Mapping

from noai_guard.targets.static_hosts.headers_file import CLOUDFLARE_PAGES, NETLIFY
from noai_guard.targets.static_hosts.host import StaticHost
from noai_guard.targets.static_hosts.vercel_json import VERCEL

HOSTS: Mapping[str, StaticHost] = {host.key: host for host in (NETLIFY, CLOUDFLARE_PAGES, VERCEL)}
"""In the order in which they are listed."""
