"""Shape of a refusal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from noai_guard.core.model import HeaderField, Verdict
from noai_guard.core.policy import Site


def _no_fields(verdict: Verdict, site: Site) -> Sequence[HeaderField]:
    return ()


@dataclass(frozen=True, slots=True)
class RefusalTemplate:
    """Refusal of one action: a status (4xx), a title, one sentence, and header fields that only this action has."""

    status: int
    title: str
    sentence: Callable[[Verdict, Site], str]
    header_fields: Callable[[Verdict, Site], Sequence[HeaderField]] = _no_fields
