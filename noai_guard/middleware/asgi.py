"""The guard as ASGI middleware.

Pure ASGI: nothing is buffered, every message that is not ours to change goes through as the same object, and
`send` is wrapped once. Only `http.response.start` is replaced (by a new message, the app's is not touched) and,
for HTML pages that get metas, body messages.
"""

from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from noai_guard.asgi_types import App, Message, Receive, Scope, Send
from noai_guard.core.model import Response
from noai_guard.core.paths import normal_path
from noai_guard.core.policy import Policy
from noai_guard.core.questions import AsyncStore, Count, arun
from noai_guard.declarations import robots_txt
from noai_guard.middleware import own_robots
from noai_guard.middleware.active_policy import Decided, ServeDocument
from noai_guard.middleware.asgi_request import ScopeRequest, method_of, read_scope
from noai_guard.middleware.asgi_response import declare, send_response
from noai_guard.middleware.runtime import GuardRuntime
from noai_guard.stores.memory import MemoryStore
from noai_guard.stores.router import AsyncRouter, AwaitedStore, Route

_VERDICT = "noai_guard.verdict"
"""The scope key of the last guard's verdict. A guard within a guard judges too, so that the stricter of both counts."""


class NoAIMiddleware:
    """`app.add_middleware(NoAIMiddleware)`, or `app = NoAIMiddleware(app)` to cover error pages too.

    `policy` is a path to a noai.yaml, a Policy, or None for the packaged no-ai stance. `registry` is the
    Prometheus registry (the default one if None). `store` answers what the judge asks, within `deadline` seconds for
    each answer; in memory if None. Raises PolicyInvalid, with every problem, if the policy cannot be used at start;
    later a broken file leaves the last good policy running.

    The app finds the Verdict in `request.state.noai`. `runtime` is the guard behind the interface: `runtime.reload()`
    reads the policy again.
    """

    _read = staticmethod(read_scope)
    _peer_is_real = False

    def __init__(
        self,
        app: App,
        policy: str | Path | Policy | None = None,
        *,
        registry: CollectorRegistry | None = None,
        store: AsyncStore | None = None,
        deadline: float = 0.5,
    ) -> None:
        self.app = app
        self.runtime = GuardRuntime(policy, registry=registry, peer_is_real=self._peer_is_real)
        self._stores = AsyncRouter({Count: Route(store or AwaitedStore(MemoryStore()), deadline)})
        self._own_robots: bytes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        is_http = kind == "http"
        if not is_http and kind != "websocket":
            await self.app(scope, receive, self._lifespan(send) if kind == "lifespan" else send)
            return
        runtime = self.runtime
        if _VERDICT in scope:
            runtime.report_nesting()
        request = self._read(scope)
        outcome = runtime.decide(request, is_http)
        if isinstance(outcome, Decided):
            decided = outcome
        elif isinstance(outcome, ServeDocument):
            await self._serve(scope, send, outcome, request)
            return
        else:
            decided = await arun(outcome, self._stores, runtime.unanswered)
        cached = decided.cached
        scope[_VERDICT] = verdict = cached.verdict
        try:
            scope["state"]["noai"] = verdict
        except (KeyError, TypeError):
            scope["state"] = {"noai": verdict}
        if decided.refusal is not None:
            size = await _refuse(scope, receive, send, decided.refusal)
            cached.counts.bytes += size  # not in one line: others count while this response is sent
            return
        if is_http:
            # A partial of a module's function that returns the awaitable of the real send: as a method, a closure or
            # a coroutine it costs 6 to 8 % of a bare Starlette request more (instructions counted, 2026-11-23).
            send = partial(declare, runtime.telemetry, send, scope, cached, [])
        await self.app(scope, receive, send)

    async def _serve(self, scope: Scope, send: Send, served: ServeDocument, request: ScopeRequest) -> None:
        if served.document.path == robots_txt.PATH:
            self.runtime.remember_robots_reader(served.active, request)
            if served.active.compiled.merges_robots:
                # If the app fails now, its last robots.txt stands: without it, what the app disallows would be open.
                try:
                    path = normal_path(request.path)
                    verdict = served.active.compiled.guard.judged(path, request.user_agent)
                    marks = {"path": path, "state": {**(scope.get("state") or {}), "noai": verdict}, _VERDICT: verdict}
                    self._own_robots = await own_robots.from_asgi_app(self.app, scope, marks)
                except Exception as error:
                    self.runtime.telemetry.failed("robots_txt", error)
        await send_response(send, self.runtime.document_response(served, request, self._own_robots))

    def _lifespan(self, send: Send) -> Send:
        self.runtime.start()

        async def closing_at_shutdown(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                self.runtime.close()
            await send(message)

        return closing_at_shutdown


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: Response) -> int:
    """Send the refusal and return the size of its body; close a websocket handshake with 1008, which servers answer
    with 403.

    Not with the `websocket.http.response` extension: granian 2.8.7 ends when a header name stands twice in it,
    and uvicorn 0.54 logs an error each time (both tried 2026-11-23).
    """
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": "refused by policy"})
        return 0
    body = b"" if method_of(scope) == "HEAD" else refusal.body
    await send_response(send, Response(refusal.status, refusal.headers, body))
    return len(body)
