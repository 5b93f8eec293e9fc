"""What is written down when a creator makes a choice, and from when it holds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from noai_guard.core.model import Usage
from noai_guard.core.wishes import Choice
from noai_guard.stores.wish_table import ALL_WORKS, Row, in_force


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a work beside its wishes."""

    work: str
    title: str = ""
    isrc: str = ""

    @classmethod
    def of(cls, work: str, rows: Iterable[Row]) -> "Facts":
        """Return the latest title and ISRC in rows about a work, in order of id."""
        title = isrc = ""
        for row in rows:
            title, isrc = row.title or title, row.isrc or isrc
        return cls(work, title, isrc)


@dataclass(frozen=True, slots=True)
class Said:
    """What a creator says of one usage of a work: the `choice` in force, and another one that holds from a day on."""

    choice: Choice = Choice.UNSET
    coming: Row | None = None

    @property
    def last(self) -> Choice:
        """The choice that was made last, whether or not it holds already."""
        return self.coming.choice if self.coming else self.choice


def said(rows: Sequence[Row], day: datetime) -> dict[Usage, Said]:
    """Return what rows about one work, in order of id, say of each usage."""
    today = day.date()
    now = in_force(rows, today)
    last = {row.usage: row for row in rows if row.usage is not None}
    nothing = Choice.UNSET
    return {
        usage: Said(now[usage].choice if usage in now else nothing, row if row.since > today else None)
        for usage, row in last.items()
    }


def rows_for(
    creator: str,
    wanted: Mapping[Usage, Choice],
    own: Sequence[Row],
    general: Sequence[Row],
    facts: Facts,
    *,
    set_by: str,
    now: datetime,
    notice: int,
) -> list[Row]:
    """Return the rows that carry out a creator's choices for a work: none for what was said already.

    `own` are the rows about the work, `general` those about all works of the creator, both in order of id. What
    tightens holds from today, what loosens after `notice` days.
    """
    today = now.date()
    before, everywhere = said(own, now), said(general, now)
    rows: list[Row] = []
    for usage, choice in wanted.items():
        current = before.get(usage, Said())
        if choice is current.last:
            continue

        def effective(choice: Choice, usage: Usage = usage) -> Choice:
            if choice is Choice.UNSET and facts.work != ALL_WORKS:
                return everywhere.get(usage, Said()).choice
            return choice

        def row(choice: Choice, days: int, usage: Usage = usage) -> Row:
            return Row(
                creator, facts.work, choice, usage, facts.isrc, facts.title, set_by, now, today + timedelta(days)
            )

        if effective(choice).strictness >= effective(current.choice).strictness:
            rows.append(row(choice, 0))
        else:
            if current.coming is not None:
                # What was to come before is withdrawn: what is in force today goes on.
                rows.append(row(current.choice, 0))
            rows.append(row(choice, notice))
    return rows
