"""403: not here, and asking again changes nothing."""

from noai_guard.actions.answer import Answer
from noai_guard.model import Verdict
from noai_guard.policy import Site
from noai_guard.refusal import because, purpose, who


def _sentence(verdict: Verdict, site: Site) -> str:
    return f"{who(verdict)} is not allowed to fetch this{purpose(verdict)}{because(verdict)}"


ANSWER = Answer(403, "Not allowed", _sentence)
