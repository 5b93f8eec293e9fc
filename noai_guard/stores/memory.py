"""Counts in this process: exact for one worker, per worker for several."""

import threading

from noai_guard.core.questions import Answer, Question


class MemoryBackend:
    """Answers `Count` from a bounded dictionary, in fixed windows aligned to the clock of the questions.

    When `most` keys are counted in one window, everybody's count starts again: an attacker who rotates
    addresses gains nothing that new addresses would not give. May be asked by several threads.
    """

    def __init__(self, most: int = 65_536) -> None:
        self._most = most
        self._counts: dict[tuple[str, int, int], int] = {}
        self._window: dict[int, int] = {}
        self._counting = threading.Lock()

    def answer(self, question: Question) -> Answer:
        with self._counting:
            return self._counted(question)

    def _counted(self, question: Question) -> int:
        window = int(question.at // question.seconds)
        if self._window.get(question.seconds) != window or len(self._counts) >= self._most:
            self._window[question.seconds] = window
            self._counts = {
                key: count
                for key, count in self._counts.items()
                if key[1] != question.seconds and len(self._counts) < self._most
            }
        key = (question.key, question.seconds, window)
        count = self._counts.get(key, 0) + 1
        self._counts[key] = count
        return count
