"""Every metric name and the decision log line.

A request adds to plain integers (0.1 µs, where a metric child costs 0.7 µs and `labels()` 2.7 µs, measured
2026-11-23); they are folded into the metrics when somebody scrapes, each second where several workers share a
folder, and when the worker ends. The integers only ever grow and folding never writes to them, so that a fold in
another thread cannot lose what is being added. Labels come from the catalogue and the policy, never from a
request, so the number of series is bounded.
"""

import atexit
import logging
import os
import threading
import time
from bisect import bisect_left
from collections import Counter as Counted
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from noai_guard.core.client_address import PROBLEMS
from noai_guard.core.model import Mode, Verdict
from noai_guard.core.policy import Policy
from noai_guard.core.questions import Count
from noai_guard.core.text import printable_ascii
from noai_guard.observability.counters import BatchHistogram, Delta, LocalCounts
from noai_guard.observability.decision_log import MOST_SHOWN_PATH, MOST_SHOWN_USER_AGENT

JUDGING_BUCKETS = (1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 1e-2, 0.1, 1.0)

FLUSH_SECONDS = 1.0
"""How long a count may wait before other workers can see it."""

GATEWAY_PROBLEMS = (
    "caller_not_trusted",  # who asks is not in trusted_proxies: nothing it says is believed
    "uri_missing",  # a trusted proxy asks, and does not say about which request
    "uri_malformed",  # what it says is no request target
    "method_malformed",
    "sources_disagree",  # two headers, or two lines of one, name different requests
    "record_malformed",  # FastCGI that is none
)
"""Every value of the label `problem` of noai_gateway_problems_total."""


_log = logging.getLogger("noai_guard")


@dataclass(frozen=True, slots=True)
class Refused:
    """One request that was refused, or would have been in monitor mode; `at` in seconds since 1970.

    `path` and `user_agent` are the client's words, cut and with everything unprintable escaped.
    """

    at: float
    verdict: Verdict
    method: str
    path: str
    user_agent: str


class _FlushFirst(Collector):
    """Registered before the metrics, so that a scrape folds first. Gives no metric of its own."""

    def __init__(self, telemetry: "Telemetry") -> None:
        self._telemetry = telemetry

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        self._telemetry.flush()
        return ()


class Telemetry:
    """The metrics of one registry. `Telemetry.of(registry)` gives the same one each time.

    `policy` is the one in force and `policy_in_force` its labels, once a guard has said so.
    """

    _by_registry: ClassVar["WeakKeyDictionary[CollectorRegistry, Telemetry]"] = WeakKeyDictionary()

    @classmethod
    def of(cls, registry: CollectorRegistry | None = None) -> "Telemetry":
        registry = registry or REGISTRY
        if registry not in cls._by_registry:
            cls._by_registry[registry] = cls(registry)
        return cls._by_registry[registry]

    def __init__(self, registry: CollectorRegistry) -> None:
        registry.register(_FlushFirst(self))
        counter = partial(Counter, registry=registry)
        # "live": what a worker that has ended said last is not in force any more.
        gauge = partial(Gauge, registry=registry, multiprocess_mode="livemostrecent")
        self.requests = counter(
            "noai_requests_total",
            "Requests judged.",
            ("action", "agent", "operator", "usage", "rule", "identity", "mode"),
        )
        self.bytes = counter(
            "noai_response_body_bytes_total",
            "Bytes of response bodies sent to judged requests, by what was decided (refused: the refusal).",
            ("outcome", "agent", "usage"),
        )
        self.robots_ignored = counter(
            "noai_robots_ignored_total",
            "Requests for a path that robots.txt reserves, by agents that had read robots.txt before.",
            ("agent",),
        )
        self.judging = BatchHistogram(
            "noai_judging_seconds",
            "Time from the request's arrival at the guard to its verdict.",
            registry=registry,
            buckets=JUDGING_BUCKETS,
        )
        self.documents = counter("noai_documents_served_total", "Declaration documents served.", ("document",))
        self.injections = counter(
            "noai_html_injections_total", "HTML responses seen, by what became of the metas.", ("outcome",)
        )
        self.backend_failures = counter(
            "noai_backend_failures_total", "Questions that a backend could not answer.", ("question",)
        )
        self.guard_failures = counter(
            "noai_guard_failures_total",
            "Times something of the guard itself failed and the request went on, by place.",
            ("place",),
        )
        self.address_problems = counter(
            "noai_client_address_problems_total",
            "Client addresses that could not be taken from the configured header.",
            ("problem",),
        )
        self.gateway_problems = counter(
            "noai_gateway_problems_total",
            "Times a proxy asked the gateway in a way that could not be taken as it was.",
            ("problem",),
        )
        self.reloads = counter("noai_reloads_total", "Times the policy was read again.", ("result",))
        self.reload_failed = gauge(
            "noai_reload_failed", "1 while the policy file on disk cannot be used and the last good one runs."
        )
        self.policy_info = gauge(
            "noai_policy_info", "1 for the policy and catalogue in force.", ("version", "stance", "mode", "catalogue")
        )
        self.catalogue_agents = gauge("noai_catalogue_agents", "Agents in the catalogue in force.")
        # Known beforehand, so at zero from the start: Prometheus sees no increase in a series born at 1.
        for metric, values in (
            (self.reloads, ("ok", "failed")),
            (self.backend_failures, (Count.__name__,)),
            (self.guard_failures, ("judging", "noting", "robots_txt", "declaring")),
            (self.address_problems, PROBLEMS),
            (self.gateway_problems, GATEWAY_PROBLEMS),
        ):
            for value in values:
                metric.labels(value)
        self.injected: Counted[str] = Counted()
        self.policy: Policy | None = None
        self.counting = threading.Lock()
        self._cells: dict[tuple[object, ...], LocalCounts] = {}
        self._injected_shares: dict[str, Delta] = {}
        self._timings = [0] * (len(JUDGING_BUCKETS) + 1)
        self._seconds = 0.0
        self._timings_flushed = self._timings.copy()
        self._seconds_flushed = 0.0
        self._flushing = threading.Lock()
        self._flusher: threading.Thread | None = None
        self.policy_in_force: tuple[str, ...] = ()
        self._recent: deque[tuple[float, Verdict, str, str, bytes]] = deque(maxlen=0)
        atexit.register(self.flush)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    @property
    def metrics(self) -> tuple[MetricWrapperBase, ...]:
        """Every metric of noai-guard, in the order they are shown."""
        return tuple(value for value in vars(self).values() if isinstance(value, MetricWrapperBase))

    def counts(self, verdict: Verdict, threads: bool = False) -> LocalCounts:
        """Where requests with this verdict are counted; the same for all verdicts with equal labels.

        With `threads` it is another one, for drivers whose requests run in several threads: they add to it, to
        `injected` and by `judged_in` only while they hold `counting` (0.1 µs for each request). One cell for each
        thread would need none, but threads come and go and cells stay.
        """
        agent = verdict.agent
        labels = (
            str(verdict.action),
            agent.name if agent else "none",
            agent.operator if agent else "none",
            str(verdict.usage or "none"),
            verdict.rule,
            str(verdict.identity),
            str(Mode.ENFORCE if verdict.enforced else Mode.MONITOR),
        )
        key = (threads, *labels)
        counts = self._cells.get(key)
        if counts is None:
            outcome = "refused" if verdict.refuses else "served"
            counts = LocalCounts(
                Delta(self.requests, *labels),
                Delta(self.bytes, outcome, labels[1], labels[3]),
                Delta(self.robots_ignored, labels[1]),
            )
            counts = self._cells.setdefault(key, counts)  # another thread may have been first
        return counts

    def failed(self, place: str, error: BaseException) -> None:
        """Something of ours is broken: it is told, and the request goes on."""
        _log.error("noai-guard failed (%s)", place, exc_info=error)
        self.guard_failures.labels(place).inc()

    def judged_in(self, seconds: float) -> None:
        self._timings[bisect_left(JUDGING_BUCKETS, seconds)] += 1
        self._seconds += seconds

    def flush(self) -> None:
        """Brings the metrics up to what was counted. May be called at any time, from any thread."""
        with self._flushing:
            for share, count in self._shares():
                share.flush(count)
            timings, seconds = self._timings.copy(), self._seconds
            if timings != self._timings_flushed:
                new = [now - before for now, before in zip(timings, self._timings_flushed, strict=True)]
                self.judging.add(new, seconds - self._seconds_flushed)
                self._timings_flushed, self._seconds_flushed = timings, seconds

    def _shares(self) -> Iterator[tuple[Delta, int]]:
        for counts in list(self._cells.values()):
            yield from counts.shares()
        for outcome, count in list(self.injected.items()):
            share = self._injected_shares.get(outcome)
            if share is None:
                share = self._injected_shares[outcome] = Delta(self.injections, outcome)
            yield share, count

    def keep_flushing(self) -> None:
        """Where several workers share a folder: folds each second from now on, in a thread, so that the others
        see what this one counted also when no more requests come to it. Else does nothing.

        To be called from a worker that serves, not before it is forked.
        """
        if self._flusher is None and "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            folder = threading.Thread(target=self._flush_forever, name="noai-guard-metrics", daemon=True)
            try:
                folder.start()
            except RuntimeError:  # no more threads to be had
                self.flush()
            else:
                self._flusher = folder

    def _flush_forever(self) -> None:
        told = False
        while True:
            time.sleep(FLUSH_SECONDS)  # not imported by name: gevent replaces it, perhaps after this module was read
            try:
                self.flush()
            except Exception:
                if not told:
                    _log.exception("noai-guard could not write its metrics")
                told = True

    def _forget(self) -> None:
        """After a fork: what the parent counted is the parent's."""
        self._flushing = threading.Lock()
        self.counting = threading.Lock()
        self._flusher = None
        for share, count in self._shares():
            share.flushed = count
        self._timings_flushed, self._seconds_flushed = self._timings.copy(), self._seconds
        self._recent.clear()

    def keep_refusals(self, most: int) -> None:
        """Keeps the last `most` refusals from now on, for a page that shows them. Before, none are kept."""
        if most > (self._recent.maxlen or 0):
            self._recent = deque(self._recent, most)

    def note_refusal(self, verdict: Verdict, method: str, path: str, user_agent: bytes) -> None:
        """Keeps a request that was refused, or would have been in monitor mode, if anybody wants to see it."""
        if self._recent.maxlen:
            cut = method[:16], path[:MOST_SHOWN_PATH], user_agent[:MOST_SHOWN_USER_AGENT]
            self._recent.append((time.time(), verdict, *cut))

    def last_refusals(self) -> list[Refused]:
        """What this worker refused last, the latest first."""
        return [
            Refused(
                at,
                verdict,
                printable_ascii(method, 16),
                printable_ascii(path, MOST_SHOWN_PATH),
                printable_ascii(user_agent.decode("latin-1"), MOST_SHOWN_USER_AGENT),
            )
            for at, verdict, method, path, user_agent in reversed(self._recent.copy())
        ]

    def in_force(
        self, version: str, stance: str, mode: str, catalogue: str, agents: int, policy: Policy | None = None
    ) -> None:
        """Says which policy and catalogue run now."""
        self.policy = policy
        labels = (version, stance, mode, catalogue)
        if self.policy_in_force and self.policy_in_force != labels:
            self.policy_info.labels(*self.policy_in_force).set(0)
        self.policy_in_force = labels
        self.policy_info.labels(*labels).set(1)
        self.catalogue_agents.set(agents)
        self.reload_failed.set(0)
