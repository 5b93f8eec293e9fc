"""What creators wish for their works, as every source of wishes tells it."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from noai_guard.core.model import Usage
from noai_guard.core.questions import Question

WISHED_USAGES = (
    Usage.TRAIN_AI,
    Usage.AI_SEARCH,
    Usage.AI_INPUT,
    Usage.AI_AGENT,
    Usage.DATA_BROKER,
    Usage.SCRAPER,
)
"""The usages that a creator has a say in: those that a policy against AI reserves."""


WISH_SOURCES = ("catalogue", "sqlite", "postgresql")
"""The kinds of sources that a policy can name."""


class Choice(StrEnum):
    """What a creator says of one usage of a work, from the mildest. `unset` leaves it to the site."""

    ALLOW = "allow"
    UNSET = "unset"
    DISALLOW = "disallow"

    @property
    def strictness(self) -> int:
        """The rank of this choice, 0 for the mildest."""
        return _STRICTNESS[self]


_STRICTNESS = {choice: rank for rank, choice in enumerate(Choice)}


@dataclass(frozen=True, slots=True)
class Wish:
    """One choice of one creator for one usage of one work.

    `work` is the name that the policy's `works:` find in a path. `since` is the day from which it holds; None for at
    once. `set_by` is who entered it (the creator, the label), `set_at` when.
    """

    work: str
    usage: Usage
    choice: Choice
    creator: str = ""
    set_by: str = ""
    set_at: datetime | None = None
    since: date | None = None


@dataclass(frozen=True, slots=True)
class WorkWishes:
    """All choices that are in force for one work, with what else a source says of it. `isrc` is without hyphens."""

    work: str
    choices: Mapping[Usage, Choice] = field(hash=False)
    creator: str = ""
    title: str = ""
    isrc: str = ""


@dataclass(frozen=True, slots=True)
class WishOf(Question[int]):
    """What is wished for a work: the number of the choices, as in a `WishIndex`."""

    work: str


ALL_WORKS = "*"
"""The name that stands for every work of a creator, where a source knows which those are."""


class WishesSource(Protocol):
    """Where wishes are kept: a catalogue, a database. Every method may raise OSError, Unanswered or WishesInvalid."""

    def version(self) -> Hashable:
        """Return what differs once a wish has changed. Called every second, so it must be cheap."""

    def read(self, day: date) -> Iterator[WorkWishes]:
        """Yield the wishes in force on a day (UTC). A work may come several times, once for each creator."""

    def changes(self, since: Hashable, day: date) -> Iterable[WorkWishes] | None:
        """Return all wishes in force of the works that changed after a version, without choices if none is left.

        None if the source cannot tell: then all is read again.
        """

    def close(self) -> None:
        """Close what is open in this process; a later call opens it again."""


def in_force(history: Iterable[Wish], day: date) -> dict[Usage, Choice]:
    """Return the choices in force on a day of the wishes of one creator for one work, the oldest first.

    A later wish replaces an earlier one. What tightens holds at once, what loosens from its day on.
    """
    choices: dict[Usage, Choice] = {}
    for wish in history:
        before = choices.get(wish.usage, Choice.UNSET)
        if wish.since is None or wish.since <= day or wish.choice.strictness > before.strictness:
            choices[wish.usage] = wish.choice
    return choices
