"""429 Too Many Requests: Retry-After is the number of seconds to wait."""

from collections.abc import Sequence

from noai_guard.core.model import HeaderField, Verdict
from noai_guard.core.policy import Site
from noai_guard.responses.actions.template import RefusalTemplate
from noai_guard.responses.refusal import client_name, purpose, rule_and_message


def _sentence(verdict: Verdict, site: Site) -> str:
    unit = "second" if verdict.retry_after == 1 else "seconds"
    sentence = f"{client_name(verdict)} sends more requests{purpose(verdict)} than are allowed, and may come again in"
    return f"{sentence} {verdict.retry_after} {unit}{rule_and_message(verdict)}"


def _header_fields(verdict: Verdict, site: Site) -> Sequence[HeaderField]:
    return ((b"retry-after", b"%d" % max(1, verdict.retry_after)),)


TEMPLATE = RefusalTemplate(429, "Too many requests", _sentence, _header_fields)
