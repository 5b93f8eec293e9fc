"""402 Payment Required: the client needs a licence; the sentence and Link fields say where to get one."""

from noai_guard.declarations.licence_link import licence_link
from noai_guard.declarations.rsl import license_link
from noai_guard.responses.refusal import RefusalTemplate

TEMPLATE = RefusalTemplate(
    402,
    "Licence required",
    "{client} needs a licence to fetch this{purpose}{rule}",
    # Also where nothing is reserved and so nothing is declared: a rule may sell what the path policy allows.
    lambda verdict, policy: [*licence_link(policy.site), *license_link(policy)],
)
