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
        with self._counting:
            return self._count(question)

    def _count(self, question: Count) -> int:
        window = int(question.at // question.seconds)
        if self._window.get(question.seconds) != window or len(self._counts) >= self._max_entries:
            self._window[question.seconds] = window
            self._counts = {
                key: count
                for key, count in self._counts.items()
                if key[1] != question.seconds and len(self._counts) < self._max_entries
            }
        key = (question.key, question.seconds, window)
        count = self._counts.get(key, 0) + 1
        self._counts[key] = count
        return count
