"""What is in force in the database, as a catalogue: a CSV file that `wishes:` and `creators import` read alike."""

from collections.abc import Iterator
from datetime import date
from itertools import chain

from noai_guard.config.catalogue_reader import COLUMNS
from noai_guard.core.wishes import WISHED_USAGES, WorkWishes
from noai_guard.creators.exports import table_lines
from noai_guard.stores.wish_table import WishTable

_COLUMNS = tuple(column for column in COLUMNS if column not in ("path", "since", "set_by", "set_at"))


def catalogue_lines(table: WishTable, day: date, creator: str = "") -> Iterator[str]:
    """Yield the lines of a catalogue with what is in force on a day, of one creator or of all."""
    works = (each for each in chain(table.read_general(day), table.read(day)) if creator in ("", each.creator))
    return table_lines(_COLUMNS, map(_cells, works))


def _cells(wishes: WorkWishes) -> list[str]:
    facts = {"work": wishes.work, "isrc": wishes.isrc, "creator": wishes.creator, "title": wishes.title}
    facts |= {usage: wishes.choices[usage].value if usage in wishes.choices else "" for usage in WISHED_USAGES}
    return [facts[column] for column in _COLUMNS]
