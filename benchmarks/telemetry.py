"""What counting adds to a request."""

from collections.abc import Iterator
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter

from benchmarks.measure import Effort, Row, added, interleaved, ratio
from benchmarks.requests import answered, plain_app, scope
from benchmarks.sites import guarded
from noai_guard import load_catalog, load_stance
from noai_guard.core.guard import Guard
from noai_guard.observability.counters import LocalCounts
from noai_guard.observability.metrics import Telemetry

_TIMED_MASK = 15


def rows(effort: Effort) -> Iterator[Row]:
    times = effort.of(5000)
    telemetry = Telemetry(CollectorRegistry())
    counts = telemetry.counts(Guard(load_stance(), load_catalog()).judged("/", b"GPTBot/1.3"))
    labels = ("deny", "GPTBot", "OpenAI", "train-ai", "usages", "unverified", "enforce")
    names = ("action", "agent", "operator", "usage", "rule", "identity", "mode")
    counter = Counter("requests", "Requests.", names, registry=CollectorRegistry())

    def ours() -> int:
        for _ in range(times):
            _counted(telemetry, counts, perf_counter(), b"body")
        return times

    def labelled() -> int:
        for _ in range(times):
            counter.labels(*labels).inc()
        return times

    def nothing() -> int:
        for _ in range(times):
            _uncounted(telemetry, counts, b"body")
        return times

    request = answered(guarded(plain_app(200, [], [b"body"])), [scope("/")], times // 5 or 1)
    contenders = {"ours": ours, "labelled": labelled, "nothing": nothing, "request": request}
    timings = interleaved(contenders, effort.rounds)
    yield added("metrics of a judged request", timings["ours"], timings["nothing"], "the same calls, nothing counted")
    yield ratio("metrics of a judged request", timings["ours"], timings["labelled"], "one labels().inc()")
    yield ratio("metrics of a judged request", timings["ours"], timings["request"], "a guarded request, bare ASGI app")


def _counted(telemetry: Telemetry, counts: LocalCounts, started: float, body: bytes) -> None:
    """The statements with which the middleware counts a request."""
    if not counts.requests & _TIMED_MASK:
        telemetry.judged_in(perf_counter() - started)
    counts.requests += 1
    counts.bytes += len(body)


def _uncounted(telemetry: Telemetry, counts: LocalCounts, body: bytes) -> None:
    pass
