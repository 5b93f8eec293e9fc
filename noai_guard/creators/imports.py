"""A catalogue of works and wishes into the database."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from noai_guard.config.catalogue_lines import CatalogueLine
from noai_guard.core.wishes import Choice
from noai_guard.creators.choices import Facts, rows_for
from noai_guard.stores.wish_table import ALL_WORKS, Row, Writer

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import adds: new works, choices that hold at once, and choices that hold later."""

    works: int = 0
    now: int = 0
    later: int = 0


def import_lines(
    writer: Writer, lines: Sequence[CatalogueLine], *, set_by: str, now: datetime, notice: int, only_look: bool = False
) -> Imported:
    """Add what lines say and the database does not. `set_by` is who says it where a line names nobody.

    An empty cell says nothing. Of several lines of a creator about a work, the strictest counts, as where a catalogue
    is the source itself. What loosens holds after `notice` days, or from the day that its line names if that is later.
    """
    works = at_once = later = 0
    by_creator: dict[str, dict[str, CatalogueLine]] = {}
    for line in lines:
        of_creator = by_creator.setdefault(line.creator, {})
        before = of_creator.get(line.work)
        of_creator[line.work] = line if before is None else _strictest(before, line)
    for creator, of_creator in by_creator.items():
        # What holds for all works has to be known before the choices for single ones.
        ordered = sorted(of_creator.values(), key=lambda line: line.work != ALL_WORKS)
        general: list[Row] | None = None
        for part in _parts(ordered):
            known = writer.about(creator, [ALL_WORKS, *{line.work for line in part}])
            about: dict[str, list[Row]] = {}
            for row in known:
                about.setdefault(row.work, []).append(row)
            general = general if general is not None else about.get(ALL_WORKS, [])
            added: list[Row] = []
            for line in part:
                own = about.setdefault(line.work, [])
                rows = list(_rows_of(line, own, general, set_by=set_by, now=now, notice=notice))
                works += not own and line.work != ALL_WORKS
                at_once += sum(row.usage is not None and row.since <= now.date() for row in rows)
                later += sum(row.since > now.date() for row in rows)
                own += rows
                general = own if line.work == ALL_WORKS else general
                added += rows
            if not only_look:
                writer.add(added)
    return Imported(works, at_once, later)


def _strictest(one: CatalogueLine, other: CatalogueLine) -> CatalogueLine:
    said = [*one.choices.items(), *other.choices.items()]
    choices = dict(sorted(said, key=lambda pair: pair[1].strictness))
    days = [line.since for line in (one, other) if line.since]
    return replace(
        other, choices=choices, isrc=other.isrc or one.isrc, title=other.title or one.title,
        set_by=other.set_by or one.set_by, since=max(days, default=None),
    )  # fmt: skip


def _rows_of(
    line: CatalogueLine, own: Sequence[Row], general: Sequence[Row], *, set_by: str, now: datetime, notice: int
) -> Iterator[Row]:
    before = Facts.of(line.work, own)
    facts = Facts(line.work, line.title or before.title, line.isrc or before.isrc)
    who = line.set_by or set_by
    if (not own or facts != before) and line.work != ALL_WORKS:
        yield Row(
            line.creator, line.work, Choice.UNSET, None, facts.isrc, facts.title, who, now, now.date()
        )  # fmt: skip
    rows = rows_for(line.creator, line.choices, own, general, facts, set_by=who, now=now, notice=notice)
    for row in rows:
        yield replace(row, since=max(row.since, line.since)) if row.since > now.date() and line.since else row


def _parts(lines: Sequence[CatalogueLine]) -> Iterable[Sequence[CatalogueLine]]:
    return (lines[start : start + _AT_ONCE] for start in range(0, len(lines), _AT_ONCE))
