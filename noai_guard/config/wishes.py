"""Open the source of wishes that a policy names, and read it."""

from collections.abc import Hashable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

from noai_guard.config.wish_catalogue import WishCatalogue
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.wishes import WishesSource, WorkWishes
from noai_guard.core.works import Works
from noai_guard.errors import MissingExtra, Problem, Unanswered, WishesInvalid

DATABASES = ("sqlite:///", "postgresql://")
"""What the address of a database begins with; everything else is the name of a catalogue."""

_last: tuple[Hashable, WishIndex] | None = None


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

    return WishTable.at(source)


def _read_or_last(opened: WishesSource, names: Hashable, day: date) -> WishIndex:
    global _last
    version = opened.version()
    key = names, version, day
    if _last is None or _last[0] != key:
        _last = key, WishIndex(opened.read(day), version)
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
    try:
        with closing(open_wishes(source, works)) as opened:
            return _read_or_last(opened, (source, works), day), ()
    except WishesInvalid as error:
        return WishIndex(known=False), error.problems
    except MissingExtra as error:
        problem = Problem("P057", "a database of wishes needs SQLAlchemy", str(error))
    except ValueError as error:
        problem = Problem("P057", str(error), f"write {', '.join(DATABASES)}... or the name of a file")
    except Unanswered as error:
        hint = "until it answers, the stricter of the policy and on_unknown counts for every work"
        problem = Problem("P057", f"the wishes cannot be read: {error}", hint, warning=True)
    except OSError as error:
        hint = "name a catalogue beside the policy, as CSV"
        problem = Problem("P001", f"cannot be read: {error.strerror or error}", hint, source)
    return WishIndex(known=False), (problem,)
