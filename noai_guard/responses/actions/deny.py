"""403 Forbidden: the client may not fetch this, and repeating the request changes nothing."""

from noai_guard.core.model import Verdict
from noai_guard.core.policy import Site
from noai_guard.responses.actions.template import RefusalTemplate
from noai_guard.responses.refusal import client_name, purpose, rule_and_message


def _sentence(verdict: Verdict, site: Site) -> str:
    return f"{client_name(verdict)} is not allowed to fetch this{purpose(verdict)}{rule_and_message(verdict)}"


TEMPLATE = RefusalTemplate(403, "Not allowed", _sentence)
