"""Counts that several processes make together: each counts by itself, and now and then they exchange what they counted.

No I/O: `remote.py` carries what `take` returns to the store, and brings back the totals.
"""

import secrets
import threading
from dataclasses import dataclass
from typing import NamedTuple

from noai_guard.core.questions import Count

MAX_KEYS = 65_536
"""Keys of one window that one process counts: a flood of a million addresses left 11 MB in it (measured 2026-11-29)."""

MIN_PROCESSES = 8
SHARE = 8
"""All processes together count an eighth of what is left of the limit without an exchange, each its part of it, as if
there were at least MIN_PROCESSES."""


class Batch(NamedTuple):
    """What one process has counted: `counts` is its own total of each key in the window with this `number`."""

    seconds: int
    number: int
    worker: str
    counts: list[tuple[str, int]]


@dataclass(slots=True, eq=False)
class _Entry:
    mine: int = 0
    others: int = 0
    taken: int = 0
    merged: bool = False


class _Window:
    """The counts of one window. `unsent` holds the keys whose total the store has not been told."""

    __slots__ = ("entries", "number", "unsent", "worker")

    def __init__(self, number: int) -> None:
        self.number = number
        self.entries: dict[str, _Entry] = {}
        self.unsent: dict[str, _Entry] = {}
        self.worker = secrets.token_hex(8)


class ExchangedCounts:
    """Counts in fixed windows, by the clock of the store once that is known.

    A process tells its own totals and not increments, so that to tell them twice changes nothing: after a failure
    everything of the window is told again, also to a store that has lost its memory. Thread-safe.

    Of one key's requests in a window, at least `limit` are counted as within the limit. At most so many more are: an
    eighth of it, and for each process one and those that come to it during one exchange.
    """

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._windows: dict[int, _Window] = {}
        self._offset: float | None = None
        self._shares = SHARE * MIN_PROCESSES
        self._lock = threading.Lock()

    def count(self, question: Count) -> tuple[int, bool]:
        """Count a request. Return its number in the window as far as known, and True if an exchange is due."""
        with self._lock:
            window = self._window(question)
            entry = window.entries.get(question.key)
            if entry is None:
                if len(window.entries) >= self._max_keys:
                    # A worker of another name begins at zero, so that the totals in the store stay.
                    window = self._windows[question.seconds] = _Window(window.number)
                entry = window.entries[question.key] = _Entry()
            entry.mine += 1
            window.unsent[question.key] = entry
            number = entry.mine + entry.others
            left = question.limit - number
            alone = entry.mine - entry.taken
            # A key that comes a second time may be known to others; one that comes once, as in a flood, need not be.
            due = alone * self._shares >= left if entry.merged else alone > 1
            return number, due and left >= 0

    def _window(self, question: Count) -> _Window:
        number = int((question.at + (self._offset or 0.0)) // question.seconds)
        window = self._windows.get(question.seconds)
        if window is None or window.number != number:
            window = self._windows[question.seconds] = _Window(number)
        return window

    def set_clock(self, offset: float, now: float, processes: int) -> None:
        """Set the seconds to add to `Count.at` for the clock of the store, and how many processes count together.

        `now` is a time as `Count.at`. What was counted before the first exchange belongs to the window that is current
        then.
        """
        with self._lock:
            self._shares = SHARE * max(MIN_PROCESSES, processes)
            first, self._offset = self._offset is None, offset
            if first:
                for seconds, window in self._windows.items():
                    window.number = int((now + offset) // seconds)

    def take(self, max_keys: int) -> list[Batch]:
        """Return what has not been told, of at most `max_keys` keys."""
        batches = []
        with self._lock:
            for seconds, window in self._windows.items():
                counts = []
                while window.unsent and max_keys > 0:
                    key, entry = window.unsent.popitem()
                    entry.taken = entry.mine
                    counts.append((key, entry.mine))
                    max_keys -= 1
                if counts:
                    batches.append(Batch(seconds, window.number, window.worker, counts))
        return batches

    def merge(self, batch: Batch, totals: list[int]) -> None:
        """Take in the totals of all processes, in the order of the batch."""
        with self._lock:
            window = self._windows.get(batch.seconds)
            if window is None or window.number != batch.number or window.worker != batch.worker:
                return
            for (key, mine), total in zip(batch.counts, totals, strict=True):
                entry = window.entries.get(key)
                if entry is not None:
                    # The others' counts never fall within a window; where they seem to, the store has forgotten.
                    entry.others = max(entry.others, total - mine)
                    entry.merged = True

    def tell_again(self) -> None:
        """Tell everything of the current windows again: the store may not have got it, or not have kept it."""
        with self._lock:
            for window in self._windows.values():
                window.unsent = dict(window.entries)
                for entry in window.entries.values():
                    entry.taken = 0
