"""Shape of a refusal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from noai_guard.core.model import HeaderField, Verdict
from noai_guard.core.policy import Site


@dataclass(frozen=True, slots=True)
class RefusalTemplate:
    """Refusal of one action: a status (4xx), a title, one sentence, and header fields that only this action has.

    `sentence` is a format string with the fields of `noai_guard.responses.refusal.sentence`.
    """

    status: int
    title: str
    sentence: str
    header_fields: Callable[[Verdict, Site], Sequence[HeaderField]] = lambda verdict, site: ()
