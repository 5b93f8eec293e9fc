"""What one creator sees and may do, whether on the page or over the API."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from noai_guard.core.model import Action, Usage
from noai_guard.core.wishes import WISHED_USAGES, Choice
from noai_guard.creators.choices import Facts, Said, rows_for, said
from noai_guard.creators.site import Site
from noai_guard.creators.visits import Month, Visits
from noai_guard.stores.wish_table import ALL_WORKS, Row, WishTable

WORKS_AT_ONCE = 100
ROWS_AT_ONCE = 100

CHOICES_A_DAY = 120
"""Choices about one work, or all works, that are written down in 24 hours: the table only grows, and every guard of the
site reads a work that changed. `disallow` is always written down."""


class NotTheirs(Exception):
    """The creator has no such work."""


class ChangedMeanwhile(Exception):
    """The wishes have been changed since the form with them was made."""


class ChangedTooOften(Exception):
    """A work has been changed very often in the last 24 hours, and the change is not only stricter."""


@dataclass(frozen=True, slots=True)
class UsageView:
    """One usage of a work.

    `site` is what the site does by default, `said` what the creator says of this work, and `everywhere` of all works.
    `holds` is what comes of it today, `then` what will come of the choice that does not hold yet, by the site of today.
    """

    usage: Usage
    site: Action
    said: Said
    everywhere: Choice
    holds: Action
    then: Action


@dataclass(frozen=True, slots=True)
class Coming:
    """A choice that does not hold yet, and what will come of it by the site of today."""

    row: Row
    then: Action


@dataclass(frozen=True, slots=True)
class WorkView:
    """A work with the creator's wishes. `seen` is the id of the last row about it."""

    facts: Facts
    usages: tuple[UsageView, ...]
    seen: int

    @property
    def is_every_work(self) -> bool:
        """True if this stands for all works of the creator."""
        return self.facts.work == ALL_WORKS

    @property
    def title(self) -> str:
        """The title, or else the name of the work."""
        return self.facts.title or self.facts.work


@dataclass(frozen=True, slots=True)
class Account:
    """The works and wishes of one creator. Every method raises DatabaseFailed."""

    creator: str
    table: WishTable
    site: Site
    notice: int
    clock: Callable[[], datetime]

    def works(self, after: str = "", limit: int = WORKS_AT_ONCE) -> list[WorkView]:
        """Return the creator's works in order of name, at most `limit` after the name `after`."""
        names = self.table.works(self.creator, after, limit)
        return self._views(names) if names else []

    def work(self, name: str) -> WorkView:
        """Return a work, or what is said of all works for `*`. Raises NotTheirs."""
        views = self._views([name])
        if not views:
            raise NotTheirs(name)
        return views[0]

    def coming(self) -> list[Coming]:
        """Return the creator's choices that do not hold yet, the next first."""
        now = self.clock()
        rows = [row for row in self.table.coming(self.creator, now.date()) if row.usage is not None]
        general = said(self.table.about(self.creator, [ALL_WORKS]), now) if rows else {}
        return [Coming(row, self._then(row, general)) for row in rows]

    def _then(self, row: Row, general: Mapping[Usage, Said]) -> Action:
        assert row.usage is not None
        is_general = row.work == ALL_WORKS
        choice = row.choice
        if choice is Choice.UNSET and not is_general:
            choice = general.get(row.usage, Said()).choice
        return self.site.outcome("" if is_general else row.work, {row.usage: choice})[row.usage]

    def every_work(self) -> Iterator[WorkView]:
        """Yield all works of the creator in order of name."""
        after = ""
        while views := self.works(after):
            yield from views
            after = views[-1].facts.work

    def history(self, before: int = 0, limit: int = ROWS_AT_ONCE) -> list[Row]:
        """Return the creator's choices, the latest first."""
        return self.table.history(self.creator, before, limit)

    def rows(self) -> Iterator[Row]:
        """Yield all rows about the creator's works, the oldest first."""
        return self.table.rows(self.creator)

    def visits(self, source: Visits | None) -> Month | None:
        """Return who came for the creator's works this month; None if it is not known (yet)."""
        if source is None:
            return None
        return source.month(self.table.all_works(self.creator), self.clock())

    def choose(self, work: str, wanted: Mapping[Usage, Choice], seen: int | None = None) -> list[Row]:
        """Write down choices for a work, and return the rows that were added.

        `seen` is the `WorkView.seen` that the creator looked at. Raises NotTheirs, ChangedMeanwhile or ChangedTooOften.
        """
        now = self.clock()
        with self.table.writing() as writer:
            rows = writer.about(self.creator, [ALL_WORKS, work])
            own, general = _about(work, rows), _about(ALL_WORKS, rows)
            if not own and work != ALL_WORKS:
                raise NotTheirs(work)
            if seen is not None and seen != _seen(own):
                raise ChangedMeanwhile(work)
            added = rows_for(
                self.creator, wanted, own, general, Facts.of(work, own),
                set_by=self.creator, now=now, notice=self.notice,
            )  # fmt: skip
            today = sum(row.usage is not None and row.set_at > now - timedelta(days=1) for row in own)
            if today + len(added) > CHOICES_A_DAY and any(row.choice is not Choice.DISALLOW for row in added):
                raise ChangedTooOften(work)
            writer.add(added)
        return added

    def _views(self, names: Sequence[str]) -> list[WorkView]:
        rows = self.table.about(self.creator, [ALL_WORKS, *names])
        everywhere = said(_about(ALL_WORKS, rows), self.clock())
        about: dict[str, list[Row]] = {}
        for row in rows:
            about.setdefault(row.work, []).append(row)
        return [
            self._view(name, about.get(name, []), everywhere) for name in names if name in about or name == ALL_WORKS
        ]

    def _view(self, name: str, own: Sequence[Row], everywhere: Mapping[Usage, Said]) -> WorkView:
        mine = said(own, self.clock())
        path_of = "" if name == ALL_WORKS else name
        nothing = Said()
        effective = {
            usage: of_all if each.choice is Choice.UNSET else each.choice
            for usage in WISHED_USAGES
            for each, of_all in [(mine.get(usage, nothing), everywhere.get(usage, nothing).choice)]
        }
        default, holds = self.site.default(path_of), self.site.outcome(path_of, effective)
        then = {usage: self._then(each.coming, everywhere) for usage, each in mine.items() if each.coming is not None}
        usages = [
            UsageView(
                usage, default[usage], mine.get(usage, nothing), everywhere.get(usage, nothing).choice, holds[usage],
                then.get(usage, holds[usage]),
            )
            for usage in WISHED_USAGES
        ]  # fmt: skip
        return WorkView(Facts.of(name, own), tuple(usages), _seen(own))


def _about(work: str, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.work == work]


def _seen(rows: Sequence[Row]) -> int:
    return rows[-1].id if rows else 0
