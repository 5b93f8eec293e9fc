"""Link: rel=license (RFC 8288, IANA link relation `license`) to the site's licence."""

from collections.abc import Sequence

from noai_guard.core.model import HeaderField
from noai_guard.core.policy import Site
from noai_guard.core.site_addresses import ascii_uri
from noai_guard.declarations.shared.standard import Standard


def licence_link(site: Site) -> Sequence[HeaderField]:
    """Return the Link field that leads to the licence of a site, if it has one."""
    return [(b"link", f'<{ascii_uri(site.licence)}>; rel="license"'.encode("ascii"))] if site.licence else []


STANDARD = Standard(
    "licence_link",
    "Link rel=license",
    header_fields=lambda policy, path_policy: licence_link(policy.site) if path_policy.reserves_anything else (),
)
