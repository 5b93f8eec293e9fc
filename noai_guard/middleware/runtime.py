"""The guard of a running site, without a server's interface: what ASGI, WSGI, gateway and `explain` share."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, perf_counter, time
from types import FrameType
from typing import Any

from prometheus_client import CollectorRegistry

from noai_guard.build_date import today
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import catalog_of, check_policy, load_policy, load_stance, rules_source
from noai_guard.config.files_beside import file_identities
from noai_guard.core.bounded_cache import ExpiringCache
from noai_guard.core.catalog import Catalog
from noai_guard.core.client_address import ClientAddress, SeenClient, address_block, told
from noai_guard.core.guard import Needs
from noai_guard.core.identity.addresses import doubt as address_doubt
from noai_guard.core.identity.refusing import RefusedOperators
from noai_guard.core.identity.signed_claims import REASONS, failure_of
from noai_guard.core.identity.web_bot_auth import SignatureOutcome
from noai_guard.core.model import AI_USAGES, Action, HeaderField, Identity, Response, Usage, Verdict, agent_of
from noai_guard.core.paths import normal_path
from noai_guard.core.policy import Creators, Policy
from noai_guard.core.questions import AsyncStore, Examination, Question, Store
from noai_guard.core.request import Request, header_value
from noai_guard.core.shared_caches import HIDDEN_USER_AGENT, shared_caches
from noai_guard.core.wish_index import UNKNOWN, WishIndex, strictest_of
from noai_guard.core.wishes import WishOf
from noai_guard.declarations import robots_txt
from noai_guard.errors import Invalid, MissingExtra, PolicyInvalid
from noai_guard.middleware.active_policy import (
    ActivePolicy,
    CachedDecision,
    Decided,
    Outcome,
    ResolvedPath,
    ServeDocument,
)
from noai_guard.middleware.own_robots import Elsewhere, OwnFile
from noai_guard.middleware.periodic_tasks import PeriodicTasks
from noai_guard.middleware.promises_in_force import PromisesInForce
from noai_guard.middleware.refreshed_lists import RefreshedLists
from noai_guard.middleware.store_in_force import StoreInForce
from noai_guard.middleware.wishes_in_force import WishesInForce
from noai_guard.observability.events import MAX_CHARS, Event, PolicyInForce
from noai_guard.observability.metrics import Telemetry
from noai_guard.record.canonical_policy import policy_digest
from noai_guard.record.recorder import Recorder
from noai_guard.responses.documents import (
    NO_ALTERNATIVES,
    document_response,
    redirect_response,
    unknown_robots_response,
)
from noai_guard.stores.asked_wishes import AskedWishes, Lookup
from noai_guard.stores.key_directory import KeyDirectory

_log = logging.getLogger("noai_guard")

MAX_ASKED_WORKS = 4
"""Works that a function is asked about for one request: a path that may be part of more is none that people use."""

_MANY_LISTED = 200
"""Works that documents may name, above which the guard does not wait for them."""

TIMED_MASK = 15
"""The first request with one kind of verdict is timed, and every 16th after it: reading the clock again and adding to
the histogram costs as much as judging."""

HOUSEKEEPING_SECONDS = 1.0

_COMPLAINT_SECONDS = 60.0
"""Seconds between two log lines that say the same: the policy could not be used at start, a backend does not answer."""

ROBOTS_KNOWN_SECONDS = 24 * 3600
"""Seconds that a client counts as one that knows robots.txt: copies may be used for 24 h (RFC 9309 section 2.4)."""

_MAX_ROBOTS_READERS = 4096

_MAX_PATH, _MAX_USER_AGENT = MAX_CHARS["path"], MAX_CHARS["user_agent"]

_ROBOTS_ELSEWHERE = (
    "the app redirects /robots.txt to another host: crawlers are sent there, and read none of our refusals in it; "
    "serve the file from the app, or set declarations: {robots_txt: replace}"
)
_MAX_REPORTED_NOTES = 64

_SHARED_CACHE = (
    "a request came through a shared cache (%s, by its header %s), and the policy names none: unless it is told to, a "
    "cache hands a refusal to listeners and a song to scrapers. See docs/how-to/behind-a-cdn.md, ask "
    "`noai-guard audit`, then write features: {shared_cache: yes} into the policy"
)
_USER_AGENT_HIDDEN = (
    "CloudFront hides who comes (User-Agent: Amazon CloudFront), so nobody can be refused here: refuse at CloudFront "
    "(`noai-guard config aws --out DIR`), or put User-Agent into the cache policy of the behaviour (HeaderBehavior: "
    "whitelist, Headers: [User-Agent]). See docs/how-to/behind-a-cdn.md"
)

_OUR_SIGNATURE_FAULTS = frozenset(
    {
        SignatureOutcome.NOT_YET,
        SignatureOutcome.EXPIRED,
        SignatureOutcome.HOST_UNKNOWN,
        SignatureOutcome.NOT_INSTALLED,
        SignatureOutcome.DIRECTORY_UNAVAILABLE,
        SignatureOutcome.REPLAY_UNKNOWN,
    }
)
"""Failures that clients are not to blame for if they are many: a clock, a setting, a network."""

_DOUBTS = {
    "address_unknown": "a client that names an agent has no address, so its claim cannot be checked by it",
    "address_not_public": "a client that names an agent comes from a private address, probably a proxy of your own, so "
    "its claim cannot be checked by it: name your proxies under trusted_proxies",
    "address_not_proven": "the address of a client that names an agent may be text from a header, so its claim cannot "
    "be checked by it: name your proxies under trusted_proxies, and start the server with --no-proxy-headers",
    "proxy_not_named": "a client that names an agent came through a proxy, and trusted_proxies names none, so its "
    "claim cannot be checked by its address: name your proxies, or what spoofs an agent is let in",
}


class GuardRuntime:
    """The policy in force, and what happens around each decision: caches, counts, decision log, reload.

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
        self.start_error: Exception | None = None
        self.asked = AskedWishes(wishes) if wishes is not None else None
        self.store = StoreInForce(store)
        self._store_reported = False
        self._next_store_line = 0.0
        self._unanswered: dict[str, tuple[float, int]] = {}
        self._next_complaint = 0.0
        self.telemetry = Telemetry(registry, owner=self)
        self._threads = threads
        # In several threads no count is certain without the lock that `_finish` takes.
        self._untimed_mask = 0 if threads else TIMED_MASK
        self._peer_is_real = peer_is_real
        self._file = Path(policy) if isinstance(policy, (str, Path)) else None
        self._next_housekeeping = 0.0
        self._housekeeping_lock = threading.Lock()
        self._robots_readers: ExpiringCache[tuple[str, str], bool] = ExpiringCache(
            ROBOTS_KNOWN_SECONDS, _MAX_ROBOTS_READERS
        )
        self._reported_notes: set[str] = set()
        self._rewriting_reported = False
        self._nesting_reported = False
        self._next_signature_line = 0.0
        self._doubts_reported: set[str] = set()
        self._operators = RefusedOperators()
        self._stopped_reported: frozenset[str] = frozenset()
        self._caches_reported: set[tuple[str, str]] = set()
        self._flush_failed = False
        self._reloading = threading.Lock()
        self._reload_due = False
        self._seen = file_identities([str(self._file)] if self._file else [])
        self._handles_hangup = False
        self._tasks = PeriodicTasks()
        self.recorder = Recorder(self.telemetry.metrics)
        self.keys = KeyDirectory(on_fetch=lambda result: self.telemetry.metrics.key_fetches.labels(result).inc())
        self.lists = RefreshedLists(self.telemetry, self._tasks, self.reload)
        self.wishes = WishesInForce(self.telemetry, self._use_wishes)
        self.promises = PromisesInForce(self.telemetry, self._tasks, self.renew_promises)
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            # So that the other workers see what this one counted, also when no more requests come to it.
            self._tasks.add(self.flush)
        try:
            compiled = self.promises.compiled(self._asking(_loaded(policy)))
            self.store.use(compiled.policy)
            self.wishes.follow(compiled.policy)
        except Exception as error:
            if not always_starts:
                raise
            self.start_error = error.with_traceback(None)  # which would keep this object alive
            compiled = _packaged_policy()
        self._activate(compiled)
        if self.start_error is not None:
            self.telemetry.policy_unusable(problems_of(self.start_error))

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
        if self._file:
            self._watch((str(self._file), *policy.files))
        (self._tasks.add if self._file and policy.reload == "watch" else self._tasks.remove)(self.reload_if_changed)
        (self._tasks.add if self.wishes.is_followed else self._tasks.remove)(self.wishes.look)
        for task in (self.report_store, self.learn_robots_readers):
            (self._tasks.add if self.store.remote else self._tasks.remove)(task)
        if not self.store.remote:
            self.report_store()
        self.keys.known = policy.key_sets
        self.recorder.use(policy.events)
        self.lists.use(policy)
        self.telemetry.set_policy(policy, catalog.version, len(catalog.agents))

    @property
    def compiled(self) -> CompiledPolicy:
        """The policy in force."""
        return self.active.compiled

    def start(self) -> None:
        """Start what runs beside requests: reload on SIGHUP, periodic tasks.

        Called by the first request of each process, because not every server says that it starts; may be called
        again, from any thread.
        """
        self._tasks.start()
        self.recorder.start()
        self._start_store()
        self.handle_hangup()

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

    def complain(self) -> None:
        """Log that the policy could not be used at start, at most once a minute; do nothing if it could."""
        now = perf_counter()
        if self.start_error is not None and now >= self._next_complaint:
            self._next_complaint = now + _COMPLAINT_SECONDS
            _log.error(
                "the policy cannot be used; until the server is started with a good one, the packaged no-ai stance is "
                "in force in its place:\n%s",
                problems_of(self.start_error),
            )

    def decide(self, request: Request, documents: bool = True) -> Outcome:
        """Decide what becomes of a request, count it and note it. Never raises, whatever the request holds.

        `documents`: a declaration may be the response.
        """
        started = perf_counter()
        active = self.active
        try:
            if started >= self._next_housekeeping:
                self._keep_house(started, request)
                active = self.active
            raw_paths = request.raw_paths
            resolved = active.targets[raw_paths] if raw_paths else active.paths[request.path]
            if resolved.document is not None and documents and resolved.publishes(request.method, request.root_path):
                return ServeDocument(active, resolved.document)
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
        counts = cached.counts
        if counts.requests & self._untimed_mask:
            counts.requests += 1
            if not cached.plain:
                self.note(active, decided, request)
            return decided
        return self._finish(active, decided, request, started)

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
                    self._report_doubt(doubt)
            examination = guard.examine(
                request,
                client.address,
                time(),
                path_class=resolved.path_class,
                is_proven=client.is_proven,
                doubt=doubt,
            )
            verdict, asked = yield from _noticing_questions(examination)
            if self._operators.stopped is not self._stopped_reported:
                self._report_stopped(self._operators.stopped)
            cached = active.after[verdict]
            if needs & Needs.IDENTITY and (failure := failure_of(verdict.reasons)):
                self._report_signature(failure)
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
            self._look_for_caches(active, request)
        refusal = active.compiled.refusal(decided.cached.verdict, resolved.path, request.method, request.headers)
        return Decided(decided.cached, refusal, decided.path_class, cacheable=decided.cacheable, client=decided.client)

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
            ignores = action.refuses and verdict.identity is not Identity.SPOOFED and bool(self._robots_readers)
            if not noted and not ignores:
                return
            client = decided.client or self.client(request, active)
            agent = verdict.agent.name if verdict.agent else ""
            if ignores and self._robots_readers.get((agent, address_block(client.address)), monotonic()):
                with self.telemetry.counting:
                    counts.robots_ignored += 1
            if noted:
                path = normal_path(request.path)
                host = header_value(request.headers, b"host")
                event = Event(time(), verdict, request.method, host, path, request.user_agent, client)
                self.telemetry.note(event)
        except Exception as error:
            self.telemetry.failed("noting", error)

    def event(self, cached: CachedDecision, request: Request, client: ClientAddress | None) -> Event | None:
        """Return an event for the record, None if it cannot be made. Never raises.

        It is made in 1 µs and of bounded size: what takes time is left to the thread that writes.
        """
        try:
            headers, path, in_force = request.headers, request.path, cached.in_force
            # Nearly every client sends it first.
            host = headers[0][1] if headers and headers[0][0] == b"host" else header_value(headers, b"host")
            lines: Sequence[HeaderField] | None = ()
            if client is None and in_force is not None and in_force.reads_headers:
                lines = told(headers)
                if lines is None:
                    client = SeenClient(request.peer, headers, in_force.trusted, in_force.peer_is_real).seen()[0]
            return Event(
                time(),
                cached.verdict,
                request.method[:16],
                host[:255],
                path if len(path) <= _MAX_PATH else normal_path(path)[:_MAX_PATH],
                request.user_agent[:_MAX_USER_AGENT],
                client,
                request.peer,
                lines or (),
                in_force,
                cached.declared.names,
            )
        except Exception as error:
            self.telemetry.failed("noting", error)
            return None

    def record(
        self, cached: CachedDecision, request: Request, client: ClientAddress | None, response: Response | None
    ) -> None:
        """Hand over the event of a request with the response to it, None if another server sends that. Never raises."""
        if (event := self.event(cached, request, client)) is not None:
            if response is not None:
                event.status, event.bytes = response.status, len(response.body)
            self.recorder.write(event)

    def record_document(self, active: ActivePolicy, request: Request, path: str, response: Response | None) -> None:
        """Hand over the event of a request for a declaration, and the response if it is ours. Never raises."""
        if active.in_force is None or (event := self.event(active.undecidable.cached, request, None)) is None:
            return
        try:
            event.verdict = active.document_verdicts[agent_of(active.claims[request.claim_key])]
        except Exception as error:
            self.telemetry.failed("noting", error)
            return
        event.document, event.served = path, () if event.method == "HEAD" else (path,)
        if response is not None:
            event.status, event.bytes = response.status, len(response.body)
        self.recorder.write(event)

    def unanswered(self, question: Question[Any], error: Exception) -> None:
        """Count and log a question that no store could answer."""
        kind = type(question).__name__
        # What was never installed does not fail.
        if not isinstance(error.__cause__, MissingExtra):
            self.telemetry.metrics.backend_failures.labels(kind).inc()
        now = monotonic()
        due, unreported = self._unanswered.get(kind, (0.0, 0))
        if now < due:
            self._unanswered[kind] = due, unreported + 1
            return
        self._unanswered[kind] = now + _COMPLAINT_SECONDS, 0
        since = f" ({unreported:,} more since the last such line)" if unreported else ""
        _log.warning("a backend could not answer %s: %s%s", kind, error, since)

    def report_store(self) -> None:
        """Publish whether the store can be asked. Never raises."""
        remote = self.store.remote
        problem = remote.problem if remote is not None else ""
        try:
            self.telemetry.set_store(unreachable=bool(problem))
        except Exception as error:
            self.telemetry.failed("store", error)
        now = monotonic()
        if remote is not None and bool(problem) != self._store_reported and now >= self._next_store_line:
            self._store_reported = bool(problem)
            self._next_store_line = now + _COMPLAINT_SECONDS
            _log.warning("%s %s", remote.name, f"cannot be asked: {problem}" if problem else "answers again")

    def _report_signature(self, failure: SignatureOutcome) -> None:
        """Count a signature that proved nothing; log it once a minute if it may be the site that is wrong."""
        self.telemetry.metrics.signature_failures.labels(failure.value).inc()
        if failure in _OUR_SIGNATURE_FAULTS and monotonic() >= self._next_signature_line:
            self._next_signature_line = monotonic() + _COMPLAINT_SECONDS
            _log.warning("signatures of agents prove nothing: %s", REASONS[failure])

    def _report_doubt(self, doubt: str) -> None:
        """Count a claim that no address could prove, and say so once."""
        self.telemetry.metrics.identity_doubts.labels(doubt).inc()
        if doubt not in self._doubts_reported:
            self._doubts_reported.add(doubt)
            _log.warning("%s (this is said once; the metric noai_identity_doubts_total counts)", _DOUBTS[doubt])

    def _report_stopped(self, stopped: frozenset[str]) -> None:
        """Show the operators whose claims are let in although they fail, and log a change."""
        before, self._stopped_reported = self._stopped_reported, stopped
        for operator in stopped | before:
            self.telemetry.metrics.identity_stopped.labels(operator).set(operator in stopped)
        for operator in stopped - before:
            _log.error(
                "so many claims to be an agent of %s fail, from so few addresses, that these are probably a proxy's: "
                "they are let in until one is proven. Name your proxies under trusted_proxies",
                operator,
            )

    def client(self, request: Request, active: ActivePolicy) -> ClientAddress:
        """Return the client's address, through the proxies that the policy trusts; count it if there is a problem."""
        trusted = active.compiled.policy.trusted_proxies
        # All headers: a proxy's own line may stand behind 300 of the client's.
        client, is_rewritten = SeenClient(request.peer, request.headers, trusted, self._peer_is_real).seen()
        if is_rewritten:
            self._report_rewriting()
        elif client.problem and trusted.header:
            self.telemetry.metrics.address_problems.labels(client.problem).inc()
        return client

    def report_nesting(self) -> None:
        """Say, once, that another guard has judged the same request before."""
        if not self._nesting_reported:
            self._nesting_reported = True
            _log.warning(
                "a guard stands within another guard: both judge and declare, and the stricter verdict counts; "
                "take one away, unless two policies are meant"
            )

    def _look_for_caches(self, active: ActivePolicy, request: Request) -> None:
        """Count a shared cache that the policy does not name, and say so once. Never raises.

        Once a second, on whichever request; and on the first refusal of a kind, which a cache could keep for others,
        and every 16th after it: a look costs a fifth of a refusal (instructions counted, 2026-11-29).
        """
        if active.compiled.policy.shared_cache:
            return
        try:
            for cache, field in shared_caches(request.headers).items():
                self._report_cache(cache, "not_in_policy", _SHARED_CACHE, cache, field)
            if request.user_agent == HIDDEN_USER_AGENT:
                self._report_cache("cloudfront", "user_agent_hidden", _USER_AGENT_HIDDEN)
        except Exception as error:
            self.telemetry.failed("noting", error)

    def _report_cache(self, cache: str, problem: str, text: str, *values: str) -> None:
        self.telemetry.metrics.shared_caches.labels(cache, problem).inc()
        if (cache, problem) not in self._caches_reported:
            self._caches_reported.add((cache, problem))
            _log.warning(text, *values)

    def _report_rewriting(self) -> None:
        if not self._rewriting_reported:
            self._rewriting_reported = True
            _log.warning(
                "the server has already replaced the client's address from X-Forwarded-For (uvicorn does, for "
                "peers in FORWARDED_ALLOW_IPS): start it with --no-proxy-headers and name your proxies under "
                "trusted_proxies, else an address in logs, limits and exemptions is only as true as its setting"
            )

    def document_response(self, served: ServeDocument, request: Request, own_robots: OwnFile) -> Response:
        """Return the response with a document. robots.txt is merged with the site's own."""
        document, compiled = served.document, served.active.compiled
        if document.path == robots_txt.PATH and compiled.merges_robots:
            if isinstance(own_robots, Elsewhere):
                self._report([_ROBOTS_ELSEWHERE])
                return redirect_response(own_robots.address)
            if own_robots is None:
                return unknown_robots_response(document, request.method)
            self.remember_robots_reader(served.active, request)
            document = compiled.merged_robots[own_robots]
            self._report(document.notes)
        elif document.path == robots_txt.PATH:
            self.remember_robots_reader(served.active, request)
        self.telemetry.metrics.documents.labels(document.path).inc()
        alternatives = compiled.promised.alternatives.get(document.path, NO_ALTERNATIVES)
        response = document_response(document, request.method, request.headers, alternatives)
        self.record_document(served.active, request, document.path, response)
        return response

    def verdict_on_ourselves(self, active: ActivePolicy, path: str) -> Verdict:
        """Return the verdict that the app sees when it is asked for its own robots.txt. Never raises."""
        try:
            table = active.compiled.guard.table
            # No agent: our user agent is a single word, and what a policy says of the nameless is not meant for us.
            return table.verdict(None, table.path_classes[path])
        except Exception as error:
            self.telemetry.failed("robots_txt", error)
            return active.undecidable.cached.verdict

    def _report(self, notes: Iterable[str]) -> None:
        """Log each sentence about the merged robots.txt once."""
        for note in notes:
            if note not in self._reported_notes and len(self._reported_notes) < _MAX_REPORTED_NOTES:
                self._reported_notes.add(note)
                _log.warning("%s", note)

    def remember_robots_reader(self, active: ActivePolicy, request: Request) -> None:
        """Remember that the client has read robots.txt. Never raises."""
        try:
            agent = agent_of(active.claims[request.claim_key])
            if agent is not None:
                block = address_block(self.client(request, active).address)
                self._robots_readers.put((agent.name, block), True, monotonic())
                if self.store.remote is not None:
                    self.store.remote.share(f"{agent.name}|{block}")
        except Exception as error:
            self.telemetry.failed("robots_txt", error)

    def learn_robots_readers(self) -> None:
        """Remember who has read robots.txt at other workers that share the store. Never raises."""
        try:
            remote = self.store.remote
            for member, age in remote.take_shared() if remote is not None else ():
                agent, _, block = member.rpartition("|")
                self._robots_readers.put((agent, block), True, monotonic() - age)
        except Exception as error:
            self.telemetry.failed("robots_txt", error)

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
        self.complain()
        self.start()
        self._look_for_caches(self.active, request)

    def handle_hangup(self) -> None:
        """Reload on SIGHUP from now on, if the policy says so; do nothing if that is arranged already."""
        if self._handles_hangup or not self._file or self.compiled.policy.reload == "off":
            return
        self._handles_hangup = True
        try:
            soon = _scheduler()
            previous = signal.getsignal(signal.SIGHUP)

            def hangup(number: int, frame: FrameType | None) -> None:
                with suppress(RuntimeError):  # the loop is closed
                    soon(self._reload_soon)
                if callable(previous):
                    previous(number, frame)

            signal.signal(signal.SIGHUP, hangup)
        except (AttributeError, ValueError) as error:
            _log.warning("SIGHUP cannot be handled here (%s); reload is by file change or not at all", error)

    def _reload_soon(self) -> None:
        """Reload in a thread; while one reload is waiting, further demands are met by it."""
        if not self._reload_due:
            self._reload_due = True
            threading.Thread(target=self.reload, name="noai-guard-reload", daemon=True).start()

    def _watch(self, files: Iterable[str]) -> bool:
        """Watch these files, and return True if some were not watched before.

        What was seen of one before it was read stays, so that no change is missed.
        """
        files = tuple(files)
        new = file_identities(file for file in files if file not in self._seen)
        self._seen = {file: self._seen.get(file, new.get(file, ())) for file in files}
        return bool(new)

    def _watch_too(self, files: Iterable[str]) -> bool:
        return self._watch(dict.fromkeys((*self._seen, *files)))

    def reload_if_changed(self) -> None:
        """Reload if the policy is to be watched and its file, or one that it names, has changed or is gone."""
        if self._file is not None and self.compiled.policy.reload == "watch":
            seen = file_identities(self._seen)
            if seen != self._seen:
                self._seen = seen
                self.reload()

    def _asking(self, policy: Policy) -> Policy:
        """Return a policy that is loaded, in which a function is asked what is wished, if there is one."""
        if self.asked is None:
            return policy
        if not policy.works.patterns:
            _log.warning(
                "wishes=: the function is never asked, because the policy says of no path which work it is; write "
                'works: ["/audio/{work}.mp3"] into noai.yaml, and name that file as policy='
            )
        return replace(policy, creators=replace(policy.creators, asked=True, index=None))

    def _use_wishes(self, creators: Creators, index: WishIndex) -> None:
        """Put other wishes in force, unless the policy has been replaced meanwhile: the guard at once, then the
        documents that name works."""
        with self._reloading:
            loaded = self.promises.loaded
            if loaded is None or loaded.creators is not creators:
                return
            policy = replace(loaded, creators=replace(creators, index=index))
            if len(index.listed) > _MANY_LISTED:
                self._activate(self.promises.compiled(policy, documents_of=self.compiled))
            self._activate(self.promises.compiled(policy))
            self.wishes.follow(policy)

    def renew_promises(self) -> None:
        """Put in force what the ledger says now. The last good policy stays if that fails."""
        with self._reloading:
            if self.promises.loaded is not None:
                self._activate(self.promises.compiled(self.promises.loaded))

    def reload(self) -> bool:
        """Read the policy file again, and the catalogue if its files changed.

        Return True if the new policy took the place of the old one at once; if it cannot be used, the old one stays, a
        metric rises and the problems are logged.
        """
        if self._file is None:
            return False
        with self._reloading:
            self._reload_due = False
            try:
                rules_source().reload()
                policy = _policy_to_reload(self._file, self._watch_too)
                compiled = self.promises.compiled(self._asking(policy))
                self.store.use(compiled.policy)
                self.wishes.follow(compiled.policy)
            except Exception as error:
                _log.error("the policy was not reloaded, the last good one stays in force:\n%s", problems_of(error))
                self.telemetry.reload_failed(problems_of(error))
                if isinstance(error, Invalid):
                    # A file of the catalogue that has to be mended may be in no list yet.
                    self._watch_too(problem.file for problem in error.problems if problem.file)
                return False
            self._activate(compiled)
            self.start_error = None
            self.telemetry.reload_succeeded()
            _log.info("the policy was reloaded from %s", self._file)
            return True


def _loaded(policy: str | Path | Policy | None) -> Policy:
    """Return a policy. Raises PolicyInvalid or CatalogInvalid, with every problem."""
    if policy is None:
        return load_stance()
    return policy if isinstance(policy, Policy) else load_policy(policy)


def compiled_policy(policy: str | Path | Policy | None) -> CompiledPolicy:
    """Return a policy, ready to be put in force. Raises PolicyInvalid or CatalogInvalid, with every problem."""
    loaded = _loaded(policy)
    return CompiledPolicy(loaded, catalog_of(loaded), today())


def _packaged_policy() -> CompiledPolicy:
    """Return the packaged no-ai stance; where not even the packaged files can be used, one that refuses nobody."""
    try:
        return compiled_policy(None)
    except Exception:
        usages = {usage: Action.DENY if usage in AI_USAGES else Action.ALLOW for usage in Usage}
        return CompiledPolicy(Policy("no-ai", usages), Catalog(()), today())


def problems_of(error: Exception) -> str:
    """Return why a policy could not be used, a line for each problem."""
    return str(error) if isinstance(error, Invalid) else f"{type(error).__name__}: {error}"


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


def _scheduler() -> Callable[[Callable[[], None]], object]:
    """Return what a signal handler hands work to: the running event loop, or, without one, a direct call."""
    try:
        return asyncio.get_running_loop().call_soon_threadsafe
    except RuntimeError:
        return lambda call: call()


def _policy_to_reload(file: Path, watch: Callable[[Iterable[str]], bool]) -> Policy:
    """Load a policy as `load_policy` does, except that an empty file is not the packaged stance: an editor is about to
    write it.

    `watch` is given the files that it names, and returns True if some were not watched: these may have changed since
    they were read, so all is read again.
    """
    policy, problems = check_policy(file)
    while watch(policy.files if policy else [problem.file for problem in problems if problem.file]):
        policy, problems = check_policy(file)
    if policy is None or any(problem.code == "P021" for problem in problems):
        raise PolicyInvalid(problems)
    return policy
