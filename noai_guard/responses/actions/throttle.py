"""429: too many requests; Retry-After says in how many seconds to come again."""

from collections.abc import Sequence

from noai_guard.core.model import HeaderField, Verdict
from noai_guard.core.policy import Site
from noai_guard.responses.actions.answer import Answer
from noai_guard.responses.refusal import because, purpose, who


def _sentence(verdict: Verdict, site: Site) -> str:
    unit = "second" if verdict.retry_after == 1 else "seconds"
    said = f"{who(verdict)} sends more requests{purpose(verdict)} than are allowed, and may come again in"
    return f"{said} {verdict.retry_after} {unit}{because(verdict)}"


def _fields(verdict: Verdict, site: Site) -> Sequence[HeaderField]:
    return ((b"retry-after", b"%d" % max(1, verdict.retry_after)),)


ANSWER = Answer(429, "Too many requests", _sentence, _fields)
