"""What a site says of itself: uses of its recordings inside the house, and notices. Nothing here can be checked."""

from collections.abc import Sequence
from dataclasses import dataclass

KNOWN_USES = ("recommendation", "content-identification", "fraud-detection", "organisation")
"""Uses that the policy page has words for. A site may name any other in words of its own."""


@dataclass(frozen=True, slots=True)
class Use:
    """A use of the recordings by the site or its vendor, as the site declares it.

    `use` is one of `KNOWN_USES` or the site's own words, `by` who does it. `licence` is an address or words; empty if
    the site names none.
    """

    use: str
    by: str
    trains_generative_models: bool
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """A text of the operator, for example the reservation of a collecting society.

    `text` may have several lines; a blank one ends a paragraph. `by` is whose notice it is, `lang` its language
    (BCP 47); both are empty if the site does not say.
    """

    text: str
    by: str = ""
    lang: str = ""

    @property
    def attributed(self) -> str:
        """The text, after the name of who says it."""
        return f"{self.by}: {self.text}" if self.by else self.text


def training_uses(uses: Sequence[Use]) -> tuple[Use, ...]:
    """Return the uses that train generative models."""
    return tuple(use for use in uses if use.trains_generative_models)
