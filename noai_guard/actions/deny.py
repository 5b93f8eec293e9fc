"""403: not here, and asking again changes nothing."""

from noai_guard.actions.answer import Answer
from noai_guard.model import Verdict
from noai_guard.policy import Site
from noai_guard.refusal import closing, purpose, who


def _sentence(verdict: Verdict, site: Site) -> str:
    return f"{who(verdict)} is not allowed to fetch this{purpose(verdict)}{closing(verdict, site)}"


ANSWER = Answer(403, "No AI", _sentence)
