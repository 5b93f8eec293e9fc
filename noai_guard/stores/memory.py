"""The store in this process: exact for one worker, per worker for several."""

import threading
from itertools import islice
from typing import Any

from noai_guard.core.questions import MAX_VALUE_CHARS, Count, FirstUse, Keep, Lookup, Question
from noai_guard.errors import Unanswered


class MemoryStore:
    """Answers every question of `core.questions` from dictionaries of at most `max_entries`. May be asked by several
    threads.

    Counts are in fixed windows aligned to the clock of the questions. When `max_entries` keys are counted in one
    window, everybody's count starts again: an attacker who rotates addresses gains nothing that new addresses would not
    give.
    Of values the oldest goes first. A full memory of used keys answers no `FirstUse`, since to forget one would be to
    let it be used twice.
    """

    def __init__(self, max_entries: int = 65_536) -> None:
        self._max_entries = max_entries
        self._counts: dict[tuple[str, int, int], int] = {}
        self._window: dict[int, int] = {}
        self._used: dict[str, float] = {}
        self._next_sweep = float("-inf")
        self._values: dict[str, tuple[float, str]] = {}
        self._answering = threading.Lock()

    def answer(self, question: Question[Any]) -> Any:
        """Return the answer; raise Unanswered for other questions, or if there is no room to remember."""
        with self._answering:
            match question:
                case Count():
                    return self._count(question)
                case FirstUse():
                    return self._first_use(question)
                case Lookup():
                    expires, value = self._values.get(question.key, (question.at, ""))
                    return value if expires > question.at else ""
                case Keep():
                    return self._keep(question)
        raise Unanswered(f"memory does not answer {type(question).__name__}")

    def _count(self, question: Count) -> int:
        window = int(question.at // question.seconds)
        key = (question.key, question.seconds, window)
        full = len(self._counts) >= self._max_entries
        if full or self._window.get(question.seconds) != window:
            self._window[question.seconds] = window
            kept = [] if full else [item for item in self._counts.items() if item[0][1] != question.seconds]
            self._counts = dict(kept)
        self._counts[key] = count = self._counts.get(key, 0) + 1
        return count

    def _first_use(self, question: FirstUse) -> bool:
        used, now = self._used, question.at
        if used.get(question.key, now) > now:
            return False
        used.pop(question.key, None)
        if len(used) >= self._max_entries and now >= self._next_sweep:
            used = self._used = {key: expires for key, expires in used.items() if expires > now}
            self._next_sweep = min(used.values(), default=now)  # nothing expires sooner: a flood costs one sweep
        if len(used) >= self._max_entries:
            raise Unanswered(f"memory is full: {self._max_entries:,} keys were used lately")
        used[question.key] = now + question.seconds
        return True

    def _keep(self, question: Keep) -> bool:
        if len(question.value) > MAX_VALUE_CHARS:
            raise Unanswered(f"a value of more than {MAX_VALUE_CHARS} characters is not kept")
        expires, value = self._values.pop(question.key, (question.at, ""))
        current = value if expires > question.at else ""
        kept = question.expected is None or question.expected == current
        if kept:
            self._values[question.key] = question.at + question.seconds, question.value
        elif current:
            self._values[question.key] = expires, value
        if len(self._values) > self._max_entries:
            for oldest in list(islice(self._values, 1)):
                del self._values[oldest]
        return kept
