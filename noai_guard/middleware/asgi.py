"""The guard as ASGI middleware.

Pure ASGI: no body is buffered (the start of a page that has a Content-Length waits for the first message behind it),
every message that is not ours to change goes through as the same object, and `send` is wrapped once. Only
`http.response.start` is replaced (by a new message, the app's is not touched) and, for HTML pages that get metas, body
messages.
"""

import asyncio
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from prometheus_client import CollectorRegistry

from noai_guard.asgi_types import App, Message, Receive, Scope, Send
from noai_guard.core.model import Response
from noai_guard.core.paths import normal_path
from noai_guard.core.policy import Policy
from noai_guard.core.questions import AsyncStore, arun
from noai_guard.declarations import robots_txt
from noai_guard.middleware.active_policy import Decided, ServeDocument
from noai_guard.middleware.asgi_request import ScopeRequest, method_of, read_scope, sends_body
from noai_guard.middleware.asgi_response import Exchange, NotedSend, send_response
from noai_guard.middleware.own_robots import OwnFile, OwnRobots
from noai_guard.middleware.policy_loading import compiled_policy, problems_of
from noai_guard.middleware.routes import awaited_routes
from noai_guard.middleware.runtime import GuardRuntime
from noai_guard.stores.asked_wishes import Lookup
from noai_guard.stores.reverse_dns import ReverseDns

_VERDICT = "noai_guard.verdict"
"""The scope key of the last guard's verdict. A guard within a guard judges too, so that the stricter of both counts."""

MAX_UNREAD_BYTES = 64 * 1024
"""Bytes of a body that are read before a refusal: what an HTTP/2 client may send without having been asked for more
(RFC 9113 section 6.9.2: 65,535)."""

UNREAD_SECONDS = 1.0


class NoAIMiddleware:
    """`app.add_middleware(NoAIMiddleware)`, or `app = NoAIMiddleware(app)` to cover error pages too.

    `policy` is a path to a noai.yaml, a Policy, or None for the packaged no-ai stance. `registry` is the
    Prometheus registry (the default one if None). `store` answers what the judge asks, within `deadline` seconds for
    each answer: an object, or an address as under `store:` in a policy; None for what the policy names. `wishes` is a
    function, also a coroutine function, that returns what a creator wishes for a work, in place of the source that the
    policy names: it takes the name that `works:` find in a path, and returns usage -> `allow`, `disallow` or `unset`,
    or None; a plain function runs in a thread. `names` asks
    the DNS for names of addresses, by the machine's resolvers if None.

    A policy that cannot be used stops the server when it starts (`lifespan.startup.failed`, with every problem): the
    constructor does not raise, because `add_middleware` calls it so late that visitors would get the exception. Where
    nobody asks by lifespan, the packaged no-ai stance is in force in its place, and the log says so each minute;
    `NoAIMiddleware.check(policy)` raises at import. A file that breaks later leaves the last good policy running.

    The app finds the Verdict in `request.state.noai`. `runtime` is the guard behind the interface: `runtime.reload()`
    reads the policy again.
    """

    _reader = staticmethod(read_scope)
    _peer_is_real = False

    def __init__(
        self,
        app: App,
        policy: str | Path | Policy | None = None,
        *,
        registry: CollectorRegistry | None = None,
        store: AsyncStore | str | None = None,
        wishes: Lookup | None = None,
        names: ReverseDns | None = None,
        deadline: float = 0.5,
    ) -> None:
        self.app = app
        self._read = self._reader
        self.runtime = GuardRuntime(
            policy,
            registry=registry,
            peer_is_real=self._peer_is_real,
            always_starts=True,
            store=store,
            wishes=wishes,
        )
        self._stores = awaited_routes(self.runtime, names, deadline)
        self._own_robots = OwnRobots(partial(self.runtime.telemetry.failed, "robots_txt"))
        if "starlette.routing" in sys.modules:  # else nothing is mounted by it, and it need not be imported
            from noai_guard.observability.metrics_app import answer_without_slash

            answer_without_slash(app)

    @staticmethod
    def check(policy: str | Path | Policy | None = None) -> None:
        """Raise PolicyInvalid, with every problem, if a policy cannot be used."""
        compiled_policy(policy)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        is_http = kind == "http"
        if not is_http and kind != "websocket":
            if kind == "lifespan" and self.runtime.start_error is not None:
                await _fail_startup(receive, send, self.runtime.start_error)
            await self.app(scope, receive, self._lifespan(send) if kind == "lifespan" else send)
            return
        runtime = self.runtime
        if _VERDICT in scope:
            runtime.reports.report_nesting()
        read = self._read  # in two steps, as in `Exchange.declare`
        request = read(scope, Exchange())
        outcome = runtime.decide(request, is_http)
        if isinstance(outcome, Decided):
            decided = outcome
        elif isinstance(outcome, ServeDocument):
            await self._serve(scope, send, outcome, request)
            return
        else:
            decided = await arun(outcome, self._stores, runtime.reports.unanswered)
        cached = decided.cached
        scope[_VERDICT] = verdict = cached.verdict
        try:
            scope["state"]["noai"] = verdict
        except (KeyError, TypeError):
            scope["state"] = {"noai": verdict}
        if decided.refusal is not None:
            if cached.recorded:
                refusal = (
                    decided.refusal if is_http and request.method != "HEAD" else replace(decided.refusal, body=b"")
                )
                runtime.recording.record(cached, request, decided.client, refusal)
            size = await _refuse(scope, receive, send, decided.refusal)
            cached.counts.bytes += size  # not in one line: others count while this response is sent
            return
        event = runtime.recording.event(cached, request, decided.client) if cached.recorded else None
        if event is not None:
            send = NotedSend(event, send)
        try:
            if not is_http:
                await self.app(scope, receive, send)
                return
            request.cached = cached
            request.change = None
            request.send = send
            request.telemetry = runtime.telemetry
            app = self.app
            try:
                await app(scope, receive, request.declare)
            except Exception:
                await request.release()
                raise
            if request.change is not None:
                await request.release()
        finally:
            if event is not None:
                runtime.recorder.write(event)

    async def _serve(self, scope: Scope, send: Send, served: ServeDocument, request: ScopeRequest) -> None:
        own: OwnFile = None
        compiled = served.active.compiled
        if served.document.path == robots_txt.PATH and compiled.merges_robots:
            path = normal_path(request.path)
            verdict = self.runtime.documents.verdict_on_ourselves(served.active, path)
            marks = {"path": path, "state": {**(scope.get("state") or {}), "noai": verdict}, _VERDICT: verdict}
            own = await self._own_robots.of_asgi_app(self.app, scope, marks)
        await send_response(send, self.runtime.documents.response(served, request, own))

    def _lifespan(self, send: Send) -> Send:
        self.runtime.start()

        async def closing_at_shutdown(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                self.runtime.close()
            await send(message)

        return closing_at_shutdown


async def _read_body(receive: Receive) -> None:
    """Read the body of a request and drop it. Never raises."""
    left, more = MAX_UNREAD_BYTES, True
    with suppress(Exception):  # the time is over, the client is gone, or the event loop is not asyncio's
        async with asyncio.timeout(UNREAD_SECONDS):
            while more and left > 0:
                message = await receive()
                left -= len(message.get("body") or b"")
                more = message.get("more_body", False)


async def _fail_startup(receive: Receive, send: Send, error: Exception) -> NoReturn:
    """Let the server stop and print why; raise the error for test clients, as Starlette does."""
    await receive()
    message = f"noai-guard: the policy cannot be used, so the server does not start:\n{problems_of(error)}"
    await send({"type": "lifespan.startup.failed", "message": message})
    raise error


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: Response) -> int:
    """Send the refusal and return the size of its body; close a websocket handshake with 1008, which servers answer
    with 403.

    Not with the `websocket.http.response` extension: granian 2.8.7 ends when a header name stands twice in it,
    and uvicorn 0.54 logs an error each time (both tried 2026-11-23).

    A body that the client has begun to send is read first, up to MAX_UNREAD_BYTES and for UNREAD_SECONDS at most:
    hypercorn 0.18 ends the whole HTTP/2 connection, with the responses to others on it, when more of a body comes after
    the response to it has ended. A larger body still does that there: the server can only be told in its own code.
    """
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": "refused by policy"})
        return 0
    if sends_body(scope):
        await _read_body(receive)
    if method_of(scope) == "HEAD":
        refusal = Response(refusal.status, refusal.headers, b"")
    await send_response(send, refusal)
    return len(refusal.body)
