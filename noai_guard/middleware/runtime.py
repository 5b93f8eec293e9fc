"""What every driver stands on: the policy in force and how another takes its place, what is known in advance of
requests, and what is remembered of them."""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, perf_counter
from types import FrameType
from weakref import ref

from prometheus_client import CollectorRegistry

from noai_guard.build_date import today
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy, load_catalog, load_policy, load_stance
from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.client_address import NOBODY, ClientAddress, address_block, client_address, proxy_headers_rewritten
from noai_guard.core.model import Action, Agent, Document, HeaderField, Identity, Mode, Request, Response, Verdict
from noai_guard.core.paths import MAX_RAW_PATH, normal_path
from noai_guard.core.policy import PathClass, Policy
from noai_guard.core.questions import Answer, Examination, Question
from noai_guard.errors import Invalid, PolicyInvalid
from noai_guard.middleware.cached_decisions import CachedDecision, Decided, ResolvedPath, ServeDocument
from noai_guard.middleware.request import MOST_HEADERS, RawRequest
from noai_guard.observability.events import Event
from noai_guard.observability.metrics import Telemetry

_log = logging.getLogger("noai_guard")

TIMED_MASK = 15
"""Of the requests with one kind of verdict, the first and every 16th after it are timed: reading the
clock again and adding to the histogram costs as much as judging."""

_CHORES_SECONDS = 1.0
_MOST_ROBOTS_READERS = 4096


class PathTooLong(Exception):
    """Behind what is read of such a path, dot segments could still lead anywhere."""


class GuardRuntime:
    """The guard of a running site, without any server's interface; drivers inherit from it.

    `policy` is a path to a noai.yaml, a Policy, or None for the packaged no-ai stance. `registry` is the
    Prometheus registry (the default one when None). Raises PolicyInvalid, with every problem, when the policy
    cannot be used at start; later a broken file leaves the last good policy running.

    A driver makes a RawRequest, carries `judge` to its end with `run` or `arun` and sends what comes out. With
    `threads` it may do so in several threads at once. The ASGI driver has the steps of `judge` in line, because a
    generator and a RawRequest for each request would cost as much as all of its judging.
    """

    _served_by_anybody = True
    """False where we start the server ourselves, and it leaves the peer's address alone."""

    def __init__(
        self,
        policy: str | Path | Policy | None = None,
        *,
        registry: CollectorRegistry | None = None,
        threads: bool = False,
    ) -> None:
        self.telemetry = Telemetry(registry)
        self._threads = threads
        self._file = Path(policy) if isinstance(policy, (str, Path)) else None
        self._next_chores = 0.0
        self._choosing_who_does_chores = threading.Lock()
        self._robots_readers: dict[tuple[str, str], None] = {}
        self._told_rewritten = False
        self._reloading = threading.Lock()
        self._modified = self._file_time()
        self._listens = False
        self._reload_due = False
        self._watched_in = 0
        if policy is None:
            loaded = load_stance()
        else:
            loaded = policy if isinstance(policy, Policy) else load_policy(policy)
        self._use(CompiledPolicy(loaded, load_catalog(), today()))

    def _use(self, compiled: CompiledPolicy) -> None:
        def cached(verdict: Verdict) -> CachedDecision:
            return self._standing(compiled, verdict)

        after: BoundedCache[Verdict, CachedDecision] = BoundedCache(cached)
        by_path_class: BoundedCache[PathClass, BoundedCache[Agent | None, CachedDecision]] = BoundedCache(
            lambda path_class: BoundedCache(lambda agent: cached(path_class.verdicts[agent]))
        )

        def resolved(raw: str) -> ResolvedPath:
            if len(raw) > MAX_RAW_PATH:
                raise PathTooLong
            path = normal_path(raw)
            published = next((where for where in compiled.documents if path.endswith(where)), None)
            document = compiled.documents[published] if published else None
            root = path.removesuffix(published or "")
            path_class = compiled.guard.table.path_classes[path]
            return ResolvedPath(path, document, root, path_class, by_path_class[path_class])

        # One assignment: a request that has read it sees one policy from beginning to end.
        self._live = compiled, BoundedCache(resolved), compiled.guard.agents, after
        self._reloads = self._file is not None and compiled.policy.reload != "off"
        self._unjudged = self._prepared(compiled, compiled.policy.on_unknown, "the guard failed")
        self._too_long = self._prepared(compiled, Action.DENY, "the path is too long to be judged")
        catalog = compiled.catalog
        self.telemetry.set_policy(compiled.policy, catalog.version, len(catalog.agents))

    def _standing(self, compiled: CompiledPolicy, verdict: Verdict) -> CachedDecision:
        return CachedDecision(compiled, verdict, self.telemetry.counts(verdict, self._threads))

    def _prepared(self, compiled: CompiledPolicy, action: Action, why: str) -> tuple[CachedDecision, Response | None]:
        """What a request gets that could not be judged; made beforehand, because then nothing may fail."""
        enforced = compiled.policy.mode is Mode.ENFORCE
        verdict = Verdict(action, "unjudged", None, None, Identity.UNCLAIMED, (why,), 0, enforced)
        refusal = compiled.refusal(verdict, "/", "GET", ()) if verdict.refuses else None
        return self._standing(compiled, verdict), refusal

    @property
    def compiled(self) -> CompiledPolicy:
        """The policy in force, ready to serve."""
        return self._live[0]

    def judge(self, request: RawRequest) -> Examination[ServeDocument | Decided]:
        """Judges one request, counts and notes it. Never raises, whatever the request holds.

        Who sends a refusal adds its body's length to the cell's `bytes`.
        """
        started = perf_counter()
        user_agent = b""
        path_class: PathClass | None = None
        refusal: Response | None = None
        lasts = True
        try:
            if started >= self._next_chores:
                self._do_chores(started)
            compiled, resolved_paths, agents, after = self._live
            resolved = resolved_paths[request.path]
            user_agent = request.user_agent()
            if resolved.document is not None and resolved.publishes(request.method, request.root_path):
                return ServeDocument(compiled, resolved.document, user_agent)
            cached = resolved.decisions[agents[user_agent]]
            if not cached.settled:
                examination = self._examination(compiled, request, resolved.path, user_agent)
                verdict, lasts = yield from _with_questions_seen(examination)
                cached = after[verdict]
            path_class = resolved.path_class
            if cached.verdict.refuses:
                refusal = compiled.refusal(
                    cached.verdict, resolved.path, request.method, request.headers[:MOST_HEADERS]
                )
        except Exception as error:
            cached, refusal = self._unjudgeable(error)
            lasts = False
        counts = cached.counts
        seconds = perf_counter() - started
        with self.telemetry.counting:
            if not counts.requests & TIMED_MASK:
                self.telemetry.judged_in(seconds)
            counts.requests += 1
        if not cached.plain:
            self._note(request, cached, user_agent)
        return Decided(cached, refusal, user_agent, lasts, path_class)

    def _examination(
        self, compiled: CompiledPolicy, request: RawRequest, path: str, user_agent: bytes
    ) -> Examination[Verdict]:
        address = self._client(request.client, request.headers, compiled).address
        return compiled.guard.examine(Request(path, user_agent, request.method, address, monotonic()))

    def _unjudgeable(self, error: Exception) -> tuple[CachedDecision, Response | None]:
        """What is done where judging fails: never a 500."""
        if isinstance(error, PathTooLong):
            return self._too_long
        self.telemetry.failed("judging", error)
        return self._unjudged

    def _unanswered(self, question: Question, error: Exception) -> None:
        self.telemetry.metrics.backend_failures.labels(type(question).__name__).inc()
        _log.warning("a backend could not answer %s: %s", type(question).__name__, error)

    def _client(
        self, client: Sequence[object] | None, headers: list[HeaderField], compiled: CompiledPolicy
    ) -> ClientAddress:
        trusted = compiled.policy.trusted_proxies
        if self._served_by_anybody and proxy_headers_rewritten(client, headers[:MOST_HEADERS]):
            # The peer is not the socket's but text from a header: no reason to believe more of them.
            trusted = NOBODY
            self._tell_rewritten()
        # All headers: a proxy's own line may stand behind 300 of the client's.
        found = client_address(client[0] if client else None, headers, trusted)  # type: ignore[arg-type]
        if found.problem and trusted.header:
            self.telemetry.metrics.address_problems.labels(found.problem).inc()
        return found

    def _tell_rewritten(self) -> None:
        if not self._told_rewritten:
            self._told_rewritten = True
            _log.warning(
                "the server has already replaced the client's address from X-Forwarded-For (uvicorn does, for "
                "peers in FORWARDED_ALLOW_IPS): start it with --no-proxy-headers and name your proxies under "
                "trusted_proxies, else an address in logs, limits and exemptions is only as true as its setting"
            )

    def _note(self, request: RawRequest, cached: CachedDecision, user_agent: bytes) -> None:
        """What is remembered of a request that was not plainly let in."""
        verdict = cached.verdict
        refused = verdict.action.refuses
        try:
            noted = self.telemetry.wants(verdict)
            if not noted and not (refused and self._robots_readers):
                return
            client = self._client(request.client, request.headers, self.compiled)
            agent = verdict.agent.name if verdict.agent else ""
            if refused and (agent, address_block(client.address)) in self._robots_readers:
                with self.telemetry.counting:
                    cached.counts.robots_ignored += 1
            if noted:
                path = normal_path(request.path[:MAX_RAW_PATH])
                host = request.value(b"host")[:256].decode("latin-1")
                self.telemetry.note(Event(time.time(), verdict, request.method, host, path, user_agent, client))
        except Exception as error:
            self.telemetry.failed("noting", error)

    def _robots_read(self, compiled: CompiledPolicy, request: RawRequest, user_agent: bytes) -> None:
        """Remembers that the client has read robots.txt."""
        try:
            agent = compiled.guard.agents[user_agent]
            if agent is not None:
                if len(self._robots_readers) >= _MOST_ROBOTS_READERS:
                    self._robots_readers.clear()
                block = address_block(self._client(request.client, request.headers, compiled).address)
                self._robots_readers[agent.name, block] = None
        except Exception as error:
            self.telemetry.failed("robots_txt", error)

    def _robots(self, compiled: CompiledPolicy, own: Document, existing: bytes | None) -> Document:
        """Our robots.txt, merged with the site's own where there is one."""
        return own if existing is None or not compiled.merges_robots else compiled.merged_robots[existing]

    def _flush(self) -> None:
        try:
            self.telemetry.metrics.flush()
        except Exception as error:
            _log.error("noai-guard could not write its metrics", exc_info=error)

    def _file_time(self) -> float:
        try:
            return self._file.stat().st_mtime_ns if self._file else 0.0
        except OSError:
            return 0.0

    def _do_chores(self, now: float) -> None:
        """What is looked after at the start and once a second while requests come, by one thread of those that come."""
        with self._choosing_who_does_chores:
            if now < self._next_chores:
                return
            self._next_chores = now + _CHORES_SECONDS
        self.telemetry.metrics.keep_flushing()
        if not self._reloads:
            return
        if not self._listens:
            self._listen_for_hangup()
        if self.compiled.policy.reload == "watch" and self._watched_in != os.getpid():
            self._watched_in = os.getpid()
            threading.Thread(target=_watch, args=(ref(self),), name="noai-guard-watch", daemon=True).start()

    def look_at_file(self) -> bool:
        """Reloads when the file has changed. Returns whether it is still to be watched."""
        if self._reloads and self.compiled.policy.reload == "watch":
            modified = self._file_time()
            if modified and modified != self._modified:
                self._modified = modified
                self.reload()
            return True
        self._watched_in = 0
        return False

    def _listen_for_hangup(self) -> None:
        self._listens = True
        try:
            soon = _soon()
            before = signal.getsignal(signal.SIGHUP)

            def hangup(number: int, frame: FrameType | None) -> None:
                with suppress(RuntimeError):  # the loop is closed
                    soon(self._reload_soon)
                if callable(before):
                    before(number, frame)

            signal.signal(signal.SIGHUP, hangup)
        except (AttributeError, ValueError) as error:
            _log.warning("SIGHUP cannot be listened to here (%s); reload is by file change or not at all", error)

    def _reload_soon(self) -> None:
        """Reloads in a thread; of many demands while one is waiting, one is met."""
        if not self._reload_due:
            self._reload_due = True
            threading.Thread(target=self.reload, name="noai-guard-reload", daemon=True).start()

    def reload(self) -> bool:
        """Reads the policy file again. The new policy replaces the old one at once, or, when it cannot be used,
        the old one stays, a metric rises and the problems are logged. Returns whether it was replaced."""
        if self._file is None:
            return False
        with self._reloading:
            self._reload_due = False
            try:
                compiled = CompiledPolicy(_policy_to_reload(self._file), load_catalog(), today())
            except Exception as error:
                problems = str(error) if isinstance(error, Invalid) else f"{type(error).__name__}: {error}"
                _log.error("the policy was not reloaded, the last good one stays in force:\n%s", problems)
                self.telemetry.reload_failed()
                return False
            self._use(compiled)
            self.telemetry.reload_succeeded()
            _log.info("the policy was reloaded from %s", self._file)
            return True


def _with_questions_seen(examination: Examination[Verdict]) -> Examination[tuple[Verdict, bool]]:
    """The verdict, and whether nobody had to be asked for it."""
    answer: Answer = None
    unasked = True
    try:
        while True:
            question = examination.send(answer)
            unasked = False
            answer = yield question
    except StopIteration as done:
        return done.value, unasked


def _soon() -> Callable[[Callable[[], None]], object]:
    """How a signal handler has something done: by the event loop where one runs, else at once."""
    try:
        return asyncio.get_running_loop().call_soon_threadsafe
    except RuntimeError:
        return lambda call: call()


def _watch(guard: "ref[GuardRuntime]") -> None:
    """Looks at a guard's policy file as long as the guard is there and wants it; also while nobody visits."""
    while (watched := guard()) is not None and watched.look_at_file():
        del watched
        time.sleep(_CHORES_SECONDS)  # not imported by name: gevent replaces it, perhaps after this module was read


def _policy_to_reload(file: Path) -> Policy:
    """As `load_policy`, but a file that says nothing is not the packaged stance: an editor is about to write it."""
    policy, problems = check_policy(file)
    if policy is None or any(problem.code == "P021" for problem in problems):
        raise PolicyInvalid(problems)
    return policy
