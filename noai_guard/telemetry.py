"""Every metric name and the decision log line.

A request adds to plain integers (0.1 µs, where a metric child costs 0.7 µs and `labels()` 2.7 µs, measured
2026-11-23); they are folded into the metrics when somebody scrapes, once a second while requests come, and when
the worker ends. Labels come from the catalogue and the policy, never from a request, so the number of series
is bounded.
"""

import atexit
import json
import logging
import os
import threading
from bisect import bisect_left
from collections import Counter as Counted
from collections.abc import Iterable
from functools import partial
from time import time
from typing import ClassVar
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from noai_guard.client_address import PROBLEMS, ClientAddress
from noai_guard.evidence import second_look
from noai_guard.model import UNKNOWN_BOT, Action, Mode, Verdict
from noai_guard.ports import Count

JUDGING_BUCKETS = (1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 1e-2, 0.1, 1.0)

decisions = logging.getLogger("noai_guard.decisions")
"""One INFO record for each request that was not plainly let in; `record.noai` holds the facts."""


class Cell:
    """What is counted for one kind of verdict between two folds."""

    __slots__ = ("bytes", "requests", "robots_ignored")

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0
        self.robots_ignored = 0


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
    """The metrics of one registry. `Telemetry.of(registry)` gives the same one each time."""

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
        gauge = partial(Gauge, registry=registry, multiprocess_mode="mostrecent")
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
            "noai_guard_failures_total", "Requests let through unjudged because the guard itself failed.", ("place",)
        )
        self.address_problems = counter(
            "noai_client_address_problems_total",
            "Client addresses that could not be taken from the configured header.",
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
        ):
            for value in values:
                metric.labels(value)
        self.injected: Counted[str] = Counted()
        self._cells: dict[tuple[str, ...], Cell] = {}
        self._timings = [0] * (len(JUDGING_BUCKETS) + 1)
        self._seconds = 0.0
        self._folding = threading.Lock()
        self._policy_in_force: tuple[str, ...] = ()
        atexit.register(self.fold)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def cell(self, verdict: Verdict) -> Cell:
        """Where requests with this verdict are counted; the same for all verdicts with equal labels."""
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
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = Cell()
        return cell

    def judged_in(self, seconds: float) -> None:
        self._timings[bisect_left(JUDGING_BUCKETS, seconds)] += 1
        self._seconds += seconds

    def fold(self) -> None:
        """Moves what was counted into the metrics. May be called at any time, from any thread."""
        with self._folding:
            for labels, cell in list(self._cells.items()):
                action, agent, _, usage, *_, mode = labels
                requests, cell.requests = cell.requests, 0
                sent, cell.bytes = cell.bytes, 0
                ignored, cell.robots_ignored = cell.robots_ignored, 0
                if requests:
                    self.requests.labels(*labels).inc(requests)
                if sent:
                    refused = mode == Mode.ENFORCE and Action(action).strictness >= Action.THROTTLE.strictness
                    self.bytes.labels("refused" if refused else "served", agent, usage).inc(sent)
                if ignored:
                    self.robots_ignored.labels(agent).inc(ignored)
            injected, self.injected = self.injected, Counted()
            for outcome, count in injected.items():
                self.injections.labels(outcome).inc(count)
            timings, self._timings = self._timings, [0] * len(self._timings)
            seconds, self._seconds = self._seconds, 0.0
            if any(timings):
                self.judging.add(timings, seconds)

    def _forget(self) -> None:
        """After a fork: what the parent counted is the parent's."""
        self._folding = threading.Lock()
        for cell in self._cells.values():
            cell.requests = cell.bytes = cell.robots_ignored = 0
        self.injected.clear()
        self._timings = [0] * len(self._timings)
        self._seconds = 0.0

    def in_force(self, version: str, stance: str, mode: str, catalogue: str, agents: int) -> None:
        """Says which policy and catalogue run now."""
        labels = (version, stance, mode, catalogue)
        if self._policy_in_force and self._policy_in_force != labels:
            self.policy_info.labels(*self._policy_in_force).set(0)
        self._policy_in_force = labels
        self.policy_info.labels(*labels).set(1)
        self.catalogue_agents.set(agents)


class _DescriptionBudget:
    """Lets a few unknown user agents be described each second: one costs a millisecond, a log line 30 µs."""

    __slots__ = ("_left", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._left = 0

    def description(self, user_agent: bytes) -> str | None:
        second = int(time())
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
        "method": _shown(method, 16),
        "host": _shown(host, 255),
        "path": _shown(path, 1024),
        "client": client.address,
        "client_from": client.source,
        "user_agent": _shown(user_agent.decode("latin-1"), 512),
    }
    if agent is None or agent is UNKNOWN_BOT:
        facts["looks_like"] = _budget.description(user_agent)
    name = f"{agent.name} ({agent.operator})" if agent else "a client"
    would = "" if verdict.enforced else " (monitor only)"
    decisions.info(
        "%s%s: %s %s %s, rule %s", facts["action"], would, name, facts["method"], facts["path"], verdict.rule,
        extra={"noai": facts},
    )  # fmt: skip


def _shown(text: str, most: int) -> str:
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
