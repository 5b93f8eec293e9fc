"""What creators wish for their works, as every source of wishes tells it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from noai_guard.core.model import Usage


class Choice(StrEnum):
    """What a creator says of one usage of a work. `unset` leaves it to the site."""

    ALLOW = "allow"
    DISALLOW = "disallow"
    UNSET = "unset"


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
