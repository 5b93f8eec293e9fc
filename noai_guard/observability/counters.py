"""Counts of one guard, and how they reach the Prometheus metrics."""

from collections.abc import Iterable

from noai_guard.observability.prometheus_adapter import Counter


class Delta:
    """Tracks how much of a local count is already in its Prometheus child, which is created by the first of them."""

    __slots__ = ("_child", "_labels", "_metric", "flushed")

    def __init__(self, metric: Counter, *labels: str) -> None:
        self._metric = metric
        self._labels = labels
        self._child: Counter | None = None
        self.flushed = 0

    def flush(self, count: int) -> None:
        """Add what `count` has grown by since the last flush."""
        if count != self.flushed:
            if self._child is None:
                self._child = self._metric.labels(*self._labels)
            self._child.inc(count - self.flushed)
            self.flushed = count


class LocalCounts:
    """Counts of the requests with one kind of verdict since the start of the process.

    Only one thread may add to them, or, where they were made for several, whoever holds `Telemetry.counting`.
    """

    __slots__ = ("_deltas", "bytes", "requests", "robots_ignored")

    def __init__(self, requests: Delta, bytes: Delta, robots_ignored: Delta) -> None:
        self.requests = 0
        self.bytes = 0
        self.robots_ignored = 0
        self._deltas = requests, bytes, robots_ignored

    def deltas(self) -> Iterable[tuple[Delta, int]]:
        """Yield each delta with the count that it tracks."""
        return zip(self._deltas, (self.requests, self.bytes, self.robots_ignored), strict=True)
