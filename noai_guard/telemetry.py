"""Every metric name and the decision log line.

A request adds to plain integers (0.1 µs, where a metric child costs 0.7 µs and `labels()` 2.7 µs, measured
2026-11-23); they are folded into the metrics when somebody scrapes, each second where several workers share a
folder, and when the worker ends. The integers only ever grow and folding never writes to them, so that a fold in
another thread cannot lose what is being added. Labels come from the catalogue and the policy, never from a
request, so the number of series is bounded.
"""

import atexit
import json
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

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from noai_guard.client_address import PROBLEMS, ClientAddress
from noai_guard.evidence import second_look
from noai_guard.model import UNKNOWN_BOT, Mode, Verdict
from noai_guard.policy import Policy
from noai_guard.ports import Count

JUDGING_BUCKETS = (1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 1e-2, 0.1, 1.0)

FOLD_SECONDS = 1.0
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

MOST_SHOWN_PATH = 1024
MOST_SHOWN_USER_AGENT = 512

_log = logging.getLogger("noai_guard")

decisions = logging.getLogger("noai_guard.decisions")
"""One INFO record for each request that was not plainly let in; `record.noai` holds the facts."""


class _Share:
    """How much of a growing count is already in its metric, whose series begins with the first of them."""

    __slots__ = ("_child", "_labels", "_metric", "folded")

    def __init__(self, metric: Counter, *labels: str) -> None:
        self._metric = metric
        self._labels = labels
        self._child: Counter | None = None
        self.folded = 0

    def fold(self, count: int) -> None:
        if count != self.folded:
            if self._child is None:
                self._child = self._metric.labels(*self._labels)
            self._child.inc(count - self.folded)
            self.folded = count


class Cell:
    """What was counted for one kind of verdict since the start. To be added to by one thread only, or, where it was
    made for several, by who holds `Telemetry.counting`."""

    __slots__ = ("_shares", "bytes", "requests", "robots_ignored")

    def __init__(self, requests: _Share, bytes: _Share, robots_ignored: _Share) -> None:
        self.requests = 0
        self.bytes = 0
        self.robots_ignored = 0
        self._shares = requests, bytes, robots_ignored

    def shares(self) -> Iterable[tuple[_Share, int]]:
        return zip(self._shares, (self.requests, self.bytes, self.robots_ignored), strict=True)


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


class _Timings(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: list[int], total: float) -> None:
        """`counts` per bucket, the last above all bounds; `total` in seconds."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            bucket.inc(count)


class _FoldFirst(Collector):
    """Registered before the metrics, so that a scrape folds first. Gives no metric of its own."""

    def __init__(self, telemetry: "Telemetry") -> None:
        self._telemetry = telemetry

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        self._telemetry.fold()
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
        registry.register(_FoldFirst(self))
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
        self.judging = _Timings(
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
        self._cells: dict[tuple[object, ...], Cell] = {}
        self._injected_shares: dict[str, _Share] = {}
        self._timings = [0] * (len(JUDGING_BUCKETS) + 1)
        self._seconds = 0.0
        self._timings_folded = self._timings.copy()
        self._seconds_folded = 0.0
        self._folding = threading.Lock()
        self._folder: threading.Thread | None = None
        self.policy_in_force: tuple[str, ...] = ()
        self._recent: deque[tuple[float, Verdict, str, str, bytes]] = deque(maxlen=0)
        atexit.register(self.fold)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    @property
    def metrics(self) -> tuple[MetricWrapperBase, ...]:
        """Every metric of noai-guard, in the order they are shown."""
        return tuple(value for value in vars(self).values() if isinstance(value, MetricWrapperBase))

    def cell(self, verdict: Verdict, threads: bool = False) -> Cell:
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
        cell = self._cells.get(key)
        if cell is None:
            outcome = "refused" if verdict.refuses else "served"
            cell = Cell(
                _Share(self.requests, *labels),
                _Share(self.bytes, outcome, labels[1], labels[3]),
                _Share(self.robots_ignored, labels[1]),
            )
            cell = self._cells.setdefault(key, cell)  # another thread may have been first
        return cell

    def failed(self, place: str, error: BaseException) -> None:
        """Something of ours is broken: it is told, and the request goes on."""
        _log.error("noai-guard failed (%s)", place, exc_info=error)
        self.guard_failures.labels(place).inc()

    def judged_in(self, seconds: float) -> None:
        self._timings[bisect_left(JUDGING_BUCKETS, seconds)] += 1
        self._seconds += seconds

    def fold(self) -> None:
        """Brings the metrics up to what was counted. May be called at any time, from any thread."""
        with self._folding:
            for share, count in self._shares():
                share.fold(count)
            timings, seconds = self._timings.copy(), self._seconds
            if timings != self._timings_folded:
                new = [now - before for now, before in zip(timings, self._timings_folded, strict=True)]
                self.judging.add(new, seconds - self._seconds_folded)
                self._timings_folded, self._seconds_folded = timings, seconds

    def _shares(self) -> Iterator[tuple[_Share, int]]:
        for cell in list(self._cells.values()):
            yield from cell.shares()
        for outcome, count in list(self.injected.items()):
            share = self._injected_shares.get(outcome)
            if share is None:
                share = self._injected_shares[outcome] = _Share(self.injections, outcome)
            yield share, count

    def keep_folding(self) -> None:
        """Where several workers share a folder: folds each second from now on, in a thread, so that the others
        see what this one counted also when no more requests come to it. Else does nothing.

        To be called from a worker that serves, not before it is forked.
        """
        if self._folder is None and "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            folder = threading.Thread(target=self._fold_for_ever, name="noai-guard-metrics", daemon=True)
            try:
                folder.start()
            except RuntimeError:  # no more threads to be had
                self.fold()
            else:
                self._folder = folder

    def _fold_for_ever(self) -> None:
        told = False
        while True:
            time.sleep(FOLD_SECONDS)  # not imported by name: gevent replaces it, perhaps after this module was read
            try:
                self.fold()
            except Exception:
                if not told:
                    _log.exception("noai-guard could not write its metrics")
                told = True

    def _forget(self) -> None:
        """After a fork: what the parent counted is the parent's."""
        self._folding = threading.Lock()
        self.counting = threading.Lock()
        self._folder = None
        for share, count in self._shares():
            share.folded = count
        self._timings_folded, self._seconds_folded = self._timings.copy(), self._seconds
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
                shown(method, 16),
                shown(path, MOST_SHOWN_PATH),
                shown(user_agent.decode("latin-1"), MOST_SHOWN_USER_AGENT),
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


class _DescriptionBudget:
    """Lets a few unknown user agents be described each second: one costs a millisecond, a log line 30 µs."""

    __slots__ = ("_left", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._left = 0

    def description(self, user_agent: bytes) -> str | None:
        second = int(time.time())
        if second != self._second:
            self._second, self._left = second, 10
        if self._left <= 0:
            return None
        self._left -= 1
        seen = second_look.describe(user_agent)
        return None if seen is None else str(seen)


_budget = _DescriptionBudget()


def log_decision(
    verdict: Verdict, method: str, path: str, user_agent: bytes, client: ClientAddress, host: str = ""
) -> None:
    """Writes the decision log line of one request. Values from the request are cut and escaped."""
    if not decisions.isEnabledFor(logging.INFO):
        return
    agent = verdict.agent
    facts: dict[str, object] = {
        "action": str(verdict.action),
        "enforced": verdict.enforced,
        "agent": agent.name if agent else None,
        "operator": agent.operator if agent else None,
        "usage": str(verdict.usage) if verdict.usage else None,
        "identity": str(verdict.identity),
        "rule": verdict.rule,
        "reasons": list(verdict.reasons),
        "method": shown(method, 16),
        "host": shown(host, 255),
        "path": shown(path, MOST_SHOWN_PATH),
        "client": client.address,
        "client_from": client.source,
        "user_agent": shown(user_agent.decode("latin-1"), MOST_SHOWN_USER_AGENT),
    }
    if agent is None or agent is UNKNOWN_BOT:
        facts["looks_like"] = _budget.description(user_agent)
    name = f"{agent.name} ({agent.operator})" if agent else "a client"
    would = "" if verdict.enforced else " (monitor only)"
    decisions.info(
        "%s%s: %s %s %s, rule %s", facts["action"], would, name, facts["method"], facts["path"], verdict.rule,
        extra={"noai": facts},
    )  # fmt: skip


def shown(text: str, most: int) -> str:
    """Text from a request, cut, with everything that is not printable escaped: one line stays one line."""
    cut = text[:most]
    if cut.isascii() and cut.isprintable():
        return cut
    return cut.encode("unicode_escape", "backslashreplace").decode("ascii")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for `noai_guard.decisions`; other records get their message."""

    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "noai", None)
        line: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
        }
        line |= facts if isinstance(facts, dict) else {"message": record.getMessage()}
        return json.dumps(line)
