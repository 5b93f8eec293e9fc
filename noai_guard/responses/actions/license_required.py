"""402 Payment Required: the client needs a licence; the sentence and a Link field say where to get one."""

from collections.abc import Sequence

from noai_guard.core.model import HeaderField, Verdict
from noai_guard.core.policy import Site
from noai_guard.core.site_addresses import ascii_uri
from noai_guard.responses.refusal import RefusalTemplate


def _header_fields(verdict: Verdict, site: Site) -> Sequence[HeaderField]:
    return [(b"link", f'<{ascii_uri(site.licence)}>; rel="license"'.encode("ascii"))] if site.licence else []


TEMPLATE = RefusalTemplate(
    402, "Licence required", "{client} needs a licence to fetch this{purpose}{rule}", _header_fields
)
