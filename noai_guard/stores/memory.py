"""Counts in this process: exact for one worker, per worker for several."""

import threading
from typing import Any

from noai_guard.core.questions import Count, Question
from noai_guard.errors import Unanswered


class MemoryStore:
    """Answers `Count` from a bounded dictionary, in fixed windows aligned to the clock of the questions.

    When `max_entries` keys are counted in one window, everybody's count starts again: an attacker who rotates addresses
    gains nothing that new addresses would not give. May be asked by several threads.
    """

    def __init__(self, max_entries: int = 65_536) -> None:
        self._max_entries = max_entries
        self._counts: dict[tuple[str, int, int], int] = {}
        self._window: dict[int, int] = {}
        self._counting = threading.Lock()

    def answer(self, question: Question[Any]) -> int:
        """Return the count; raise Unanswered for other questions."""
        if not isinstance(question, Count):
            raise Unanswered(f"memory does not answer {type(question).__name__}")
        window = int(question.at // question.seconds)
        key = (question.key, question.seconds, window)
        with self._counting:
            full = len(self._counts) >= self._max_entries
            if full or self._window.get(question.seconds) != window:
                self._window[question.seconds] = window
                kept = [] if full else [item for item in self._counts.items() if item[0][1] != question.seconds]
                self._counts = dict(kept)
            self._counts[key] = count = self._counts.get(key, 0) + 1
            return count
