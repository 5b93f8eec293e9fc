"""Counts of one process, and how they get into Prometheus metrics."""

from collections.abc import Iterable

from prometheus_client import Counter, Histogram


class Delta:
    """How much of a growing count is already in its metric, whose series begins with the first of them."""

    __slots__ = ("_child", "_labels", "_metric", "flushed")

    def __init__(self, metric: Counter, *labels: str) -> None:
        self._metric = metric
        self._labels = labels
        self._child: Counter | None = None
        self.flushed = 0

    def flush(self, count: int) -> None:
        if count != self.flushed:
            if self._child is None:
                self._child = self._metric.labels(*self._labels)
            self._child.inc(count - self.flushed)
            self.flushed = count


class LocalCounts:
    """What was counted for one kind of verdict since the start. To be added to by one thread only, or, where it was
    made for several, by who holds `Telemetry.counting`."""

    __slots__ = ("_shares", "bytes", "requests", "robots_ignored")

    def __init__(self, requests: Delta, bytes: Delta, robots_ignored: Delta) -> None:
        self.requests = 0
        self.bytes = 0
        self.robots_ignored = 0
        self._shares = requests, bytes, robots_ignored

    def shares(self) -> Iterable[tuple[Delta, int]]:
        return zip(self._shares, (self.requests, self.bytes, self.robots_ignored), strict=True)


class BatchHistogram(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: list[int], total: float) -> None:
        """`counts` per bucket, the last above all bounds; `total` in seconds."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            bucket.inc(count)
