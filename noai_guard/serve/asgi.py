"""The guard as ASGI middleware.

Pure ASGI: nothing is buffered, every message that is not ours to change goes through as the same object, and
`send` is wrapped once. Only `http.response.start` is replaced (by a new message, the app's is not touched) and,
for HTML pages that get metas, body messages.
"""

import asyncio
import logging
import os
import signal
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter, sleep
from types import FrameType
from weakref import ref

from prometheus_client import CollectorRegistry

from noai_guard.backends.memory import MemoryBackend
from noai_guard.client_address import NOBODY, ClientAddress, address_block, client_address, proxy_headers_rewritten
from noai_guard.declarations import robots_txt
from noai_guard.errors import Invalid, PolicyInvalid, Unanswered
from noai_guard.front import Front, document_headers
from noai_guard.loading import check_policy, load_catalog, load_policy, load_stance
from noai_guard.matching import HEAD_BYTES, excerpt
from noai_guard.memo import Memo
from noai_guard.model import Action, Agent, Document, HeaderField, Identity, Mode, Request, Verdict
from noai_guard.policy import Policy, Zone
from noai_guard.ports import Answer, AsyncAnswerer, Question, arun
from noai_guard.refusal import Refusal
from noai_guard.request_path import MAX_RAW_PATH, normal_path
from noai_guard.serve.app_robots import apps_robots
from noai_guard.serve.asgi_response import MOST_HEADERS, Standing, declare, method_of
from noai_guard.serve.asgi_types import App, Message, Receive, Scope, Send
from noai_guard.telemetry import Cell, Telemetry, decisions, log_decision
from noai_guard.version import __version__

_log = logging.getLogger("noai_guard")

_JUDGED = "noai_guard.verdict"
"""The scope key that marks a request as judged, so that a guard inside a guard does nothing."""

_TIMED_MASK = 15
"""Of the requests with one kind of verdict, the first and every 16th after it are timed: reading the
clock again and adding to the histogram costs as much as judging."""

_CHORES_SECONDS = 1.0
_MOST_ROBOTS_READERS = 4096


class _Place:
    """Everything known in advance about one path, as the server hands it over.

    `document` is what is published there, provided that the app is mounted at `root`.
    """

    __slots__ = ("document", "path", "root", "standings")

    def __init__(
        self, path: str, document: Document | None, root: str, standings: Memo[Agent | None, Standing]
    ) -> None:
        self.path = path
        self.document = document
        self.root = root
        self.standings = standings


class _Backend:
    """The in-process backend, awaited."""

    def __init__(self) -> None:
        self._memory = MemoryBackend()

    async def answer(self, question: Question) -> Answer:
        return self._memory.answer(question)


class NoAIMiddleware:
    """`app.add_middleware(NoAIMiddleware)`, or `app = NoAIMiddleware(app)` to cover error pages too.

    `policy` is a path to a noai.yaml, a Policy, or None for the packaged no-ai stance. `registry` is the
    Prometheus registry (the default one when None). `backend` answers what the judge asks; in memory when None,
    and given `deadline` seconds for each answer. Raises PolicyInvalid, with every problem, when the policy
    cannot be used at start; later a broken file leaves the last good policy running.
    """

    def __init__(
        self,
        app: App,
        policy: str | Path | Policy | None = None,
        *,
        registry: CollectorRegistry | None = None,
        backend: AsyncAnswerer | None = None,
        deadline: float = 0.5,
    ) -> None:
        self.app = app
        self.telemetry = Telemetry.of(registry)
        self._file = Path(policy) if isinstance(policy, (str, Path)) else None
        self._backend: AsyncAnswerer = backend or _Backend()
        self._deadline = deadline
        self._next_chores = 0.0
        self._apps_robots: bytes | None = None
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
        self._use(Front(loaded, load_catalog()))

    def _use(self, front: Front) -> None:
        standing = partial(Standing, front, self.telemetry)
        after: Memo[Verdict, Standing] = Memo(standing)
        by_zone: Memo[Zone, Memo[Agent | None, Standing]] = Memo(
            lambda zone: Memo(lambda agent: standing(zone.verdicts[agent]))
        )

        def place(raw: str) -> _Place:
            if len(raw) > MAX_RAW_PATH:
                raise _PathTooLong
            path = normal_path(raw)
            published = next((where for where in front.documents if path.endswith(where)), None)
            document = front.documents[published] if published else None
            root = path.removesuffix(published or "")
            return _Place(path, document, root, by_zone[front.guard.plan.zones[path]])

        # One assignment: a request that has read it sees one policy from beginning to end.
        self._live = front, Memo(place), front.guard.agents, after
        self._reloads = self._file is not None and front.policy.reload != "off"
        self._unjudged = self._prepared(front, front.policy.on_unknown, "the guard failed")
        self._too_long = self._prepared(front, Action.DENY, "the path is too long to be judged")
        catalog = front.catalog
        self.telemetry.in_force(
            __version__, front.policy.stance, front.policy.mode, catalog.version, len(catalog.agents), front.policy
        )

    def _prepared(self, front: Front, action: Action, why: str) -> tuple[Standing, Refusal | None]:
        """What a request gets that could not be judged; made beforehand, because then nothing may fail."""
        enforced = front.policy.mode is Mode.ENFORCE
        verdict = Verdict(action, "unjudged", None, None, Identity.UNCLAIMED, (why,), 0, enforced)
        refusal = front.refusal(verdict, "/", "GET", ()) if verdict.refuses else None
        return Standing(front, self.telemetry, verdict), refusal

    @property
    def front(self) -> Front:
        """The policy in force, ready to serve."""
        return self._live[0]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if (kind != "http" and kind != "websocket") or _JUDGED in scope:
            await self.app(scope, receive, self._lifespan(send) if kind == "lifespan" else send)
            return
        started = perf_counter()
        document = refusal = None
        user_agent = b""
        try:
            if started >= self._next_chores:
                self._do_chores(started)
            front, places, agents, after = self._live
            place = places[scope["path"]]
            headers = scope["headers"]
            for name, value in headers if len(headers) <= MOST_HEADERS else headers[:MOST_HEADERS]:
                if name == b"user-agent":
                    user_agent = _joined(user_agent, value) if user_agent else value
            if not 0 < len(user_agent) <= HEAD_BYTES:
                headers, user_agent = _looked_at_again(headers, user_agent)
            if place.document is not None and kind == "http" and _is_published(place, scope):
                document = place.document
            else:
                standing = place.standings[agents[user_agent]]
                if not standing.settled:
                    standing = after[await self._examined(scope, front, place.path, user_agent)]
                if not standing.plain and standing.verdict.refuses:
                    refusal = front.refusal(standing.verdict, place.path, method_of(scope), headers[:MOST_HEADERS])
        except Exception as error:
            if type(scope.get("headers")) is not list:
                scope["headers"] = list(scope.get("headers") or ())
                await self(scope, receive, send)
                return
            standing, refusal = self._unjudgeable(error)
        if document is not None:
            await self._send_document(scope, send, front, document, user_agent)
            return
        cell = standing.cell
        if not cell.requests & _TIMED_MASK:
            self.telemetry.judged_in(perf_counter() - started)
        cell.requests += 1
        scope[_JUDGED] = verdict = standing.verdict
        try:
            scope["state"]["noai"] = verdict
        except (KeyError, TypeError):
            scope["state"] = {"noai": verdict}
        if not standing.plain:
            self._note(scope, standing, user_agent)
            if refusal is not None:
                await self._refuse(scope, receive, send, refusal, cell)
                return
        if kind == "http":
            # A partial of a module's function that returns the awaitable of the real send: as a method, a closure or
            # a coroutine it costs 6 to 8 % of a bare Starlette request more (instructions counted, 2026-11-23).
            send = partial(declare, self.telemetry, send, scope, standing, [])
        await self.app(scope, receive, send)

    def _unjudgeable(self, error: Exception) -> tuple[Standing, Refusal | None]:
        """What is done where judging fails: never a 500."""
        if isinstance(error, _PathTooLong):
            return self._too_long
        self.telemetry.failed("judging", error)
        return self._unjudged

    async def _examined(self, scope: Scope, front: Front, path: str, user_agent: bytes) -> Verdict:
        request = Request(
            path=path,
            user_agent=user_agent,
            method=method_of(scope),
            address=self._client(scope, front).address,
            received_at=monotonic(),
        )
        return await arun(front.guard.examine(request), self, self._unanswered)

    async def answer(self, question: Question) -> Answer:
        """Asks the backend, within the deadline; whatever goes wrong there is an Unanswered here."""
        try:
            async with asyncio.timeout(self._deadline):
                return await self._backend.answer(question)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            # pyo3's panics are no Exceptions, and a cancellation may be the backend's own.
            task = asyncio.current_task() if isinstance(error, asyncio.CancelledError) else None
            if task is not None and task.cancelling():
                raise
            raise Unanswered(f"{type(error).__name__}: {error}") from error

    def _unanswered(self, question: Question, error: Exception) -> None:
        self.telemetry.backend_failures.labels(type(question).__name__).inc()
        _log.warning("a backend could not answer %s: %s", type(question).__name__, error)

    def _client(self, scope: Scope, front: Front) -> ClientAddress:
        client = scope.get("client")
        trusted = front.policy.trusted_proxies
        if proxy_headers_rewritten(client, scope["headers"][:MOST_HEADERS]):
            # The peer is not the socket's but text from a header: no reason to believe more of them.
            trusted = NOBODY
            self._tell_rewritten()
        # All headers: a proxy's own line may stand behind 300 of the client's.
        found = client_address(client[0] if client else None, scope["headers"], trusted)
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

    def _note(self, scope: Scope, standing: Standing, user_agent: bytes) -> None:
        """What is remembered of a request that was not plainly let in."""
        verdict = standing.verdict
        refused = verdict.action.strictness >= Action.LICENSE_REQUIRED.strictness
        logs = decisions.isEnabledFor(logging.INFO)
        try:
            if verdict.action.strictness >= Action.THROTTLE.strictness:
                self.telemetry.note_refusal(verdict, method_of(scope), scope["path"], user_agent)
            if not logs and not (refused and self._robots_readers):
                return
            client = self._client(scope, self.front)
            agent = verdict.agent.name if verdict.agent else ""
            if refused and (agent, address_block(client.address)) in self._robots_readers:
                standing.cell.robots_ignored += 1
            if logs:
                host = next((value for name, value in scope["headers"][:MOST_HEADERS] if name == b"host"), b"")
                path = normal_path(scope["path"][:MAX_RAW_PATH])
                log_decision(verdict, method_of(scope), path, user_agent, client, host[:256].decode("latin-1"))
        except Exception as error:
            self.telemetry.failed("noting", error)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, refusal: Refusal, cell: Cell) -> None:
        """Sends the refusal; a websocket handshake is closed with 1008, which servers answer with 403.

        Not with the `websocket.http.response` extension: granian 2.8.7 ends when a header name stands twice in it,
        and uvicorn 0.54 logs an error each time (both tried 2026-11-23).
        """
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "refused by policy"})
            return
        body = b"" if method_of(scope) == "HEAD" else refusal.body
        cell.bytes += len(body)
        await send({"type": "http.response.start", "status": refusal.status, "headers": list(refusal.headers)})
        await send({"type": "http.response.body", "body": body})

    async def _send_document(
        self, scope: Scope, send: Send, front: Front, document: Document, user_agent: bytes
    ) -> None:
        if document.path == robots_txt.PATH:
            document = await self._robots(scope, front, document, user_agent)
        self.telemetry.documents.labels(document.path).inc()
        headers = document_headers(document)
        known = next((v for n, v in scope["headers"][:MOST_HEADERS] if n.lower() == b"if-none-match"), b"")
        etag = dict(headers)[b"etag"]
        if etag in known or known.strip() == b"*":
            headers = tuple(field for field in headers if field[0] not in (b"content-length", b"content-type"))
            await send({"type": "http.response.start", "status": 304, "headers": list(headers)})
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body", "body": b"" if method_of(scope) == "HEAD" else document.body})

    async def _robots(self, scope: Scope, front: Front, own: Document, user_agent: bytes) -> Document:
        """Our robots.txt, merged with the app's own when it has one (the last one when it fails now: without it,
        what the app disallows would be open); remembers who has read it."""
        try:
            agent = front.guard.agents[user_agent]
            if agent is not None:
                if len(self._robots_readers) >= _MOST_ROBOTS_READERS:
                    self._robots_readers.clear()
                block = address_block(self._client(scope, front).address)
                self._robots_readers[agent.name, block] = None
            if front.merges_robots:
                path = normal_path(scope["path"])
                verdict = front.guard.judged(path, user_agent)
                marks = {"path": path, "state": {**(scope.get("state") or {}), "noai": verdict}, _JUDGED: verdict}
                self._apps_robots = await apps_robots(self.app, scope, marks)
        except Exception as error:
            self.telemetry.failed("robots_txt", error)
        existing = self._apps_robots if front.merges_robots else None
        return own if existing is None else front.merged_robots[existing]

    def _lifespan(self, send: Send) -> Send:
        self._do_chores(perf_counter())

        async def watching(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                self._fold()
            await send(message)

        return watching

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
        """What is looked after at the start and once a second while requests come."""
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
            loop = asyncio.get_running_loop()
            before = signal.getsignal(signal.SIGHUP)

            def hangup(number: int, frame: FrameType | None) -> None:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(self._reload_soon)
                if callable(before):
                    before(number, frame)

            signal.signal(signal.SIGHUP, hangup)
        except (AttributeError, RuntimeError, ValueError) as error:
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
                front = Front(_policy_to_reload(self._file), load_catalog())
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


def _watch(guard: "ref[NoAIMiddleware]") -> None:
    """Looks at a guard's policy file as long as the guard is there and wants it; also while nobody visits."""
    while (watched := guard()) is not None and watched.look_at_file():
        del watched
        sleep(_CHORES_SECONDS)


def _policy_to_reload(file: Path) -> Policy:
    """As `load_policy`, but a file that says nothing is not the packaged stance: an editor is about to write it."""
    policy, problems = check_policy(file)
    if policy is None or any(problem.code == "P021" for problem in problems):
        raise PolicyInvalid(problems)
    return policy


def _is_published(place: _Place, scope: Scope) -> bool:
    """Whether a request is for the place's document: at the root of the host, or of an app mounted below it."""
    root = place.root
    return method_of(scope) in ("GET", "HEAD") and (not root or root == scope.get("root_path", "").rstrip("/"))


class _PathTooLong(Exception):
    """Behind what is read of such a path, dot segments could still lead anywhere."""


def _joined(first: bytes, second: bytes) -> bytes:
    return excerpt(first) + b"\n" + excerpt(second)


def _looked_at_again(headers: list[HeaderField], user_agent: bytes) -> tuple[list[HeaderField], bytes]:
    """Headers and user agent where the user agent is long or missing.

    A long one is cut to what is read of it. A missing one may be there in another spelling: servers can be told to
    leave names as they were sent (hypercorn's h11_pass_raw_headers).
    """
    if user_agent:
        return headers, excerpt(user_agent)
    lowered = [(name[:64].lower(), value) for name, value in headers[:MOST_HEADERS]]
    for name, value in lowered:
        if name == b"user-agent":
            user_agent = _joined(user_agent, value) if user_agent else value
    return lowered, excerpt(user_agent)


