"""The guard of a running site, without a server's interface: what ASGI, WSGI, gateway and `explain` share."""

import logging
import os
import threading
from dataclasses import replace
from pathlib import Path
from time import monotonic, perf_counter, time
from typing import Any

from prometheus_client import CollectorRegistry

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.client_address import ClientAddress, SeenClient, address_block
from noai_guard.core.guard import Needs
from noai_guard.core.identity.addresses import doubt as address_doubt
from noai_guard.core.identity.refusing import RefusedOperators
from noai_guard.core.identity.signed_claims import failure_of
from noai_guard.core.model import Identity
from noai_guard.core.paths import normal_path
from noai_guard.core.policy import Policy
from noai_guard.core.questions import AsyncStore, Examination, Store
from noai_guard.core.request import Request, header_value
from noai_guard.core.wish_index import UNKNOWN, strictest_of
from noai_guard.core.wishes import WishOf
from noai_guard.middleware.active_policy import ActivePolicy, Decided, Outcome, ResolvedPath, ServeDocument
from noai_guard.middleware.periodic_tasks import PeriodicTasks
from noai_guard.middleware.recording import Recording
from noai_guard.middleware.refreshed_lists import RefreshedLists
from noai_guard.middleware.reloading import Reloading
from noai_guard.middleware.reports import Reports
from noai_guard.middleware.robots_readers import RobotsReaders
from noai_guard.middleware.served_documents import ServedDocuments
from noai_guard.middleware.store_in_force import StoreInForce
from noai_guard.observability.events import Event, PolicyInForce
from noai_guard.observability.metrics import Telemetry
from noai_guard.record.canonical_policy import policy_digest
from noai_guard.record.recorder import Recorder
from noai_guard.responses.negotiation import chosen_format
from noai_guard.stores.asked_wishes import AskedWishes, Lookup
from noai_guard.stores.key_directory import KeyDirectory

_log = logging.getLogger("noai_guard")

MAX_ASKED_WORKS = 4
"""Works that a function is asked about for one request: a path that may be part of more is none that people use."""

TIMED_MASK = 15
"""The first request with one kind of verdict is timed, and every 16th after it: reading the clock again and adding to
the histogram costs as much as judging."""

HOUSEKEEPING_SECONDS = 1.0


class GuardRuntime:
    """The policy in force, and what happens around each decision; the parts that do it are attributes.

    `policy` is a path to a noai.yaml, a Policy, or None for the packaged no-ai stance. `registry` is the Prometheus
    registry (the default one if None). `threads`: requests are decided in several threads at once. `peer_is_real`:
    the server does not replace the peer's address by one from a header. Raises PolicyInvalid, with every problem, if
    the policy cannot be used at start; later a broken file leaves the last good policy running.

    `store` is what answers questions: an address as under `store:` in a policy, an object that answers at once or is
    awaited, or None for what the policy names.

    `wishes` is a function that says what is wished for a work, in place of the source that the policy names.

    `always_starts`: for drivers whose constructor may run when the server is already serving. A policy that cannot be
    used is then replaced by the packaged no-ai stance until a reload succeeds. `start_error` says why, the metric
    noai_reload_failed is 1, and an ERROR is logged each minute in which requests come.

    A driver makes a Request and calls `decide`; it drives an Examination to its end with `run` or `arun`, and sends
    the document or refusal that comes out. Who sends a refusal adds the length of its body to the counts' `bytes`.
    """

    def __init__(
        self,
        policy: str | Path | Policy | None = None,
        *,
        registry: CollectorRegistry | None = None,
        threads: bool = False,
        peer_is_real: bool = False,
        always_starts: bool = False,
        store: Store | AsyncStore | str | None = None,
        wishes: Lookup | None = None,
    ) -> None:
        self.asked = AskedWishes(wishes) if wishes is not None else None
        self.store = StoreInForce(store)
        self.telemetry = Telemetry(registry, owner=self)
        self.reports = Reports(self.telemetry, self.store)
        self._threads = threads
        self._peer_is_real = peer_is_real
        self._next_housekeeping = 0.0
        self._housekeeping_lock = threading.Lock()
        self._operators = RefusedOperators()
        self._flush_failed = False
        self._tasks = PeriodicTasks()
        self.recorder = Recorder(self.telemetry.metrics)
        self.recording = Recording(self.recorder, self.telemetry)
        self.robots_readers = RobotsReaders(self.telemetry, self.store, self.client)
        self.documents = ServedDocuments(self.telemetry, self.reports, self.recording, self.robots_readers)
        self.keys = KeyDirectory(
            on_fetch=lambda result: self.telemetry.metrics.key_fetches.labels(result).inc(),
            on_keys=self.recorder.keep_keys,
        )
        self.reloading = Reloading(
            Path(policy) if isinstance(policy, (str, Path)) else None,
            is_asked=self.asked is not None,
            telemetry=self.telemetry,
            tasks=self._tasks,
            store=self.store,
            activate=self._activate,
        )
        self.wishes, self.promises = self.reloading.wishes, self.reloading.promises
        self.lists = RefreshedLists(self.telemetry, self._tasks, self.reload)
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            # So that the other workers see what this one counted, also when no more requests come to it.
            self._tasks.add(self.flush)
        self.reloading.load(policy, always_starts=always_starts)

    def _activate(self, compiled: CompiledPolicy) -> None:
        compiled.guard.use_operators(self._operators)
        # One assignment: a request that has read it sees one policy from beginning to end.
        policy, in_force = compiled.policy, None
        if policy.events is not None:
            in_force = PolicyInForce(
                compiled.promised.digest or policy_digest(policy),
                ledger=compiled.promised.entry,
                works=policy.works,
                trusted=policy.trusted_proxies,
                peer_is_real=self._peer_is_real,
            )
        self.active = ActivePolicy(compiled, lambda verdict: self.telemetry.counts(verdict, self._threads), in_force)
        self._undecidable = self.active.undecidable
        catalog = compiled.catalog
        for task in (self.reports.report_store, self.robots_readers.learn):
            (self._tasks.add if self.store.remote else self._tasks.remove)(task)
        if not self.store.remote:
            self.reports.report_store()
        self.keys.known = policy.key_sets
        self.recorder.use(policy.events)
        for directory, keys in policy.key_sets.items():
            self.recorder.keep_keys(directory, keys)
        self.lists.use(policy)
        self.telemetry.set_policy(policy, catalog.version, len(catalog.agents))

    @property
    def compiled(self) -> CompiledPolicy:
        """The policy in force."""
        return self.active.compiled

    @property
    def start_error(self) -> Exception | None:
        """Why the policy could not be used at start; None if it could, or once a reload has succeeded."""
        return self.reloading.start_error

    def reload(self) -> bool:
        """Read the policy file again, and the catalogue if its files changed.

        Return True if the new policy took the place of the old one at once; if it cannot be used, the old one stays, a
        metric rises and the problems are logged.
        """
        return self.reloading.reload()

    def start(self) -> None:
        """Start what runs beside requests: reload on SIGHUP, periodic tasks.

        Called by the first request of each process, because not every server says that it starts; may be called
        again, from any thread.
        """
        self._tasks.start()
        self.recorder.start()
        self._start_store()
        self.reloading.handle_hangup()

    def _start_store(self) -> None:
        try:
            self.store.start()
        except Exception as error:
            self.telemetry.failed("store", error)

    def close(self) -> None:
        """Stop the periodic tasks, close the store and bring the metrics up to date. The guard can still decide."""
        self._tasks.close()
        self.recorder.close()
        self.store.close()
        self.wishes.close()
        self._next_housekeeping = 0.0
        self.flush()

    def decide(self, request: Request, documents: bool = True) -> Outcome:
        """Decide what becomes of a request, count it and note it. Never raises, whatever the request holds.

        `documents`: a declaration may be the response.

        This is the hot path of all drivers, for ASGI after `read_scope` and before `Exchange.declare`: nearly every
        request needs a look at the clock, three look-ups and a count. House is kept first: what a process missed while
        it slept has to be known before it judges.
        """
        started = perf_counter()
        active = self.active
        try:
            if started >= self._next_housekeeping:
                self._keep_house(started, request)
                active = self.active
            raw_paths = request.raw_paths
            resolved = active.targets[raw_paths] if raw_paths else active.paths[request.path]
            if not resolved.usual:
                document = resolved.document if documents else None
                if document is not None and resolved.publishes(request.method, request.root_path):
                    return ServeDocument(active, document)
                if resolved.works and self.asked is not None:
                    number = self.asked.known(resolved.works, started)
                    if number is None:
                        return self._ask_wishes(active, resolved, request, started)
                    resolved = active.of_work(resolved, number)
            cached = resolved.decisions[active.claims[request.claim_key]]
            if not cached.settled:
                return self._examine(active, resolved, cached.needs, request, started)
            decided = cached.passed
            if cached.refuses:
                decided = self._refuse(active, decided, request, resolved)
        except Exception as error:
            decided = self._decide_without(active, error)
            cached = decided.cached
        if self._threads:
            return self._finish(active, decided, request, started)
        # As `_finish` does, in line and without its lock: no other thread adds to these counts.
        counts = cached.counts
        if not counts.requests & TIMED_MASK:
            self.telemetry.judged_in(perf_counter() - started)
        counts.requests += 1
        if not cached.plain:
            self.note(active, decided, request)
        return decided

    def _ask_wishes(
        self, active: ActivePolicy, resolved: ResolvedPath, request: Request, started: float
    ) -> Examination[Decided]:
        """Decide a request for works about which the site's function has to be asked first."""
        numbers: list[int] = []
        try:
            assert self.asked is not None
            for work in resolved.works[:MAX_ASKED_WORKS]:
                number = yield WishOf(work)
                if number is None:
                    self.telemetry.metrics.wish_failures.labels("function").inc()
                    number = self.asked.last(work, started)
                else:
                    self.asked.remember(work, number, started)
                numbers.append(UNKNOWN if number is None else number)
            is_known = UNKNOWN not in numbers and len(resolved.works) <= MAX_ASKED_WORKS
            resolved = active.of_work(resolved, strictest_of(numbers) if is_known else UNKNOWN)
            cached = resolved.decisions[active.claims[request.claim_key]]
            if not cached.settled:
                return (yield from self._examine(active, resolved, cached.needs, request, started))
            decided = self._refuse(active, cached.passed, request, resolved) if cached.refuses else cached.passed
        except Exception as error:
            decided = self._decide_without(active, error)
        return self._finish(active, replace(decided, cacheable=False), request, started)

    def _examine(
        self, active: ActivePolicy, resolved: ResolvedPath, needs: Needs, request: Request, started: float
    ) -> Examination[Decided]:
        """Decide a request whose verdict takes an address or an answer from outside."""
        client = None
        try:
            client = self.client(request, active)
            guard = active.compiled.guard
            doubt = None
            # Who is recognised by its origin may be somebody else than `needs` was computed for.
            if guard.origins is not None or needs & (Needs.IDENTITY | Needs.PARTNER):
                doubt = address_doubt(client, request.headers, guard.policy.trusted_proxies)
                if doubt is not None and needs & Needs.IDENTITY:
                    self.reports.report_doubt(doubt)
            examination = guard.examine(
                request,
                client.address,
                time(),
                path_class=resolved.path_class,
                is_proven=client.is_proven,
                doubt=doubt,
            )
            verdict, asked = yield from _noticing_questions(examination)
            if self._operators.stopped is not self.reports.stopped:
                self.reports.report_stopped(self._operators.stopped)
            cached = active.after[verdict]
            if needs & Needs.IDENTITY and (failure := failure_of(verdict.reasons)):
                self.reports.report_signature(failure)
            # Proxies keep a verdict by user agent, address block and path only; and what a client proves with one
            # request says nothing about the next.
            cacheable = not asked and not needs & (Needs.IDENTITY | Needs.PARTNER) and guard.origins is None
            decided = Decided(cached, None, resolved.path_class, cacheable=cacheable, client=client)
            if cached.refuses:
                decided = self._refuse(active, decided, request, resolved)
        except Exception as error:
            decided = self._decide_without(active, error)
            decided = Decided(decided.cached, decided.refusal, client=client)
        return self._finish(active, decided, request, started)

    def _refuse(self, active: ActivePolicy, decided: Decided, request: Request, resolved: ResolvedPath) -> Decided:
        if not decided.cached.counts.requests & TIMED_MASK:
            self.reports.look_for_caches(active, request)
        cached = decided.cached
        format = chosen_format(resolved.path, request.method, request.headers)
        known = cached.refused.get(format) if decided is cached.passed else None
        if known is None:
            refusal = active.compiled.refusal(cached.verdict, resolved.path, request.method, request.headers)
            known = Decided(cached, refusal, decided.path_class, cacheable=decided.cacheable, client=decided.client)
            if decided is cached.passed:
                cached.refused[format] = known
        return known

    def _decide_without(self, active: ActivePolicy, error: Exception) -> Decided:
        """Decide where judging failed: never a 500."""
        self.telemetry.failed("judging", error)
        return self._undecidable

    def _finish(self, active: ActivePolicy, decided: Decided, request: Request, started: float) -> Decided:
        """Count a decision, and note it if it was not plainly allowed."""
        cached = decided.cached
        counts = cached.counts
        seconds = perf_counter() - started
        with self.telemetry.counting:
            if not counts.requests & TIMED_MASK:
                self.telemetry.judged_in(seconds)
            counts.requests += 1
        if not cached.plain:
            self.note(active, decided, request)
        return decided

    def note(self, active: ActivePolicy, decided: Decided, request: Request) -> None:
        """Log and count a request that was not plainly allowed. Never raises."""
        verdict, counts = decided.cached.verdict, decided.cached.counts
        action = verdict.action
        try:
            noted = self.telemetry.wants(verdict)
            # robots.txt speaks to the agent, not to who takes its name.
            ignores = action.refuses and verdict.identity is not Identity.SPOOFED and bool(self.robots_readers.known)
            if not noted and not ignores:
                return
            client = decided.client or self.client(request, active)
            agent = verdict.agent.name if verdict.agent else ""
            if ignores and self.robots_readers.known.get((agent, address_block(client.address)), monotonic()):
                with self.telemetry.counting:
                    counts.robots_ignored += 1
            if noted:
                path = normal_path(request.path)
                host = header_value(request.headers, b"host")
                event = Event(time(), verdict, request.method, host, path, request.user_agent, client)
                self.telemetry.note(event)
        except Exception as error:
            self.telemetry.failed("noting", error)

    def client(self, request: Request, active: ActivePolicy) -> ClientAddress:
        """Return the client's address, through the proxies that the policy trusts; count it if there is a problem."""
        trusted = active.compiled.policy.trusted_proxies
        # All headers: a proxy's own line may stand behind 300 of the client's.
        client, is_rewritten = SeenClient(request.peer, request.headers, trusted, self._peer_is_real).seen()
        if is_rewritten:
            self.reports.report_rewriting()
        elif client.problem and trusted.header:
            self.telemetry.metrics.address_problems.labels(client.problem).inc()
        return client

    def flush(self) -> None:
        """Bring the Prometheus metrics up to what was counted. Never raises; a fault that lasts is logged once."""
        try:
            self.telemetry.metrics.flush()
        except Exception as error:
            if not self._flush_failed:
                _log.error("noai-guard could not write its metrics", exc_info=error)
            self._flush_failed = True
        else:
            self._flush_failed = False

    def _keep_house(self, now: float, request: Request) -> None:
        """Start what is not running, and look for caches in front of the site, at most once a second, on whichever
        request's thread gets there first."""
        with self._housekeeping_lock:
            if now < self._next_housekeeping:
                return
            self._next_housekeeping = now + HOUSEKEEPING_SECONDS
        if self.start_error is not None:
            self.reports.report_unusable(self.start_error)
        if self._tasks.is_overdue:
            self.reloading.catch_up()
        self.start()
        self.reports.look_for_caches(self.active, request)


def _noticing_questions(examination: Examination[Any]) -> Examination[tuple[Any, bool]]:
    """Return the result of an examination, and whether anybody had to be asked for it."""
    answer: Any = None
    asked = False
    try:
        while True:
            question = examination.send(answer)
            asked = True
            answer = yield question
    except StopIteration as done:
        return done.value, asked
