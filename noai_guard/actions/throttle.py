"""429: too many requests; Retry-After says in how many seconds to come again."""

from collections.abc import Sequence

from noai_guard.actions.answer import Answer
from noai_guard.model import HeaderField, Verdict
from noai_guard.policy import Site
from noai_guard.refusal import closing, purpose, who


def _sentence(verdict: Verdict, site: Site) -> str:
    again = f" Come again in {verdict.retry_after} seconds."
    return f"{who(verdict)} sends more requests{purpose(verdict)} than are allowed{closing(verdict, site)}{again}"


def _fields(verdict: Verdict, site: Site) -> Sequence[HeaderField]:
    return ((b"retry-after", b"%d" % verdict.retry_after),)


ANSWER = Answer(429, "Too many requests", _sentence, _fields)
