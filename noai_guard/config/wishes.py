"""Open the source of wishes that a policy names, and read it."""

import os
from collections.abc import Hashable, Iterator
from contextlib import closing, nullcontext
from datetime import date
from pathlib import Path
from threading import Lock

from noai_guard.config.wish_catalogue import WishCatalogue
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.wishes import WishesSource, WorkWishes
from noai_guard.core.works import Works
from noai_guard.errors import MissingExtra, Problem, Unanswered, WishesInvalid

DATABASES = ("sqlite:///", "postgresql://")
"""What the address of a database begins with; everything else is the name of a catalogue."""

_MAX_CHANGED = 20_000
"""Works that may have changed before all are read again."""

_last: "tuple[Hashable, KeptWishes] | None" = None


def is_database(source: str) -> bool:
    """Return True if wishes are kept in a database, False for a catalogue in a file."""
    return source.startswith(DATABASES)


def kind_of(source: str) -> str:
    """Return which of WISH_SOURCES a source is."""
    return source.partition(":")[0] if is_database(source) else "catalogue"


def located(source: str, folder: Path) -> str:
    """Return a source as a process finds it that runs elsewhere: files are beside the policy, in `folder`."""
    scheme, slashes, file = source.partition(":///")
    if scheme == "sqlite":
        return f"{scheme}{slashes}{folder / file}"
    return source if is_database(source) else str(folder / source)


def open_wishes(source: str, works: Works) -> WishesSource:
    """Return a source of wishes; connects nothing yet. Raises ValueError for a bad address, and MissingExtra."""
    if not is_database(source):
        return WishCatalogue(source, works)
    from noai_guard.stores.wish_table import WishTable

    return WishTable.at(source, only_read=True)


class KeptWishes:
    """The wishes of a source as they were read last; when they are asked for, what has changed is read again.

    `last` are those that were read last, None if none were. May be used by several threads, and after a fork by several
    processes.
    """

    def __init__(self, source: str, works: Works) -> None:
        """Raises what `open_wishes` raises."""
        self._source = open_wishes(source, works)
        self.last: WishIndex | None = None
        self._day = date.min
        self._invalid: tuple[Hashable, WishesInvalid] | None = None
        self._lock = os.getpid(), Lock()

    def index(self, day: date, *, stays_open: bool = True) -> WishIndex:
        """Return the wishes in force on a day: the same object as before if nothing has changed.

        Raises what the source raises; the next call tries again. Unless it `stays_open`, the source is closed.
        """
        if self._lock[0] != os.getpid():  # another thread may have held it when this process was forked
            self._lock = os.getpid(), Lock()
        with self._lock[1], nullcontext() if stays_open else closing(self._source):
            return self._read(day)

    def _read(self, day: date) -> WishIndex:
        version, before = self._source.version(), self.last
        if before is not None and before.version == version and self._day == day:
            return before
        if self._invalid is not None and self._invalid[0] == (version, day):
            raise self._invalid[1]
        try:
            index = self._changed(version, day)
            if index is None:
                index = WishIndex(self._source.read(day), version)
        except WishesInvalid as error:  # a file with a mistake has it until it changes
            self._invalid = (version, day), error.with_traceback(None)
            raise
        self.last, self._day, self._invalid = index, day, None
        return index

    def _changed(self, version: Hashable, day: date) -> WishIndex | None:
        before = self.last
        if before is None or self._day != day or before.changed >= _MAX_CHANGED:
            return None
        changes = self._source.changes(before.version, day)
        return None if changes is None else before.with_changes(changes, version)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is odd about the source, though it can be read."""
        return self._source.warnings if isinstance(self._source, WishCatalogue) else ()

    def close(self) -> None:
        """Close what the source has open in this process; it is opened again when it is asked."""
        self._source.close()


def kept_wishes(source: str, works: Works) -> KeptWishes:
    """Return the wishes of a source. The last one that was named is kept. Raises what `open_wishes` raises."""
    global _last
    key = Path.cwd(), source, works  # a source may be a file beside a policy that was named from here
    if _last is None or _last[0] != key:
        _last = key, KeptWishes(source, works)
    return _last[1]


def all_wishes(source: str, works: Works, day: date) -> Iterator[WorkWishes]:
    """Yield the wishes in force on a day, with the names of all works. Raises what `WishesSource.read` does."""
    with closing(open_wishes(source, works)) as opened:
        yield from opened.read(day)


def read_wishes(source: str, works: Works, day: date) -> tuple[WishIndex, tuple[Problem, ...]]:
    """Return the wishes in force on a day, and what is wrong with their source.

    A database that cannot be asked is a warning: until it can, nobody knows what is wished. What was read last is kept
    for the next time, as long as it does not change.
    """
    kept: KeptWishes | None = None
    try:
        kept = kept_wishes(source, works)
        return kept.index(day, stays_open=False), kept.warnings
    except WishesInvalid as error:
        return WishIndex(known=False), error.problems
    except MissingExtra as error:
        problem = Problem("P057", "a database of wishes needs SQLAlchemy", str(error))
    except ValueError as error:
        problem = Problem("P057", str(error), f"write {', '.join(DATABASES)}... or the name of a file")
    except Unanswered as error:
        last = None if kept is None else kept.last
        counts = (
            "the stricter of the policy and on_unknown counts for every work" if last is None else "the last ones hold"
        )
        problem = Problem("P057", f"the wishes cannot be read: {error}", f"until it answers, {counts}", warning=True)
        return WishIndex(known=False) if last is None else last, (problem,)
    except OSError as error:
        hint = "name a catalogue beside the policy, as CSV"
        problem = Problem("P001", f"cannot be read: {error.strerror or error}", hint, source)
    return WishIndex(known=False), (problem,)
