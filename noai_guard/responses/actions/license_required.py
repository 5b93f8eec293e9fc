"""402: with a licence, which the sentence and the Link say where to get."""

from collections.abc import Sequence

from noai_guard.core.model import HeaderField, Verdict
from noai_guard.core.policy import Site
from noai_guard.core.site_addresses import ascii_uri
from noai_guard.responses.actions.answer import Answer
from noai_guard.responses.refusal import because, purpose, who


def _sentence(verdict: Verdict, site: Site) -> str:
    return f"{who(verdict)} needs a licence to fetch this{purpose(verdict)}{because(verdict)}"


def _fields(verdict: Verdict, site: Site) -> Sequence[HeaderField]:
    return ((b"link", f'<{ascii_uri(site.licence)}>; rel="license"'.encode("ascii")),) if site.licence else ()


ANSWER = Answer(402, "Licence required", _sentence, _fields)
