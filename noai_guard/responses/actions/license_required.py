"""402 Payment Required: the client needs a licence; the sentence and Link fields say where to get one."""

from collections.abc import Sequence

from noai_guard.core.model import HeaderField
from noai_guard.core.policy import Policy
from noai_guard.declarations.licence_link import licence_link
from noai_guard.declarations.rsl import license_link
from noai_guard.responses.refusal import RefusalTemplate


def licence_links(policy: Policy) -> Sequence[HeaderField]:
    """Return the Link fields that lead to the licence of the site, and to its RSL document if one is published."""
    return [*licence_link(policy.site), *license_link(policy)]


TEMPLATE = RefusalTemplate(
    402,
    "Licence required",
    "{client} needs a licence to fetch this{purpose}{rule}",
    lambda verdict, policy: licence_links(policy),
)
