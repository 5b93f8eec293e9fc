"""How often somebody may ask. Each process counts for itself."""

from collections import OrderedDict
from threading import Lock

MAX_CALLERS = 10_000


class RateLimit:
    """At most `requests` in `seconds` for each caller. Of very many callers, those longest away are forgotten.

    The window of a caller begins with its first request. May be used by several threads.
    """

    def __init__(self, requests: int, seconds: int) -> None:
        self.seconds = seconds
        self._requests = requests
        self._windows: OrderedDict[object, tuple[float, int]] = OrderedDict()
        self._lock = Lock()

    def allows(self, caller: object, now: float) -> bool:
        """Count a request at a time in seconds, and return False if it is one too many."""
        with self._lock:
            begin, count = self._windows.pop(caller, (now, 0))
            if not begin <= now < begin + self.seconds:
                begin, count = now, 0
            self._windows[caller] = begin, count + 1
            if len(self._windows) > MAX_CALLERS:
                self._windows.popitem(last=False)
            return count < self._requests
