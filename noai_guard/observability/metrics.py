"""Every metric, by registry, and the counts of each guard.

A request adds to plain integers (0.1 µs, where a metric child costs 0.7 µs and `labels()` 2.7 µs, measured
2026-11-23). They are flushed into the metrics when somebody scrapes, each second where several workers share a folder,
and when the process ends. The integers only ever grow and a flush never writes to them, so that a flush in another
thread cannot lose what is being added. Labels come from the catalogue and the policy, never from a request, so the
number of series is bounded.
"""

import atexit
import logging
import os
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from weakref import WeakSet, ref

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from noai_guard.core.client_address import PROBLEMS
from noai_guard.core.identity.addresses import DOUBTS
from noai_guard.core.identity.reverse_dns import HostName
from noai_guard.core.identity.signing_keys import SigningKey
from noai_guard.core.identity.web_bot_auth import SignatureOutcome
from noai_guard.core.model import Mode, Verdict
from noai_guard.core.policy import Policy
from noai_guard.core.questions import STORE_QUESTIONS
from noai_guard.core.shared_caches import CACHES
from noai_guard.core.wishes import WISH_SOURCES, WishOf
from noai_guard.observability.counters import Delta, LocalCounts
from noai_guard.observability.decision_log import DecisionLog
from noai_guard.observability.events import Event, Sink
from noai_guard.observability.prometheus_adapter import BatchHistogram, Counter, Gauge
from noai_guard.version import __version__

JUDGING_BUCKETS = (1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 1e-2, 0.1, 1.0)

GATEWAY_PROBLEMS = (
    "caller_not_trusted",  # the caller is not in trusted_proxies: nothing it says is believed
    "uri_missing",  # a trusted proxy asks and does not name the request
    "uri_malformed",  # the URI is not a request target
    "method_malformed",
    "sources_disagree",  # two headers, or two lines of one, name different requests
)
"""Every value of the label `problem` of noai_gateway_problems_total."""

SIGNATURE_FAILURES = tuple(
    outcome.value
    for outcome in SignatureOutcome
    if outcome not in (SignatureOutcome.VERIFIED, SignatureOutcome.NOT_SIGNED)
)
"""Every value of the label `outcome` of noai_signature_failures_total."""

LEDGER_STATES = ("unpublished", "announced", "damaged")
"""Every value of the label `state` of noai_ledger_state."""

_REQUEST_LABELS = ("action", "agent", "operator", "usage", "rule", "identity", "mode")

_log = logging.getLogger("noai_guard")


def labels_of(verdict: Verdict) -> tuple[str, ...]:
    """Return the values of the labels of noai_requests_total."""
    agent = verdict.agent
    return (
        str(verdict.action),
        agent.name if agent else "none",
        agent.operator if agent else "none",
        str(verdict.usage or "none"),
        verdict.rule,
        str(verdict.identity),
        str(Mode.ENFORCE if verdict.enforced else Mode.MONITOR),
    )


FAILURE_PLACES = ("judging", "noting", "robots_txt", "declaring", "store", "refresh", "ledger", "record")
"""Where the guard itself may fail."""


class Metrics(Collector):
    """The metrics of one registry, which holds each name once, and the guards and sinks that share them.

    As a collector it yields no metric of its own. It is registered before the metrics, so that a scrape flushes first.
    Where the registry does not take them, they are counted all the same, and the log says so.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        counter = partial(Counter, registry=None)
        # "live": what a worker that has ended said last is not in force any more.
        gauge = partial(Gauge, registry=None, multiprocess_mode="livemostrecent")
        self.requests = counter(
            "noai_requests_total",
            "Requests judged.",
            _REQUEST_LABELS,
        )
        self.bytes = counter(
            "noai_response_body_bytes_total",
            "Bytes of response bodies sent to judged requests, by what was decided (refused: the refusal).",
            ("outcome", "agent", "usage"),
        )
        self.scrapes = counter(
            "noai_scrapes_total",
            "Requests judged that metrics_app or status_app answered; noai_requests_total has them too.",
            _REQUEST_LABELS,
        )
        self.scrape_bytes = counter(
            "noai_scrape_body_bytes_total",
            "Bytes of response bodies of metrics_app and status_app; noai_response_body_bytes_total has them too.",
            ("agent", "usage"),
        )
        self.robots_ignored = counter(
            "noai_robots_ignored_total",
            "Requests for a path that robots.txt reserves, by agents that had read robots.txt before.",
            ("agent",),
        )
        self.judging = BatchHistogram(
            "noai_judging_seconds",
            "Time from the request's arrival at the guard to its verdict.",
            registry=None,
            buckets=JUDGING_BUCKETS,
        )
        self.documents = counter("noai_documents_served_total", "Declaration documents served.", ("document",))
        self.injections = counter(
            "noai_html_injections_total", "HTML responses seen, by what became of the metas.", ("outcome",)
        )
        self.backend_failures = counter(
            "noai_backend_failures_total", "Questions that a backend could not answer.", ("question",)
        )
        self.store_unreachable = gauge(
            "noai_store_unreachable", "1 while the store that workers share cannot be asked."
        )
        self.identity_doubts = counter(
            "noai_identity_doubts_total",
            "Claims that could not be checked by the client's address, by why it is not known to be the client's.",
            ("doubt",),
        )
        self.identity_stopped = gauge(
            "noai_identity_refusing_stopped",
            "1 while failed claims of an operator's agents are let in, because the addresses are probably a proxy's.",
            ("operator",),
        )
        self.signature_failures = counter(
            "noai_signature_failures_total",
            "Signatures of requests that were checked and proved nothing, by why.",
            ("outcome",),
        )
        self.key_fetches = counter(
            "noai_key_directory_fetches_total", "Times a key directory of signing agents was fetched.", ("result",)
        )
        self.list_refreshed = gauge(
            "noai_list_refreshed_timestamp_seconds",
            "When a list of networks or a feed was last fetched with success, in seconds since 1970.",
            ("list",),
        )
        self.list_failed = gauge(
            "noai_list_refresh_failed",
            "1 if the last refresh of a list failed, so that the last good one stays.",
            ("list",),
        )
        self.wish_works = gauge(
            "noai_wishes_works", "Works in the source of wishes that the guard goes by, by its kind.", ("from",)
        )
        self.wishes_read = gauge(
            "noai_wishes_read_timestamp_seconds",
            "When the source of wishes was last found readable, in seconds since 1970; 0 for never.",
        )
        self.wish_failures = counter(
            "noai_wishes_failures_total",
            "Times nobody could say what creators wish: the source that the policy names, or the site's function.",
            ("from",),
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
        self.shared_caches = counter(
            "noai_shared_cache_seen_total",
            "Times a look at a request found a shared cache in front of the site that the policy does not name.",
            ("cache", "problem"),
        )
        self.ledger_state = gauge(
            "noai_ledger_state",
            "1 while the policy is not published in the ledger, a looser one is announced, or the ledger is damaged.",
            ("state",),
        )
        self.events_written = counter("noai_events_written_total", "Events written to the event log.", ("sink",))
        self.events_dropped = counter(
            "noai_events_dropped_total",
            "Events lost, by the sink that did not take them (queue: more came than could be written).",
            ("sink",),
        )
        self.event_sink_failing = gauge(
            "noai_event_sink_failing", "1 while a sink of the event log takes no events, or not all.", ("sink",)
        )
        self.reloads = counter("noai_reloads_total", "Times the policy was read again.", ("result",))
        self.reload_failed = gauge(
            "noai_reload_failed",
            "1 while a policy file cannot be used and the last good one is in force, or the packaged no-ai stance.",
        )
        self.policy_info = gauge(
            "noai_policy_info", "1 for the policy and catalogue in force.", ("version", "stance", "mode", "catalogue")
        )
        self.catalogue_agents = gauge("noai_catalogue_agents", "Agents in the catalogue in force.")
        # Series with values known beforehand start at zero: Prometheus sees no increase in a series born at 1.
        for metric, values in (
            (self.reloads, ("ok", "failed")),
            (
                self.backend_failures,
                tuple(question.__name__ for question in (*STORE_QUESTIONS, HostName, SigningKey, WishOf)),
            ),
            (self.wish_works, WISH_SOURCES),
            (self.wish_failures, ("source", "function")),
            (self.identity_doubts, DOUBTS),
            (self.key_fetches, ("ok", "failed")),
            (self.signature_failures, SIGNATURE_FAILURES),
            (self.guard_failures, FAILURE_PLACES),
            (self.ledger_state, LEDGER_STATES),
            (self.address_problems, PROBLEMS),
            (self.events_written, ("files",)),
            (self.events_dropped, ("queue", "files")),
            (self.gateway_problems, GATEWAY_PROBLEMS),
        ):
            for value in values:
                metric.labels(value)
        self.started_at = time.time()
        for cache in CACHES:
            self.shared_caches.labels(cache, "not_in_policy")
        self.shared_caches.labels("cloudfront", "user_agent_hidden")
        self.sinks: list[Sink] = [DecisionLog()]
        self.guards: list[Telemetry] = []
        self._policy_labels: set[tuple[str, ...]] = set()
        self._changing_policy = threading.Lock()
        self._flushing = threading.Lock()
        _all_metrics.add(self)
        self._register()

    def _register(self) -> None:
        collectors: tuple[Collector, ...] = (self, *self.all)
        registered: list[Collector] = []
        try:
            for collector in collectors:
                self.registry.register(collector)
                registered.append(collector)
        except Exception as error:  # most often a name that somebody else has registered
            for collector in registered:
                self.registry.unregister(collector)
            _log.error("noai-guard's metrics are counted and not shown, their registry does not take them: %s", error)

    @classmethod
    def of(cls, registry: CollectorRegistry | None = None) -> "Metrics":
        """Return the metrics of `registry` (the default one when None), the same each time."""
        registry = registry or REGISTRY
        with _creating:
            return next((metrics for metrics in _all_metrics if metrics.registry is registry), None) or cls(registry)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        self.flush()
        return ()

    @property
    def all(self) -> tuple[Counter | Gauge | BatchHistogram, ...]:
        """Every metric, in the order they are shown."""
        return tuple(value for value in vars(self).values() if isinstance(value, Counter | Gauge | BatchHistogram))

    def flush(self) -> None:
        """Bring the metrics up to what every guard has counted, and forget guards that are gone. Thread-safe."""
        with self._flushing:
            gone = [guard for guard in self.guards if guard.is_gone]
            for guard in self.guards.copy():
                guard.flush_counts()
            for guard in gone:
                self.guards.remove(guard)
        if gone:
            self.update_gauges()

    def update_gauges(self) -> None:
        """Set the gauges to what holds for the guards together: each policy in force is 1, and one failed reload
        or store is enough for `noai_reload_failed` or `noai_store_unreachable`."""
        with self._changing_policy:
            in_force = {guard.policy_labels for guard in self.guards if guard.policy_labels}
            self._policy_labels |= in_force
            for labels in self._policy_labels:
                self.policy_info.labels(*labels).set(labels in in_force)
            self.reload_failed.set(any(guard.policy_file_broken for guard in self.guards))
            for state in LEDGER_STATES:
                self.ledger_state.labels(state).set(any(state in guard.ledger_states for guard in self.guards))
            self.store_unreachable.set(any(guard.store_unreachable for guard in self.guards))

    def forget_parent(self) -> None:
        """Leave to the parent what it counted: it flushes that. Called in the child after a fork."""
        self._flushing = threading.Lock()
        self._changing_policy = threading.Lock()
        self.started_at = time.time()
        for guard in self.guards:
            guard.forget_parent()


class Telemetry:
    """The counts of one guard, the policy that it has in force, and its way to the sinks of events.

    `metrics` are those of `registry` (the default one when None). Counts are kept for the life of the process; the
    policy is in force until `owner`, if there is one, has been garbage-collected.
    """

    def __init__(self, registry: CollectorRegistry | None = None, owner: object = None) -> None:
        self.metrics = Metrics.of(registry)
        self._owner = None if owner is None else ref(owner)
        self.injected: defaultdict[str, int] = defaultdict(int)
        self.counting = threading.Lock()
        self.policy: Policy | None = None
        self.policy_labels: tuple[str, ...] = ()
        self.policy_problem = ""
        """Why the policy file cannot be used; empty while it can."""

        self.store_unreachable = False
        self.ledger_states: frozenset[str] = frozenset()
        self.ledger_problem = ""
        """Why the ledger cannot be used; empty while it can."""

        self.wishes_problem = ""
        """Why the source of wishes cannot be read; empty while it can."""

        self._counts: dict[tuple[object, ...], LocalCounts] = {}
        self._injected_deltas: dict[str, Delta] = {}
        self._timings = [0] * (len(JUDGING_BUCKETS) + 1)
        self._seconds = 0.0
        self._timings_flushed = self._timings.copy()
        self._seconds_flushed = 0.0
        self.metrics.guards.append(self)

    @property
    def policy_file_broken(self) -> bool:
        """True while the policy file cannot be used and another policy is in force."""
        return bool(self.policy_problem)

    @property
    def is_gone(self) -> bool:
        """True if the guard was thrown away: it counts nothing more."""
        return self._owner is not None and self._owner() is None

    def counts(self, verdict: Verdict, threads: bool = False) -> LocalCounts:
        """Return the counts of requests with this verdict, the same for all verdicts with equal labels.

        With `threads` they are others, for drivers whose requests run in several threads: these add to them, to
        `injected` and by `judged_in` only while they hold `counting` (0.1 µs for each request). Counts for each
        thread would need no lock, but threads come and go and counts stay.
        """
        labels = labels_of(verdict)
        key = (threads, *labels)
        counts = self._counts.get(key)
        if counts is None:
            outcome = "refused" if verdict.refuses else "served"
            counts = LocalCounts(
                Delta(self.metrics.requests, *labels),
                Delta(self.metrics.bytes, outcome, labels[1], labels[3]),
                Delta(self.metrics.robots_ignored, labels[1]),
            )
            counts = self._counts.setdefault(key, counts)  # another thread may have been first
        return counts

    def judged_in(self, seconds: float) -> None:
        """Add one observation of the time to judge."""
        self._timings[bisect_left(JUDGING_BUCKETS, seconds)] += 1
        self._seconds += seconds

    def failed(self, place: str, error: BaseException) -> None:
        """Log and count a failure of the guard itself, after which the request goes on."""
        _log.error("noai-guard failed (%s)", place, exc_info=error)
        self.metrics.guard_failures.labels(place).inc()

    def wants(self, verdict: Verdict) -> bool:
        """Return True if a sink wants events with this verdict; else no event need be made."""
        for sink in self.metrics.sinks:  # noqa: SIM110  any() costs a generator for each refusal
            if sink.wants(verdict):
                return True
        return False

    def note(self, event: Event) -> None:
        """Write an event to every sink that wants it. Never raises; a sink that fails is counted."""
        for sink in self.metrics.sinks:
            try:
                if sink.wants(event.verdict):
                    sink.write(event)
            except Exception as error:
                self.failed("noting", error)

    def set_policy(self, policy: Policy, catalogue: str, agents: int) -> None:
        """Publish the policy that the guard runs from now on, with the version and the size of the catalogue."""
        self.policy = policy
        self.policy_labels = (__version__, str(policy.stance), str(policy.mode), catalogue)
        self.policy_problem = ""
        self.metrics.update_gauges()
        self.metrics.catalogue_agents.set(agents)

    def set_store(self, *, unreachable: bool) -> None:
        """Publish whether the store that this guard shares with others cannot be asked."""
        if unreachable != self.store_unreachable:
            self.store_unreachable = unreachable
            self.metrics.update_gauges()

    def set_wishes(self, source: str, works: int, read_at: float) -> None:
        """Publish of which of WISH_SOURCES the wishes are, for how many works, and when (seconds since 1970) the source
        was last readable."""
        self.wishes_problem = ""
        for each in WISH_SOURCES:
            self.metrics.wish_works.labels(each).set(works if each == source else 0)
        self.metrics.wishes_read.set(read_at)

    def wishes_unreadable(self, problem: str) -> None:
        """Count that the source of wishes cannot be read, and publish why."""
        self.wishes_problem = problem or "unknown"
        self.metrics.wish_failures.labels("source").inc()

    def set_ledger(self, states: frozenset[str], problem: str) -> None:
        """Publish what holds of LEDGER_STATES, and why the ledger cannot be used, empty if it can."""
        self.ledger_problem = problem
        if states != self.ledger_states:
            self.ledger_states = states
            self.metrics.update_gauges()

    def reload_succeeded(self) -> None:
        """Count a successful reload."""
        self.metrics.reloads.labels("ok").inc()

    def reload_failed(self, problem: str = "unknown") -> None:
        """Count a reload that failed and left the last good policy in force."""
        self.metrics.reloads.labels("failed").inc()
        self.policy_unusable(problem)

    def policy_unusable(self, problem: str = "unknown") -> None:
        """Publish that the policy file cannot be used, and why, and that another policy is in force."""
        self.policy_problem = problem or "unknown"
        self.metrics.update_gauges()

    def flush_counts(self) -> None:
        """Add to the metrics what was counted since the last call. Only `Metrics.flush` may call it."""
        for delta, count in self._deltas():
            delta.flush(count)
        timings, seconds = self._timings.copy(), self._seconds
        if timings != self._timings_flushed:
            new = [now - before for now, before in zip(timings, self._timings_flushed, strict=True)]
            self.metrics.judging.add(new, seconds - self._seconds_flushed)
            self._timings_flushed, self._seconds_flushed = timings, seconds

    def _deltas(self) -> Iterator[tuple[Delta, int]]:
        for counts in list(self._counts.values()):
            yield from counts.deltas()
        for outcome, count in list(self.injected.items()):
            delta = self._injected_deltas.get(outcome)
            if delta is None:
                delta = self._injected_deltas[outcome] = Delta(self.metrics.injections, outcome)
            yield delta, count

    def forget_parent(self) -> None:
        """Count as flushed what the parent counted. Called in the child after a fork."""
        self.counting = threading.Lock()
        for delta, count in self._deltas():
            delta.flushed = count
        self._timings_flushed, self._seconds_flushed = self._timings.copy(), self._seconds


_all_metrics: "WeakSet[Metrics]" = WeakSet()
_creating = threading.Lock()


def _for_all(method: Callable[[Metrics], None]) -> None:
    for metrics in list(_all_metrics):
        method(metrics)


atexit.register(_for_all, Metrics.flush)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(_for_all, Metrics.forget_parent))
