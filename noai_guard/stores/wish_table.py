"""What creators have said about their works, in a table `noai_wishes` to which rows are only ever added.

A row is one choice of one creator for one usage of one work, with the first day on which it holds. On a day, the row
with the highest id among those whose day has come is in force. A row without a usage only says that a work is the
creator's. The work `*` stands for all works of the creator; a choice for one work comes before it.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

from noai_guard.core.model import Usage
from noai_guard.core.wishes import ALL_WORKS as ALL_WORKS
from noai_guard.core.wishes import WISHED_USAGES, Choice, WorkWishes
from noai_guard.stores.sql import ROWS_AT_ONCE, Database, DatabaseFailed, Timestamp

# After noai_guard.stores.sql, which says what to install.
from sqlalchemy import (  # isort: skip
    BigInteger, CheckConstraint, Column, Connection, Date, Index, Integer, MetaData, String, Table,
    func, insert, select,
)  # fmt: skip

METADATA = MetaData()
"""The tables of creators: `noai_wishes`, and `noai_invitations` (noai_guard/stores/invitations.py)."""

MAX_TEXT = 200
"""Characters of the longest creator, work, title or name of a person."""

TABLE = Table(
    "noai_wishes",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("creator", String(MAX_TEXT), nullable=False),
    Column("work", String(MAX_TEXT), nullable=False),
    Column("isrc", String(12), nullable=False, server_default=""),
    Column("title", String(MAX_TEXT), nullable=False, server_default=""),
    Column("usage", String(32), nullable=False, server_default=""),
    Column("choice", String(8), nullable=False),
    Column("set_by", String(MAX_TEXT), nullable=False, server_default=""),
    Column("set_at", Timestamp, nullable=False),
    Column("since", Date, nullable=False),
    CheckConstraint(f"choice IN ({', '.join(repr(str(choice)) for choice in Choice)})", name="noai_wishes_choice"),
    Index("noai_wishes_by_work", "work", "creator", "usage", "id"),
    Index("noai_wishes_by_creator", "creator", "work", "usage", "id"),
    sqlite_autoincrement=True,  # an id is never given twice, so `version` never goes back
)

MAX_CHANGED = 2_000
"""Works that are read again one by one after a change; of more, all are read."""

_USAGES: Mapping[str, Usage | None] = {"": None, **{usage.value: usage for usage in WISHED_USAGES}}
_CHOICES: Mapping[str, Choice] = {choice.value: choice for choice in Choice}
_FOR_WISHES = (TABLE.c.id, TABLE.c.work, TABLE.c.creator, TABLE.c.usage, TABLE.c.choice, TABLE.c.isrc, TABLE.c.title)
_IN_ORDER = (TABLE.c.work, TABLE.c.creator, TABLE.c.usage, TABLE.c.id)


_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. `usage` is None where it only says that the work is the creator's.

    `since` is the first day (UTC) on which the choice holds, `set_by` who made it, `set_at` when. `id` is 0 before the
    row is in the table.
    """

    creator: str
    work: str
    choice: Choice
    usage: Usage | None = None
    isrc: str = ""
    title: str = ""
    set_by: str = ""
    set_at: datetime = _EPOCH
    since: date = date.min
    id: int = 0


class WishTable:
    """The table in a database, a source of wishes: rows are read and added, never changed."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._seen: tuple[int, object] = 0, None

    @classmethod
    def at(cls, address: str, *, only_read: bool = False) -> "WishTable":
        """Return the table at an address, `sqlite:///FILE` or `postgresql://...`; made where it is missing, unless it
        is `only_read`. Raises ValueError."""
        return cls(Database(address, METADATA, only_read=only_read))

    def version(self) -> int:
        """Return a number that is another one after every change: the highest id. Raises DatabaseFailed, also if the
        table has lost rows since the last call: then it is another one, and what it says was not said by creators."""
        with self.database.reading() as connection:
            highest = int(connection.execute(select(func.coalesce(func.max(TABLE.c.id), 0))).scalar_one())
            oldest = connection.execute(select(TABLE.c.id, TABLE.c.set_at).order_by(TABLE.c.id).limit(1)).first()
        seen, seen_oldest = self._seen
        first = tuple(oldest) if oldest else None
        if highest < seen or (seen and first != seen_oldest):
            raise DatabaseFailed(
                f"{self.database}: {TABLE.name} has lost rows: its ids went up to {seen}, and go to {highest} now; "
                "put the table back, or restart to go by what is there"
            )
        self._seen = highest, first
        return highest

    def read(self, day: date) -> Iterator[WorkWishes]:
        """Yield the choices in force on a day, once for each work and creator. Raises DatabaseFailed."""
        due = TABLE.c.since <= day
        with self.database.reading() as connection:
            yield from _work_wishes(connection, due, TABLE.c.work != ALL_WORKS)

    def read_general(self, day: date) -> list[WorkWishes]:
        """Return what creators say of all their works on a day, as wishes for the work `*`. Raises DatabaseFailed."""
        with self.database.reading() as connection:
            everywhere = _everywhere(connection, TABLE.c.since <= day)
        return [WorkWishes(ALL_WORKS, choices, creator) for creator, choices in everywhere.items()]

    def changes(self, since: Hashable, day: date) -> Iterable[WorkWishes] | None:
        """Return what `read` yields of the works about which rows were added after a version. Raises DatabaseFailed.

        None if that are more than MAX_CHANGED, or if `since` is no version.
        """
        if not isinstance(since, int):
            return None
        new = TABLE.c.id > since
        changed = select(TABLE.c.work).where(new, TABLE.c.work != ALL_WORKS)
        general = select(TABLE.c.creator).where(new, TABLE.c.work == ALL_WORKS)
        with self.database.reading() as connection:
            works = set(connection.execute(changed.limit(MAX_CHANGED + 1)).scalars())
            creators = set(connection.execute(general.limit(MAX_CHANGED + 1)).scalars())
            own = select(TABLE.c.work).where(TABLE.c.creator.in_(creators), TABLE.c.work != ALL_WORKS).distinct()
            works.update(connection.execute(own.limit(MAX_CHANGED + 1)).scalars())
            if len(works) > MAX_CHANGED:
                return None
            return list(_work_wishes(connection, TABLE.c.since <= day, TABLE.c.work.in_(works)))

    def close(self) -> None:
        """Close all connections of this process. A question opens one again."""
        self.database.close()

    def add(self, rows: Iterable[Row]) -> int:
        """Add rows in one transaction, and return how many. Raises DatabaseFailed, and then adds none."""
        with self.writing() as writer:
            return writer.add(rows)

    @contextmanager
    def writing(self) -> "Iterator[Writer]":
        """Provide a writer. Nobody else adds rows in the meantime. Raises DatabaseFailed, and then adds none."""
        with self.database.writing(TABLE.name) as connection:
            yield Writer(connection)

    def about(self, creator: str, works: Sequence[str]) -> list[Row]:
        """Return all rows of a creator about some works, in order of id."""
        with self.database.reading() as connection:
            return _about(connection, creator, works)

    def works(self, creator: str, after: str = "", limit: int = 100) -> list[str]:
        """Return the names of a creator's works, in order, at most `limit` after the name `after`."""
        query = (
            select(TABLE.c.work)
            .where(TABLE.c.creator == creator, TABLE.c.work != ALL_WORKS, TABLE.c.work > after)
            .group_by(TABLE.c.work)
            .order_by(TABLE.c.work)
            .limit(limit)
        )
        with self.database.reading() as connection:
            return list(connection.execute(query).scalars())

    def all_works(self, creator: str) -> frozenset[str]:
        """Return the names of all works of a creator."""
        query = select(TABLE.c.work).where(TABLE.c.creator == creator, TABLE.c.work != ALL_WORKS).distinct()
        with self.database.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def coming(self, creator: str, day: date) -> list[Row]:
        """Return a creator's choices that do not hold yet on a day and were not withdrawn, the next first."""
        later = select(TABLE.c.work).where(TABLE.c.creator == creator, TABLE.c.since > day).distinct()
        query = select(TABLE).where(TABLE.c.creator == creator, TABLE.c.work.in_(later)).order_by(TABLE.c.id)
        with self.database.reading() as connection:
            latest = {(row.work, row.usage): row for row in _rows(connection, query)}
        return sorted((row for row in latest.values() if row.since > day), key=lambda row: (row.since, row.id))

    def history(self, creator: str, before: int = 0, limit: int = 100) -> list[Row]:
        """Return a creator's choices, the latest first, at most `limit` of those with an id below `before`."""
        query = select(TABLE).where(TABLE.c.creator == creator, TABLE.c.usage != "").order_by(TABLE.c.id.desc())
        query = query.where(TABLE.c.id < before) if before else query
        with self.database.reading() as connection:
            return list(_rows(connection, query.limit(limit)))

    def creators(self) -> list[tuple[str, int]]:
        """Return every creator with the number of its works."""
        works = func.count(func.distinct(func.nullif(TABLE.c.work, ALL_WORKS)))
        query = select(TABLE.c.creator, works).group_by(TABLE.c.creator).order_by(TABLE.c.creator)
        with self.database.reading() as connection:
            return [(creator, number) for creator, number in connection.execute(query)]

    def rows(self, creator: str = "") -> Iterator[Row]:
        """Yield every row of one creator or of all, in order of id."""
        query = select(TABLE).order_by(TABLE.c.id)
        with self.database.reading() as connection:
            yield from _rows(connection, query.where(TABLE.c.creator == creator) if creator else query)


class Writer:
    """Reads and adds rows while nobody else adds any."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def about(self, creator: str, works: Sequence[str]) -> list[Row]:
        """Return what `WishTable.about` returns."""
        return _about(self._connection, creator, works)

    def add(self, rows: Iterable[Row]) -> int:
        """Add rows, and return how many."""
        values = ({**asdict(row), "usage": row.usage or ""} for row in rows)
        added = 0
        while part := list(islice(values, ROWS_AT_ONCE)):
            for value in part:
                del value["id"]
            self._connection.execute(insert(TABLE), part)
            added += len(part)
        return added


def in_force(rows: Iterable[Row], today: date) -> dict[Usage, Row]:
    """Return, for each usage, the row that counts on a day, of the rows about one work in order of id."""
    return {row.usage: row for row in rows if row.usage is not None and row.since <= today}


def _about(connection: Connection, creator: str, works: Sequence[str]) -> list[Row]:
    query = select(TABLE).where(TABLE.c.creator == creator, TABLE.c.work.in_(works))
    return list(_rows(connection, query.order_by(TABLE.c.id)))


def _rows(connection: Connection, query: Any) -> Iterator[Row]:
    """Yield rows, without those about usages in which a creator has no say."""
    with connection.execute(query.execution_options(yield_per=ROWS_AT_ONCE)) as rows:
        for row in rows:
            if row.usage in _USAGES:
                yield Row(
                    row.creator, row.work, _CHOICES[row.choice], _USAGES[row.usage], row.isrc, row.title, row.set_by,
                    row.set_at, row.since, row.id,
                )  # fmt: skip


def _work_wishes(connection: Connection, due: Any, about: Any) -> Iterator[WorkWishes]:
    """Yield the choices in rows that are due and about some works, once for each work and creator.

    A million works are read in less time than their rows would take to become objects of `Row` (2026-11-29).
    """
    everywhere = _everywhere(connection, due)
    nothing: Mapping[Usage, Choice] = {}
    query = select(*_FOR_WISHES).where(due, about).order_by(*_IN_ORDER).execution_options(yield_per=ROWS_AT_ONCE)
    current: tuple[str, str] | None = None
    choices: dict[Usage, Choice] = {}
    title = isrc = ""
    latest = 0
    with connection.execute(query) as rows:
        for number, work, creator, usage, choice, row_isrc, row_title in rows:
            if (work, creator) != current:
                if current is not None:
                    yield WorkWishes(current[0], choices, current[1], title, isrc)
                current = work, creator
                general = everywhere.get(creator, nothing)
                choices = dict(general)
                title = isrc = ""
                latest = 0
            if number > latest:
                latest, title, isrc = number, row_title or title, row_isrc or isrc
            else:
                title, isrc = title or row_title, isrc or row_isrc
            if (named := _USAGES.get(usage)) is not None:
                said = _CHOICES[choice]
                choices[named] = general.get(named, said) if said is Choice.UNSET else said
    if current is not None:
        yield WorkWishes(current[0], choices, current[1], title, isrc)


def _everywhere(connection: Connection, due: Any) -> dict[str, dict[Usage, Choice]]:
    """Return what creators say of all their works: creator -> usage -> choice."""
    choices: dict[str, dict[Usage, Choice]] = {}
    for row in _rows(connection, select(TABLE).where(due, TABLE.c.work == ALL_WORKS).order_by(*_IN_ORDER)):
        if row.usage is not None:
            choices.setdefault(row.creator, {})[row.usage] = row.choice
    return choices
