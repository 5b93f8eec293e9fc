"""The guard as ASGI middleware.

Pure ASGI: nothing is buffered, every message that is not ours to change goes through as the same object, and
`send` is wrapped once. Only `http.response.start` is replaced (by a new message, the app's is not touched) and,
for HTML pages that get metas, body messages.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry

from noai_guard import html_injection
from noai_guard.backends.memory import MemoryBackend
from noai_guard.client_address import ClientAddress, address_block, client_address, proxy_headers_rewritten
from noai_guard.declarations import robots_txt
from noai_guard.errors import Invalid, Unanswered
from noai_guard.front import Front, document_headers
from noai_guard.loading import load_catalog, load_policy, load_stance
from noai_guard.memo import Memo
from noai_guard.model import Action, Agent, Document, HeaderField, Identity, Request, Verdict
from noai_guard.policy import Policy, Zone
from noai_guard.ports import Answer, AsyncAnswerer, Question, arun
from noai_guard.request_path import normal_path
from noai_guard.telemetry import Cell, Telemetry, decisions, log_decision

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("noai_guard")

_JUDGED = "noai_guard.verdict"
"""The scope key that marks a request as judged, so that a guard inside a guard does nothing."""

_MOST_HEADERS = 256
"""How many request headers are looked at: servers let 20,000 in, browsers send about 20."""

_MOST_ROBOTS_BYTES = 500 * 1024
"""How much of an app's robots.txt is merged: RFC 9309 lets parsers stop there."""

_PERHAPS_HTML = (b"text/html", b"TEXT/", b"Text/", b" ", b"text/H")

_TIMED_MASK = 15
"""Of the requests with one kind of verdict, the first of each second and every 16th are timed: reading the
clock again and adding to the histogram costs as much as judging."""

_WATCH_SECONDS = 1.0
_FOLD_SECONDS = 1.0
_MOST_ROBOTS_READERS = 4096


class _Standing:
    """Everything known in advance about one agent in one zone of the site."""

    __slots__ = ("cell", "declared", "plain", "settled", "verdict")

    def __init__(self, front: Front, telemetry: Telemetry, verdict: Verdict) -> None:
        self.verdict = verdict
        self.settled = not front.guard.asks(verdict)
        self.plain = verdict.action is Action.ALLOW
        self.cell = telemetry.cell(verdict)
        self.declared = front.declared[verdict.section]


class _Place:
    """Everything known in advance about one path, as the server hands it over."""

    __slots__ = ("document", "path", "standings")

    def __init__(self, path: str, document: Document | None, standings: Memo[Agent | None, _Standing]) -> None:
        self.path = path
        self.document = document
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
        self._fold_due = False
        self._robots_readers: dict[tuple[str, str], None] = {}
        self._told_rewritten = False
        self._reloading = threading.Lock()
        self._modified = self._file_time()
        self._next_look = 0.0
        self._listens = False
        if policy is None:
            loaded = load_stance()
        else:
            loaded = policy if isinstance(policy, Policy) else load_policy(policy)
        self._use(Front(loaded, load_catalog()))

    def _use(self, front: Front) -> None:
        from noai_guard import __version__

        standing = partial(_Standing, front, self.telemetry)
        after: Memo[Verdict, _Standing] = Memo(standing)
        by_zone: Memo[Zone, Memo[Agent | None, _Standing]] = Memo(
            lambda zone: Memo(lambda agent: standing(zone.verdicts[agent]))
        )

        def place(raw: str) -> _Place:
            path = normal_path(raw)
            return _Place(path, front.documents.get(path), by_zone[front.guard.plan.zones[path]])

        # One assignment: a request that has read it sees one policy from beginning to end.
        self._live = front, Memo(place), front.guard.agents, after
        self._reloads = self._file is not None and front.policy.reload != "off"
        self._unjudged = Verdict(
            front.policy.on_unknown, "unjudged", None, None, Identity.UNCLAIMED, ("the guard failed",), 0
        )
        catalog = front.catalog
        self.telemetry.in_force(
            __version__, front.policy.stance, front.policy.mode, catalog.version, len(catalog.agents)
        )

    @property
    def front(self) -> Front:
        """The policy in force, ready to serve."""
        return self._live[0]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if (kind != "http" and kind != "websocket") or _JUDGED in scope:
            await self.app(scope, receive, self._folding_at_end(send) if kind == "lifespan" else send)
            return
        started = perf_counter()
        if self._reloads:
            self._look_for_changes(started)
        front, places, agents, after = self._live
        place = places[scope["path"]]
        headers = scope["headers"]
        user_agent = b""
        for name, value in headers if len(headers) <= _MOST_HEADERS else headers[:_MOST_HEADERS]:
            if name == b"user-agent":
                user_agent = user_agent + b"\n" + value if user_agent else value
        if place.document is not None and kind == "http" and scope["method"].upper() in ("GET", "HEAD"):
            await self._send_document(scope, send, front, place.document, user_agent)
            return
        try:
            standing = place.standings[agents[user_agent]]
            if not standing.settled:
                standing = after[await self._examined(scope, front, place.path, user_agent)]
        except Exception:
            _log.exception("noai-guard could not judge a request; on_unknown says %s", front.policy.on_unknown)
            self.telemetry.guard_failures.labels("judging").inc()
            standing = after[self._unjudged]
        cell = standing.cell
        if not cell.requests & _TIMED_MASK:
            self.telemetry.judged_in(perf_counter() - started)
        cell.requests += 1
        if not self._fold_due:
            self._fold_due = True
            asyncio.get_running_loop().call_later(_FOLD_SECONDS, self._fold)
        scope[_JUDGED] = verdict = standing.verdict
        try:
            scope["state"]["noai"] = verdict
        except KeyError:
            scope["state"] = {"noai": verdict}
        if not standing.plain:
            self._note(scope, front, standing, place.path, user_agent)
            if verdict.refuses:
                await self._refuse(scope, receive, send, front, standing, place.path)
                return
        if kind == "http":
            # A partial of a plain function that returns the real send's awaitable: a coroutine of its own, or a
            # closure, would cost up to half a microsecond more for each response.
            send = partial(self._declare, send, scope, standing, [])
        await self.app(scope, receive, send)

    async def _examined(self, scope: Scope, front: Front, path: str, user_agent: bytes) -> Verdict:
        request = Request(
            path=path,
            user_agent=user_agent,
            method=_method(scope),
            address=self._client(scope, front).address,
            received_at=asyncio.get_running_loop().time(),
        )
        return await arun(front.guard.examine(request), self, self._unanswered)

    async def answer(self, question: Question) -> Answer:
        """Asks the backend, within the deadline; whatever goes wrong there is an Unanswered here."""
        try:
            return await asyncio.wait_for(self._backend.answer(question), self._deadline)
        except Exception as error:
            raise Unanswered(f"{type(error).__name__}: {error}") from error

    def _unanswered(self, question: Question, error: Exception) -> None:
        self.telemetry.backend_failures.labels(type(question).__name__).inc()
        _log.warning("a backend could not answer %s: %s", type(question).__name__, error)

    def _client(self, scope: Scope, front: Front) -> ClientAddress:
        client = scope.get("client")
        trusted = front.policy.trusted_proxies
        headers = scope["headers"][:_MOST_HEADERS]
        found = client_address(client[0] if client else None, headers, trusted)
        if found.problem and trusted.header:
            self.telemetry.address_problems.labels(found.problem).inc()
        if not self._told_rewritten and proxy_headers_rewritten(client, headers):
            self._told_rewritten = True
            _log.warning(
                "the server has already replaced the client's address from X-Forwarded-For (uvicorn does, for "
                "peers in FORWARDED_ALLOW_IPS): start it with --no-proxy-headers and name your proxies under "
                "trusted_proxies, else an address in logs and limits is only as true as the server's setting"
            )
        return found

    def _note(self, scope: Scope, front: Front, standing: _Standing, path: str, user_agent: bytes) -> None:
        """What is remembered of a request that was not plainly let in."""
        verdict = standing.verdict
        refused = verdict.action.strictness >= Action.LICENSE_REQUIRED.strictness
        logs = decisions.isEnabledFor(logging.INFO)
        if not logs and not (refused and self._robots_readers):
            return
        client = self._client(scope, front)
        if refused and verdict.agent and (verdict.agent.name, address_block(client.address)) in self._robots_readers:
            standing.cell.robots_ignored += 1
        if logs:
            host = next((value for name, value in scope["headers"][:_MOST_HEADERS] if name == b"host"), b"")
            log_decision(verdict, _method(scope), path, user_agent, client, host.decode("latin-1"))

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, front: Front, standing: _Standing, path: str
    ) -> None:
        """Sends the refusal: as an HTTP response, also to a websocket handshake where the server can, else
        close code 1008."""
        kind = scope["type"]
        method = _method(scope)
        refusal = front.refusal(standing.verdict, path, method, scope["headers"][:_MOST_HEADERS])
        body = b"" if method == "HEAD" else refusal.body
        if kind == "websocket":
            await receive()
            if "websocket.http.response" not in (scope.get("extensions") or {}):
                await send({"type": "websocket.close", "code": 1008, "reason": "refused by policy"})
                return
            kind = "websocket.http"
        standing.cell.bytes += len(body)
        await send({"type": f"{kind}.response.start", "status": refusal.status, "headers": list(refusal.headers)})
        await send({"type": f"{kind}.response.body", "body": body})

    async def _send_document(
        self, scope: Scope, send: Send, front: Front, document: Document, user_agent: bytes
    ) -> None:
        if document.path == robots_txt.PATH:
            if front.merges_robots:
                document = await self._robots_with_the_apps(scope, front)
            agent = front.guard.agents[user_agent]
            if agent is not None:
                if len(self._robots_readers) >= _MOST_ROBOTS_READERS:
                    self._robots_readers.clear()
                block = address_block(self._client(scope, front).address)
                self._robots_readers[agent.name, block] = None
        self.telemetry.documents.labels(document.path).inc()
        headers = document_headers(document)
        known = next((v for n, v in scope["headers"][:_MOST_HEADERS] if n.lower() == b"if-none-match"), b"")
        etag = dict(headers)[b"etag"]
        if etag in known or known.strip() == b"*":
            headers = tuple(field for field in headers if field[0] not in (b"content-length", b"content-type"))
            await send({"type": "http.response.start", "status": 304, "headers": list(headers)})
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body", "body": b"" if _method(scope) == "HEAD" else document.body})

    async def _robots_with_the_apps(self, scope: Scope, front: Front) -> Document:
        """Our robots.txt, merged with the app's own when it has one."""
        own = front.documents[robots_txt.PATH]
        try:
            existing = await _fetched(self.app, scope)
        except Exception:
            _log.exception("the app's own robots.txt failed; only noai-guard's is served")
            self.telemetry.guard_failures.labels("robots_txt").inc()
            return own
        return own if existing is None else front.merged_robots[existing]

    def _declare(
        self,
        send: Send,
        scope: Scope,
        standing: _Standing,
        injectors: list[html_injection.TagInjector],
        message: Message,
    ) -> Awaitable[None]:
        """Sends a message of the app, with our headers added and, in HTML pages, our tags; counts body bytes.

        `injectors` is empty, or holds the one of this response.
        """
        kind = message["type"]
        if kind == "http.response.body":
            if injectors:
                return self._inject(send, injectors[0], message, standing.cell)
            if "body" in message and scope["method"] != "HEAD":
                standing.cell.bytes += len(message["body"])
        elif kind == "http.response.start":
            declared = standing.declared
            headers = list(message.get("headers") or ())
            watched = declared.watched
            for name, value in headers:
                if name in watched and (name != b"content-type" or value.startswith(_PERHAPS_HTML)):
                    headers = self._with_care(headers, message["status"], scope, standing, injectors)
                    break
            else:
                headers += declared.fields
            return send({**message, "headers": headers})
        elif kind == "http.response.zerocopysend":
            standing.cell.bytes += message.get("count") or 0
        elif kind == "http.response.pathsend":
            standing.cell.bytes += _size(message["path"])
        return send(message)

    def _with_care(
        self,
        headers: list[HeaderField],
        status: int,
        scope: Scope,
        standing: _Standing,
        injectors: list[html_injection.TagInjector],
    ) -> list[HeaderField]:
        """The headers of a response that is HTML or has declarations of its own: ours beside the app's, and,
        where tags will be put into the body, only what stays true of it."""
        together, html = standing.declared.added_to(headers)
        if not html:
            return together
        method = _method(scope)
        reason = html_injection.injectable(status, together, scope["headers"][:_MOST_HEADERS])
        if reason is not None or method not in ("GET", "HEAD"):
            self.telemetry.injected[reason or "method"] += 1
            return together
        if method == "GET":
            has_charset = html_injection.has_charset(together)
            injectors.append(html_injection.TagInjector(standing.declared.tags, has_charset=has_charset))
        return html_injection.rewritten_headers(together)

    async def _inject(
        self, send: Send, injector: html_injection.TagInjector, message: Message, cell: Cell
    ) -> None:
        chunk = message.get("body", b"")
        if injector.outcome == "pending":
            last = not message.get("more_body", False)
            chunk = injector.feed(chunk, last)
            if injector.outcome != "pending":
                self.telemetry.injected[injector.outcome] += 1
            elif not chunk:
                return
            message = {**message, "body": chunk}
        cell.bytes += len(chunk)
        await send(message)

    def _folding_at_end(self, send: Send) -> Send:
        async def watching(message: Message) -> None:
            if message["type"] == "lifespan.shutdown.complete":
                self.telemetry.fold()
            await send(message)

        return watching

    def _fold(self) -> None:
        self._fold_due = False
        self.telemetry.fold()

    def _file_time(self) -> float:
        try:
            return self._file.stat().st_mtime_ns if self._file else 0.0
        except OSError:
            return 0.0

    def _look_for_changes(self, now: float) -> None:
        if not self._listens:
            self._listen_for_hangup()
        if self.front.policy.reload != "watch" or now < self._next_look:
            return
        self._next_look = now + _WATCH_SECONDS
        modified = self._file_time()
        if modified and modified != self._modified:
            self._modified = modified
            asyncio.get_running_loop().run_in_executor(None, self.reload)

    def _listen_for_hangup(self) -> None:
        self._listens = True
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(signal.SIGHUP, lambda: loop.run_in_executor(None, self.reload))
        except (AttributeError, NotImplementedError, RuntimeError, ValueError) as error:
            _log.warning("SIGHUP cannot be listened to here (%s); reload is by file change or not at all", error)

    def reload(self) -> bool:
        """Reads the policy file again. The new policy replaces the old one at once, or, when it cannot be used,
        the old one stays, a metric rises and the problems are logged. Returns whether it was replaced."""
        if self._file is None:
            return False
        with self._reloading:
            try:
                front = Front(load_policy(self._file), load_catalog())
            except Exception as error:
                problems = str(error) if isinstance(error, Invalid) else f"{type(error).__name__}: {error}"
                _log.error("the policy was not reloaded, the last good one stays in force:\n%s", problems)
                self.telemetry.reloads.labels("failed").inc()
                self.telemetry.reload_failed.set(1)
                return False
            self._use(front)
            self.telemetry.reloads.labels("ok").inc()
            self.telemetry.reload_failed.set(0)
            _log.info("the policy was reloaded from %s", self._file)
            return True


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _method(scope: Scope) -> str:
    """The method in upper case: four of five servers pass lower-case methods on as they came."""
    return str(scope.get("method", "GET")).upper()


async def _fetched(app: App, scope: Scope) -> bytes | None:
    """What the app answers to GET for the scope's path: the body of a plain text 200, else None."""
    unwanted = (b"if-none-match", b"if-modified-since", b"range", b"if-range", b"accept-encoding")
    asked = {
        **scope,
        "method": "GET",
        "query_string": b"",
        "headers": [(name, value) for name, value in scope["headers"] if name.lower() not in unwanted],
        "extensions": {},
        "state": dict(scope.get("state") or {}),
        _JUDGED: None,
    }
    body = bytearray()
    is_text = False

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal is_text
        if message["type"] == "http.response.start":
            headers = {name.lower(): value for name, value in message.get("headers") or ()}
            kind = headers.get(b"content-type", b"text/plain").lower()
            is_text = message["status"] == 200 and kind.startswith(b"text/plain")
            is_text = is_text and headers.get(b"content-encoding", b"identity") == b"identity"
        elif message["type"] == "http.response.body" and is_text and len(body) < _MOST_ROBOTS_BYTES:
            body.extend(message.get("body", b"")[: _MOST_ROBOTS_BYTES - len(body)])

    await app(asked, receive, send)
    return bytes(body) if is_text else None
