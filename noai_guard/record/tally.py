"""Counts of events: groups of events that agree in all facts, and the different works of each, exactly.

Memory is bounded: groups and what is counted lately are kept in memory, pairs of group and work in a temporary SQLite
database, which is in memory until it outgrows its cache.
"""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from noai_guard.errors import NoAIGuardError
from noai_guard.record.event_files import EventLine
from noai_guard.record.event_sources import place_of
from noai_guard.record.selection import FACTS, day_of, got_content

MAX_GROUPS = 20_000
"""Groups that are told apart. Events of later ones are counted together, in groups named `OTHERS` in every fact but
month, identity and outcome, so that totals stay exact."""

OTHERS = "(others)"

_KEPT = ("month", "identity", "outcome")

_CACHE_KIB = 64 * 1024
_MAX_PENDING = 100_000
_TABLES = """
CREATE TABLE groups (id INTEGER PRIMARY KEY, month, operator, claim, usage, identity, proof, declared, outcome,
                     events INTEGER, bytes INTEGER);
CREATE TABLE declarations (id INTEGER, declaration);
CREATE TABLE works (group_id INTEGER, work TEXT, got INTEGER, events INTEGER, bytes INTEGER,
                    PRIMARY KEY (group_id, work, got)) WITHOUT ROWID;
"""
_ADD_WORK = """
INSERT INTO works VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET events = events + excluded.events, bytes = bytes + excluded.bytes
"""
# In the order of the fields of Figures. total() adds as floating point: exact to 9 PB, and no hostile sum overflows.
_EVENTS = """
total({0}.events), total({0}.events) FILTER (WHERE outcome = 'refused'),
total({0}.events) FILTER (WHERE outcome = 'not-enforced'), total({0}.events) FILTER (WHERE outcome = 'served'),
total({0}.events) FILTER (WHERE outcome = 'failed'),
total({0}.events) FILTER (WHERE outcome = 'declaration'),
total({0}.bytes) FILTER (WHERE outcome IN ('served', 'not-enforced')),
total({0}.bytes) FILTER (WHERE outcome = 'refused'), total({0}.events) FILTER (WHERE identity = 'spoofed')
"""
_WORKS = "count(DISTINCT work), count(DISTINCT CASE WHEN got THEN work END)"
_MOST_TAKEN = "GROUP BY work ORDER BY 8 DESC, 2 DESC, work LIMIT ?"
_MAX_BYTES = 2**40
"""Bytes of the largest body that is believed."""
_MAX_SUM = 2**62
_MAX_DAYS = 5000


class CannotCount(NoAIGuardError):
    """There is no room for what is counted."""


@dataclass(slots=True)
class Group:
    """The events that agree in all of `facts`. `sha256` is of their lines, each with a line feed, as they were read."""

    facts: Mapping[str, str]
    events: int = 0
    bytes: int = 0
    first: str = ""
    last: str = ""
    works_tried: int = 0
    works_got: int = 0
    hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> str:
        return self.hash.hexdigest()


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of some events: requests by their outcome (`outcome_of`), bytes of response bodies, and different works.

    `bytes_got` are of content, `bytes_refused` of refusals. `spoofed` are requests under a name that was proven false:
    they are not of the operator of that name. A work that was asked for in ranges, segments or several
    times is one of `works_tried`; it is one of `works_got` too if a request for it was answered with content.
    """

    events: int = 0
    refused: int = 0
    not_enforced: int = 0
    served: int = 0
    failed: int = 0
    declarations: int = 0
    bytes_got: int = 0
    bytes_refused: int = 0
    spoofed: int = 0
    works_tried: int = 0
    works_got: int = 0

    @property
    def answered(self) -> int:
        """The requests that were answered with content."""
        return self.served + self.not_enforced


class Tally:
    """Counts events. First `add` each one, then `finish`, then ask. A context manager: its database goes with it.

    `days` are the requests of each day by outcome, of the first days that were met.
    """

    def __init__(self, max_groups: int = MAX_GROUPS, max_pending: int = _MAX_PENDING) -> None:
        self._groups: dict[tuple[str, ...], tuple[int, Group]] = {}
        self.days: dict[str, Counter[str]] = {}
        self._pending: dict[tuple[int, str, bool], list[int]] = {}
        self._max_groups = max_groups
        self._max_pending = max_pending
        # "" is a database of its own on disk, which SQLite writes only as far as it does not fit into the cache.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_TABLES}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._database.close()
        if isinstance(error, sqlite3.Error):
            hint = "free some, or set SQLITE_TMPDIR to a folder with room"
            raise CannotCount(f"counting needs room for a temporary file: {error}; {hint}") from error

    @property
    def groups(self) -> Sequence[Group]:
        """All groups, by their facts."""
        return [group for _, (_, group) in sorted(self._groups.items())]

    def add(self, line: EventLine) -> None:
        """Count one event."""
        record = line.record
        key = tuple(_storable(fact(record)) for fact in FACTS.values())
        numbered = self._groups.get(key)
        if numbered is None:
            if len(self._groups) >= self._max_groups:
                key = tuple(value if name in _KEPT else OTHERS for name, value in zip(FACTS, key, strict=True))
                numbered = self._groups.get(key)
            if numbered is None:
                group = Group(dict(zip(FACTS, key, strict=True)), first=place_of(line))
                numbered = self._groups[key] = len(self._groups), group
        number, group = numbered
        outcomes = self.days.get(day := day_of(record.time))
        if outcomes is None and len(self.days) < _MAX_DAYS:
            outcomes = self.days[day] = Counter()
        if outcomes is not None:
            outcomes[group.facts["outcome"]] += 1
        size = min(record.bytes or 0, _MAX_BYTES)
        group.events += 1
        group.bytes += size
        group.last = place_of(line)
        group.hash.update(line.line + b"\n")
        if record.work:
            counts = self._pending.setdefault((number, _storable(record.work), got_content(record)), [0, 0])
            counts[0] += 1
            counts[1] += size
            if len(self._pending) >= self._max_pending:
                self._flush()

    def finish(self) -> None:
        """Put what was counted where it can be asked for."""
        self._flush()
        numbered = list(self._groups.values())
        self._database.executemany(
            f"INSERT INTO groups VALUES ({', '.join('?' * (len(FACTS) + 3))})",
            [(number, *each.facts.values(), each.events, min(each.bytes, _MAX_SUM)) for number, each in numbered],
        )
        self._database.executemany(
            "INSERT INTO declarations VALUES (?, ?)",
            [(number, name) for number, each in numbered for name in dict.fromkeys(each.facts["declared"].split("+"))],
        )
        for number, tried, got in self._rows(f"SELECT group_id, {_WORKS} FROM works GROUP BY group_id"):
            group = numbered[number][1]
            group.works_tried, group.works_got = tried, got

    def totals(self) -> Figures:
        """Return the figures of all events."""
        return self.by().get((), Figures())

    def by(self, *facts: str) -> Mapping[tuple[str, ...], Figures]:
        """Return the figures of the events that agree in these facts, by their values. The fact `declaration` is a
        single name of `declared`, empty where there is none."""
        key = "".join(f"{fact}, " for fact in facts)
        grouped = f"GROUP BY {key[:-2]} ORDER BY {key[:-2]}" if facts else "HAVING count(*)"
        groups = "groups JOIN declarations USING (id)" if "declaration" in facts else "groups"
        size = len(facts)
        works = {
            row[:size]: row[size:]
            for row in self._rows(f"SELECT {key}{_WORKS} FROM {groups} JOIN works ON id = group_id {grouped}")
        }
        return {
            row[:size]: Figures(*map(int, row[size:]), *works.get(row[:size], (0, 0)))
            for row in self._rows(f"SELECT {key}{_EVENTS.format('groups')} FROM {groups} {grouped}")
        }

    def works(self, max_works: int) -> Mapping[str, Figures]:
        """Return the figures of at most so many works: first those of which most bytes were got, then those that were
        asked for most often."""
        columns = f"work, {_EVENTS.format('works')}, max(got)"
        rows = self._rows(f"SELECT {columns} FROM groups JOIN works ON id = group_id {_MOST_TAKEN}", [max_works])
        return {work: Figures(*map(int, (*counts, 1, got))) for work, *counts, got in rows}

    def operators_of(self, work: str) -> Sequence[str]:
        """Return who asked for a work, with a name that was not proven false, in order of name."""
        query = (
            "SELECT DISTINCT operator FROM groups JOIN works ON id = group_id "
            "WHERE work = ? AND operator != '' AND identity != 'spoofed' ORDER BY operator"
        )
        return [operator for (operator,) in self._rows(query, [work])]

    def _rows(self, query: str, parameters: Sequence[object] = ()) -> list[Any]:
        return self._database.execute(query, parameters).fetchall()

    def _flush(self) -> None:
        rows = [(*key, *counts) for key, counts in self._pending.items()]
        self._database.execute("BEGIN")
        self._database.executemany(_ADD_WORK, rows)
        self._database.execute("COMMIT")
        self._pending.clear()


def _storable(text: str) -> str:
    """Return the text without lone surrogates, which no database keeps."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
