"""The shape of an action that refuses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from noai_guard.core.model import HeaderField, Verdict
from noai_guard.core.policy import Site


def _no_fields(verdict: Verdict, site: Site) -> Sequence[HeaderField]:
    return ()


@dataclass(frozen=True, slots=True)
class Answer:
    """How one action answers: status, title, one sentence, and header fields of its own. Never 200."""

    status: int
    title: str
    sentence: Callable[[Verdict, Site], str]
    fields: Callable[[Verdict, Site], Sequence[HeaderField]] = _no_fields
