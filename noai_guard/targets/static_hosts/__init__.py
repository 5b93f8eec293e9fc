"""What a static host is told, in the file that it reads.

To add a host: one module with a `Host`, and one entry in `HOSTS`.
"""

from collections.abc import Mapping

from noai_guard.targets.static_hosts.headers_file import CLOUDFLARE_PAGES, NETLIFY
from noai_guard.targets.static_hosts.host import Host
from noai_guard.targets.static_hosts.vercel_json import VERCEL

HOSTS: Mapping[str, Host] = {"netlify": NETLIFY, "cloudflare-pages": CLOUDFLARE_PAGES, "vercel": VERCEL}
"""By the word that `noai-guard build --host` takes. Where two read the same file, the later one's form serves both."""
