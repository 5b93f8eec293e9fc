"""Who came for a creator's works this month, and what was refused in the creator's name, counted from event files."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from noai_guard.config.regular_file import file_identity
from noai_guard.core.model import Identity
from noai_guard.core.policy import WISH
from noai_guard.core.wish_index import folded
from noai_guard.record.event_files import event_files, read_events
from noai_guard.record.event_record import EventRecord

MAX_GROUPS = 200_000
"""Groups of events that are told apart; what comes for more is left out, and the page says that there is more."""

REFRESH_SECONDS = 300


class Visitor(NamedTuple):
    """One who came: the name that the client claimed, who runs it, and for what it fetches; empty where not known."""

    name: str
    operator: str
    usage: str


@dataclass(slots=True)
class Figures:
    """Requests of one visitor: `refused` were refused, `proven` came from a client that proved its name. `wished` of
    the refused ones were because of what a creator wishes."""

    requests: int = 0
    refused: int = 0
    proven: int = 0
    wished: int = 0


@dataclass(frozen=True, slots=True)
class Month:
    """The visits of a month to some works up to the moment `until`, by visitor. Not `complete`: there were more."""

    since: datetime
    until: datetime
    visitors: dict[Visitor, Figures]
    complete: bool = True

    @property
    def total(self) -> Figures:
        """The figures of all visitors together."""
        figures = self.visitors.values()
        return Figures(*(sum(getattr(each, name) for each in figures) for name in Figures.__slots__))


class Visits(Protocol):
    """Tells who came for works. A site may bring one of its own."""

    def month(self, works: Iterable[str], now: datetime) -> Month | None:
        """Return the visits of this month (UTC) to some works; None if they are not known yet. Called in any thread."""


class EventVisits:
    """Counts event files in the background, at most every `REFRESH_SECONDS`, and each file again only if it changed."""

    def __init__(self, folder: str | Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = Path(folder)
        self._clock = clock
        self._files: dict[Path, tuple[object, _Counts]] = {}
        # The month, up to when it was counted, and what was counted: replaced in one assignment.
        self._counted: tuple[datetime, datetime, list[_Counts]] | None = None
        self._counted_at = float("-inf")
        self._counting = threading.Lock()

    def month(self, works: Iterable[str], now: datetime) -> Month | None:
        """Return the visits of this month, as last counted; None until they have been."""
        begin = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        known = self._counted
        if known is None or known[0] != begin or self._clock() - self._counted_at >= REFRESH_SECONDS:
            threading.Thread(target=self.count, args=(begin, now), name="noai-guard-visits", daemon=True).start()
        known = self._counted
        if known is None or known[0] != begin:
            return None
        _, until, counts = known
        own = set(map(folded, works))
        visitors: dict[Visitor, Figures] = {}
        for each in counts:
            for (work, visitor), figures in each.groups.items():
                if work in own:
                    sums = visitors.setdefault(visitor, Figures())
                    sums.requests += figures.requests
                    sums.refused += figures.refused
                    sums.proven += figures.proven
                    sums.wished += figures.wished
        ordered = sorted(visitors.items(), key=lambda pair: (-pair[1].refused, -pair[1].requests, pair[0]))
        return Month(begin, until, dict(ordered), all(each.complete for each in counts))

    def count(self, begin: datetime, now: datetime) -> None:
        """Count the month that begins at `begin` up to now, unless somebody else is counting."""
        if not self._counting.acquire(blocking=False):
            return
        try:
            known = self._files if self._counted is not None and self._counted[0] == begin else {}
            files: dict[Path, tuple[object, _Counts]] = {}
            for path in event_files([self._folder]) if self._folder.is_dir() else ():
                identity = file_identity(path)
                before = known.get(path)
                if before is None or before[0] != identity:
                    before = identity, _counted(path, begin)
                files[path] = before
            self._files = files
            self._counted = begin, now, [counts for _, counts in files.values()]
            self._counted_at = self._clock()
        finally:
            self._counting.release()


class _Counts:
    """Figures of one file, by work and visitor."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, Visitor], Figures] = {}
        self.complete = True

    def add(self, record: EventRecord) -> None:
        key = folded(record.work), Visitor(record.claim, record.operator, record.usage or "")
        figures = self.groups.get(key)
        if figures is None:
            if len(self.groups) >= MAX_GROUPS:
                self.complete = False
                return
            figures = self.groups[key] = Figures()
        figures.requests += 1
        figures.refused += record.refused
        figures.proven += record.identity is Identity.VERIFIED
        figures.wished += record.refused and record.rule == WISH


def _counted(path: Path, begin: datetime) -> _Counts:
    counts = _Counts()
    # A file that was last written before the month holds nothing of it, and most files are such.
    if path.is_file() and path.stat().st_mtime >= begin.timestamp():
        for line in read_events([path]):
            if line.record.work and line.record.time >= begin:
                counts.add(line.record)
    return counts
