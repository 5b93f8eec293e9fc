"""Link: rel=license (RFC 8288, IANA link relation `license`) to the site's licence."""

from collections.abc import Sequence

from noai_guard.declarations.standard import Standard
from noai_guard.model import HeaderField
from noai_guard.policy import Policy, Section
from noai_guard.refusal import ascii_uri


def _header_fields(policy: Policy, section: Section) -> Sequence[HeaderField]:
    if not policy.site.licence or not section.reserves_anything:
        return ()
    return ((b"link", f'<{ascii_uri(policy.site.licence)}>; rel="license"'.encode("ascii")),)


STANDARD = Standard("licence_link", "Link rel=license", header_fields=_header_fields)
