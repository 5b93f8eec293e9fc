"""The guard as ASGI middleware.

Pure ASGI: nothing is buffered, every message that is not ours to change goes through as the same object, and
`send` is wrapped once. Only `http.response.start` is replaced (by a new message, the app's is not touched) and,
for HTML pages that get metas, body messages.
"""

from functools import partial
from pathlib import Path
from time import perf_counter

from prometheus_client import CollectorRegistry

from noai_guard.asgi_types import App, Message, Receive, Scope, Send
from noai_guard.compiled import CompiledPolicy
from noai_guard.core.model import Document, Response
from noai_guard.core.paths import normal_path
from noai_guard.core.policy import Policy
from noai_guard.core.questions import AsyncAnswerer, arun
from noai_guard.core.user_agent_matcher import HEAD_BYTES
from noai_guard.declarations import robots_txt
from noai_guard.middleware.asgi_response import declare, method_of, send_response
from noai_guard.middleware.backend_adapters import SafeAsyncBackend
from noai_guard.middleware.own_robots_asgi import apps_robots
from noai_guard.middleware.request import MOST_HEADERS, RawRequest, in_lower_case, joined_user_agents, user_agent_of
from noai_guard.middleware.runtime import TIMED_MASK, GuardRuntime
from noai_guard.observability.counters import LocalCounts
from noai_guard.responses.documents import document_answer

_JUDGED = "noai_guard.verdict"
"""The scope key that marks a request as judged, so that a guard inside a guard does nothing."""


class NoAIMiddleware(GuardRuntime):
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
        super().__init__(policy, registry=registry)
        self.app = app
        self._backend = SafeAsyncBackend(backend, deadline)
        self._apps_robots: bytes | None = None

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
            compiled, resolved_paths, agents, after = self._live
            resolved = resolved_paths[scope["path"]]
            headers = scope["headers"]
            for name, value in headers if len(headers) <= MOST_HEADERS else headers[:MOST_HEADERS]:
                if name == b"user-agent":
                    user_agent = joined_user_agents(user_agent, value) if user_agent else value
            if not 0 < len(user_agent) <= HEAD_BYTES:
                headers = headers if user_agent else in_lower_case(headers)
                user_agent = user_agent_of(headers)
            if resolved.document is not None and kind == "http" and resolved.publishes(method_of(scope), _root(scope)):
                document = resolved.document
            else:
                cached = resolved.decisions[agents[user_agent]]
                if not cached.settled:
                    examination = self._examination(compiled, _raw(scope), resolved.path, user_agent)
                    cached = after[await arun(examination, self._backend, self._unanswered)]
                if not cached.plain and cached.verdict.refuses:
                    refusal = compiled.refusal(cached.verdict, resolved.path, method_of(scope), headers[:MOST_HEADERS])
        except Exception as error:
            if type(scope.get("headers")) is not list:
                scope["headers"] = list(scope.get("headers") or ())
                await self(scope, receive, send)
                return
            cached, refusal = self._unjudgeable(error)
        if document is not None:
            await self._send_document(scope, send, compiled, document, user_agent)
            return
        counts = cached.counts
        if not counts.requests & TIMED_MASK:
            self.telemetry.judged_in(perf_counter() - started)
        counts.requests += 1
        scope[_JUDGED] = verdict = cached.verdict
        try:
            scope["state"]["noai"] = verdict
        except (KeyError, TypeError):
            scope["state"] = {"noai": verdict}
        if not cached.plain:
            self._note(_raw(scope), cached, user_agent)
            if refusal is not None:
                await self._refuse(scope, receive, send, refusal, counts)
                return
        if kind == "http":
            # A partial of a module's function that returns the awaitable of the real send: as a method, a closure or
            # a coroutine it costs 6 to 8 % of a bare Starlette request more (instructions counted, 2026-11-23).
            send = partial(declare, self.telemetry, send, scope, cached, [])
        await self.app(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, refusal: Response, counts: LocalCounts) -> None:
        """Sends the refusal; a websocket handshake is closed with 1008, which servers answer with 403.

        Not with the `websocket.http.response` extension: granian 2.8.7 ends when a header name stands twice in it,
        and uvicorn 0.54 logs an error each time (both tried 2026-11-23).
        """
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "refused by policy"})
            return
        body = b"" if method_of(scope) == "HEAD" else refusal.body
        counts.bytes += len(body)
        await send_response(send, Response(refusal.status, refusal.headers, body))

    async def _send_document(
        self, scope: Scope, send: Send, compiled: CompiledPolicy, document: Document, user_agent: bytes
    ) -> None:
        if document.path == robots_txt.PATH:
            self._robots_read(compiled, _raw(scope), user_agent)
            if compiled.merges_robots:
                await self._ask_for_robots(scope, compiled, user_agent)
            document = self._robots(compiled, document, self._apps_robots)
        self.telemetry.metrics.documents.labels(document.path).inc()
        await send_response(send, document_answer(document, method_of(scope), scope["headers"][:MOST_HEADERS]))

    async def _ask_for_robots(self, scope: Scope, compiled: CompiledPolicy, user_agent: bytes) -> None:
        """Asks the app for its own robots.txt; the last one stands when it fails now: without it, what the app
        disallows would be open."""
        try:
            path = normal_path(scope["path"])
            verdict = compiled.guard.judged(path, user_agent)
            marks = {"path": path, "state": {**(scope.get("state") or {}), "noai": verdict}, _JUDGED: verdict}
            self._apps_robots = await apps_robots(self.app, scope, marks)
        except Exception as error:
            self.telemetry.failed("robots_txt", error)

    def _lifespan(self, send: Send) -> Send:
        self._do_chores(perf_counter())

        async def watching(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                self._flush()
            await send(message)

        return watching


def _root(scope: Scope) -> str:
    return str(scope.get("root_path", ""))


def _raw(scope: Scope) -> RawRequest:
    headers = scope.get("headers", [])
    return RawRequest(method_of(scope), scope.get("path", ""), headers, scope.get("client"), _root(scope))
