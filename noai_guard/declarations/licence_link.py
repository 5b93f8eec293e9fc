"""Link: rel=license (RFC 8288, IANA link relation `license`) to the site's licence."""

from collections.abc import Sequence

from noai_guard.core.model import HeaderField, PathPolicy
from noai_guard.core.policy import Policy
from noai_guard.core.site_addresses import ascii_uri
from noai_guard.declarations.shared.standard import Standard


def _header_fields(policy: Policy, path_policy: PathPolicy) -> Sequence[HeaderField]:
    if not policy.site.licence or not path_policy.reserves_anything:
        return ()
    return ((b"link", f'<{ascii_uri(policy.site.licence)}>; rel="license"'.encode("ascii")),)


STANDARD = Standard("licence_link", "Link rel=license", header_fields=_header_fields)
