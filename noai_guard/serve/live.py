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

from noai_guard.client_address import NOBODY, ClientAddress, address_block, client_address, proxy_headers_rewritten
from noai_guard.day import today
from noai_guard.errors import Invalid, PolicyInvalid
from noai_guard.front import Front
from noai_guard.loading import check_policy, load_catalog, load_policy, load_stance
from noai_guard.memo import Memo
from noai_guard.model import Action, Agent, Document, HeaderField, Identity, Mode, Request, Response, Verdict
from noai_guard.policy import Policy, Zone
from noai_guard.ports import Answer, Examination, Question
from noai_guard.request_path import MAX_RAW_PATH, normal_path
from noai_guard.serve.raw_request import MOST_HEADERS, RawRequest
from noai_guard.serve.standing import Judged, Place, Published, Standing
from noai_guard.telemetry import Telemetry, decisions, log_decision
from noai_guard.version import __version__

_log = logging.getLogger("noai_guard")

TIMED_MASK = 15
"""Of the requests with one kind of verdict, the first and every 16th after it are timed: reading the
clock again and adding to the histogram costs as much as judging."""

_CHORES_SECONDS = 1.0
_MOST_ROBOTS_READERS = 4096


class PathTooLong(Exception):
    """Behind what is read of such a path, dot segments could still lead anywhere."""


class LiveGuard:
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
        self.telemetry = Telemetry.of(registry)
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
        self._use(Front(loaded, load_catalog(), today()))

    def _use(self, front: Front) -> None:
        def standing(verdict: Verdict) -> Standing:
            return self._standing(front, verdict)

        after: Memo[Verdict, Standing] = Memo(standing)
        by_zone: Memo[Zone, Memo[Agent | None, Standing]] = Memo(
            lambda zone: Memo(lambda agent: standing(zone.verdicts[agent]))
        )

        def place(raw: str) -> Place:
            if len(raw) > MAX_RAW_PATH:
                raise PathTooLong
            path = normal_path(raw)
            published = next((where for where in front.documents if path.endswith(where)), None)
            document = front.documents[published] if published else None
            root = path.removesuffix(published or "")
            zone = front.guard.plan.zones[path]
            return Place(path, document, root, zone, by_zone[zone])

        # One assignment: a request that has read it sees one policy from beginning to end.
        self._live = front, Memo(place), front.guard.agents, after
        self._reloads = self._file is not None and front.policy.reload != "off"
        self._unjudged = self._prepared(front, front.policy.on_unknown, "the guard failed")
        self._too_long = self._prepared(front, Action.DENY, "the path is too long to be judged")
        catalog = front.catalog
        self.telemetry.in_force(
            __version__, front.policy.stance, front.policy.mode, catalog.version, len(catalog.agents), front.policy
        )

    def _standing(self, front: Front, verdict: Verdict) -> Standing:
        return Standing(front, verdict, self.telemetry.cell(verdict, self._threads))

    def _prepared(self, front: Front, action: Action, why: str) -> tuple[Standing, Response | None]:
        """What a request gets that could not be judged; made beforehand, because then nothing may fail."""
        enforced = front.policy.mode is Mode.ENFORCE
        verdict = Verdict(action, "unjudged", None, None, Identity.UNCLAIMED, (why,), 0, enforced)
        refusal = front.refusal(verdict, "/", "GET", ()) if verdict.refuses else None
        return self._standing(front, verdict), refusal

    @property
    def front(self) -> Front:
        """The policy in force, ready to serve."""
        return self._live[0]

    def judge(self, request: RawRequest) -> Examination[Published | Judged]:
        """Judges one request, counts and notes it. Never raises, whatever the request holds.

        Who sends a refusal adds its body's length to the cell's `bytes`.
        """
        started = perf_counter()
        user_agent = b""
        zone: Zone | None = None
        refusal: Response | None = None
        lasts = True
        try:
            if started >= self._next_chores:
                self._do_chores(started)
            front, places, agents, after = self._live
            place = places[request.path]
            user_agent = request.user_agent()
            if place.document is not None and place.publishes(request.method, request.root_path):
                return Published(front, place.document, user_agent)
            standing = place.standings[agents[user_agent]]
            if not standing.settled:
                examination = self._examination(front, request, place.path, user_agent)
                verdict, lasts = yield from _with_questions_seen(examination)
                standing = after[verdict]
            zone = place.zone
            if standing.verdict.refuses:
                refusal = front.refusal(standing.verdict, place.path, request.method, request.headers[:MOST_HEADERS])
        except Exception as error:
            standing, refusal = self._unjudgeable(error)
            lasts = False
        cell = standing.cell
        seconds = perf_counter() - started
        with self.telemetry.counting:
            if not cell.requests & TIMED_MASK:
                self.telemetry.judged_in(seconds)
            cell.requests += 1
        if not standing.plain:
            self._note(request, standing, user_agent)
        return Judged(standing, refusal, user_agent, lasts, zone)

    def _examination(self, front: Front, request: RawRequest, path: str, user_agent: bytes) -> Examination[Verdict]:
        address = self._client(request.client, request.headers, front).address
        return front.guard.examine(Request(path, user_agent, request.method, address, monotonic()))

    def _unjudgeable(self, error: Exception) -> tuple[Standing, Response | None]:
        """What is done where judging fails: never a 500."""
        if isinstance(error, PathTooLong):
            return self._too_long
        self.telemetry.failed("judging", error)
        return self._unjudged

    def _unanswered(self, question: Question, error: Exception) -> None:
        self.telemetry.backend_failures.labels(type(question).__name__).inc()
        _log.warning("a backend could not answer %s: %s", type(question).__name__, error)

    def _client(self, client: Sequence[object] | None, headers: list[HeaderField], front: Front) -> ClientAddress:
        trusted = front.policy.trusted_proxies
        if self._served_by_anybody and proxy_headers_rewritten(client, headers[:MOST_HEADERS]):
            # The peer is not the socket's but text from a header: no reason to believe more of them.
            trusted = NOBODY
            self._tell_rewritten()
        # All headers: a proxy's own line may stand behind 300 of the client's.
        found = client_address(client[0] if client else None, headers, trusted)  # type: ignore[arg-type]
        if found.problem and trusted.header:
            self.telemetry.address_problems.labels(found.problem).inc()
        return found

    def _tell_rewritten(self) -> None:
        if not self._told_rewritten:
            self._told_rewritten = True
            _log.warning(
                "the server has already replaced the client's address from X-Forwarded-For (uvicorn does, for "
                "peers in FORWARDED_ALLOW_IPS): start it with --no-proxy-headers and name your proxies under "
                "trusted_proxies, else an address in logs, limits and exemptions is only as true as its setting"
            )

    def _note(self, request: RawRequest, standing: Standing, user_agent: bytes) -> None:
        """What is remembered of a request that was not plainly let in."""
        verdict = standing.verdict
        refused = verdict.action.strictness >= Action.LICENSE_REQUIRED.strictness
        logs = decisions.isEnabledFor(logging.INFO)
        try:
            if verdict.action.strictness >= Action.THROTTLE.strictness:
                self.telemetry.note_refusal(verdict, request.method, request.path, user_agent)
            if not logs and not (refused and self._robots_readers):
                return
            client = self._client(request.client, request.headers, self.front)
            agent = verdict.agent.name if verdict.agent else ""
            if refused and (agent, address_block(client.address)) in self._robots_readers:
                with self.telemetry.counting:
                    standing.cell.robots_ignored += 1
            if logs:
                path = normal_path(request.path[:MAX_RAW_PATH])
                host = request.value(b"host")[:256].decode("latin-1")
                log_decision(verdict, request.method, path, user_agent, client, host)
        except Exception as error:
            self.telemetry.failed("noting", error)

    def _robots_read(self, front: Front, request: RawRequest, user_agent: bytes) -> None:
        """Remembers that the client has read robots.txt."""
        try:
            agent = front.guard.agents[user_agent]
            if agent is not None:
                if len(self._robots_readers) >= _MOST_ROBOTS_READERS:
                    self._robots_readers.clear()
                block = address_block(self._client(request.client, request.headers, front).address)
                self._robots_readers[agent.name, block] = None
        except Exception as error:
            self.telemetry.failed("robots_txt", error)

    def _robots(self, front: Front, own: Document, existing: bytes | None) -> Document:
        """Our robots.txt, merged with the site's own where there is one."""
        return own if existing is None or not front.merges_robots else front.merged_robots[existing]

    def _fold(self) -> None:
        try:
            self.telemetry.fold()
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
        self.telemetry.keep_folding()
        if not self._reloads:
            return
        if not self._listens:
            self._listen_for_hangup()
        if self.front.policy.reload == "watch" and self._watched_in != os.getpid():
            self._watched_in = os.getpid()
            threading.Thread(target=_watch, args=(ref(self),), name="noai-guard-watch", daemon=True).start()

    def look_at_file(self) -> bool:
        """Reloads when the file has changed. Returns whether it is still to be watched."""
        if self._reloads and self.front.policy.reload == "watch":
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
                front = Front(_policy_to_reload(self._file), load_catalog(), today())
            except Exception as error:
                problems = str(error) if isinstance(error, Invalid) else f"{type(error).__name__}: {error}"
                _log.error("the policy was not reloaded, the last good one stays in force:\n%s", problems)
                self.telemetry.reloads.labels("failed").inc()
                self.telemetry.reload_failed.set(1)
                return False
            self._use(front)
            self.telemetry.reloads.labels("ok").inc()
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


def _watch(guard: "ref[LiveGuard]") -> None:
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
