"""403: not here, and asking again changes nothing."""

from noai_guard.core.model import Verdict
from noai_guard.core.policy import Site
from noai_guard.responses.actions.answer import Answer
from noai_guard.responses.refusal import because, purpose, who


def _sentence(verdict: Verdict, site: Site) -> str:
    return f"{who(verdict)} is not allowed to fetch this{purpose(verdict)}{because(verdict)}"


ANSWER = Answer(403, "Not allowed", _sentence)
