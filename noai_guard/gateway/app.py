"""The forward-auth gateway: a proxy asks it about each request and does what it says.

Served by `noai-guard serve`, or by `uvicorn --no-proxy-headers` and the like.
"""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

from prometheus_client import CollectorRegistry

from noai_guard.asgi_types import Receive, Scope, Send
from noai_guard.config.regular_file import read_regular_file
from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.model import Action, Response
from noai_guard.core.policy import Policy
from noai_guard.core.questions import AsyncStore, Examination, arun
from noai_guard.core.request import PlainRequest, Request, header_value
from noai_guard.declarations import robots_txt
from noai_guard.gateway import contract
from noai_guard.gateway.auth_responses import NO_STORE, AuthResponses, EncodedResponse, verdict_headers
from noai_guard.gateway.original_request import Malformed, Missing, original_request
from noai_guard.middleware.active_policy import ActivePolicy, Decided, ServeDocument
from noai_guard.middleware.asgi_request import method_of
from noai_guard.middleware.asgi_response import send_response, text_response
from noai_guard.middleware.own_robots import OwnRobots
from noai_guard.middleware.routes import awaited_routes
from noai_guard.middleware.runtime import GuardRuntime
from noai_guard.observability.metrics_app import metrics_app
from noai_guard.responses.actions import TEMPLATES
from noai_guard.stores.reverse_dns import ReverseDns

_log = logging.getLogger("noai_guard")

_ACTIONS = {str(template.status).encode("ascii"): action for action, template in TEMPLATES.items()}
_MAX_REPORTED_CALLERS = 256
_HINTS = {
    "caller_not_trusted": "it is not among trusted_proxies of the policy, or the server that runs the gateway "
    "replaces addresses (uvicorn: --no-proxy-headers)",
    "uri_missing": "it does not say about which request (X-Original-URI or X-Forwarded-Uri)",
}


class Gateway:
    """ASGI app that answers proxies' questions, publishes the declarations, and shows metrics and health.

    `policy`, `registry`, `store` and `names` as for NoAIMiddleware; `deadline` is for each answer, in
    seconds, and less than proxies wait (0.5 s in the configurations that we generate). A proxy may keep a verdict for
    `hold` seconds, 0 for not at all: so long the policy before a reload may hold on. Where creators have a say it may
    not, because it does not know which work a path is of. `own_robots` is the file of the site's own robots.txt, which
    ours is merged with, as the policy says.
    """

    def __init__(
        self,
        policy: str | Path | Policy | None = None,
        *,
        registry: CollectorRegistry | None = None,
        store: AsyncStore | str | None = None,
        names: ReverseDns | None = None,
        deadline: float = 0.25,
        hold: int = 10,
        own_robots: str | Path | None = None,
    ) -> None:
        self.runtime = GuardRuntime(policy, registry=registry, peer_is_real=True, store=store)
        self._stores = awaited_routes(self.runtime, names, deadline)
        self._prepared: BoundedCache[ActivePolicy, _Prepared] = BoundedCache(
            lambda active: _Prepared(active, 0 if active.compiled.has_wishes else hold), max_entries=1
        )
        self._own_robots_file = Path(own_robots) if own_robots is not None else None
        self._own_robots = OwnRobots(partial(self.runtime.telemetry.failed, "robots_txt"))
        self._reported: set[tuple[str, object]] = set()
        self._metrics = metrics_app(registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http" and _path(scope) in contract.METRICS:
            await self._metrics(scope, receive, send)
        else:
            raw = scope.get("raw_path") or quote(scope["path"], errors="replace").encode("ascii")
            method = method_of(scope) if scope["type"] == "http" else "GET"
            request = PlainRequest(_path(scope), list(scope["headers"]), method, scope.get("client"))
            response = await self.respond(request, raw)
            if scope["type"] == "http":
                await send_response(send, response)
            else:
                await _refuse_websocket(scope, send, response)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self.runtime.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.runtime.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def respond(self, request: PlainRequest, raw_path: bytes = b"") -> Response:
        """Return the response to a request for anything but the metrics. `raw_path` is its path as it was sent."""
        path = request.path
        try:
            if path == contract.VERIFY or path in contract.AUTH_REQUEST:
                return await self.verdict(request, refusing=contract.AUTH_REQUEST.get(path, 0))
            if path == contract.ANSWER:
                return self.refusal(request)
            if path.startswith(contract.VERIFY + "/"):
                return await self.verdict(request, raw_path.partition(contract.VERIFY.encode("ascii"))[2])
            if path == contract.HEALTH:
                return text_response(200, "alive\n", NO_STORE)
            if path == contract.READY:
                trusted = self.runtime.compiled.policy.trusted_proxies
                if trusted.peers or trusted.unix:
                    return text_response(200, "ready\n", NO_STORE)
                return text_response(503, "nobody may ask: the policy names no trusted_proxies\n", NO_STORE)
            return self._document(request)
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> Response:
        self.runtime.telemetry.failed("judging", error)
        return text_response(503, "The gateway failed; its log says why.\n", NO_STORE)

    async def verdict(self, request: PlainRequest, appended: bytes = b"", *, refusing: int = 0) -> Response:
        """Return 200 to allow, the refusal otherwise, 503 if the caller is not trusted; 204 and `refusing` for nginx.

        `appended` as for original_request.
        """
        decided = await arun(self._examine(request, appended), self._stores, self.runtime.reports.unanswered)
        if isinstance(decided, Response):
            return decided
        response = self._encoded(decided, request, refusing).response
        return replace(response, body=b"") if request.method == "HEAD" else response

    def encoded_verdict(self, request: PlainRequest, appended: bytes = b"", *, refusing: int = 0) -> bytes | None:
        """Return what `verdict` returns as HTTP/1.1 bytes; None if a store has to be asked first, or for HEAD."""
        if request.method == "HEAD":
            return None
        examination = self._examine(request, appended)
        try:
            examination.send(None)
            examination.close()
        except StopIteration as done:
            decided: Decided | Response = done.value
            if isinstance(decided, Response):
                return EncodedResponse(decided).wire
            return self._encoded(decided, request, refusing).wire
        except Exception as error:
            return EncodedResponse(self._failed(error)).wire
        return None

    def _encoded(self, decided: Decided, request: Request, refusing: int) -> EncodedResponse:
        responses = self._prepared[self.runtime.active].responses
        has_one_user_agent = sum(name == b"user-agent" for name, _ in request.headers) < 2
        if decided.refusal is not None and not refusing:
            decided.cached.counts.bytes += len(decided.refusal.body)
        return responses.encoded(decided, responses.cache_key(decided) if has_one_user_agent else b"", refusing)

    def _examine(self, request: PlainRequest, appended: bytes) -> Examination[Decided | Response]:
        """Return the decision on the request that was asked about, or the response if there can be none."""
        runtime = self.runtime
        active = runtime.active
        try:
            if not active.compiled.policy.trusted_proxies.trusts(request.peer[0] if request.peer else None):
                return self._unusable("caller_not_trusted", request)
            original = original_request(request, appended)
        except Missing:
            return self._unusable("uri_missing", request)
        except Malformed as error:
            runtime.telemetry.metrics.gateway_problems.labels(str(error)).inc()
            return self._not_understood(active, request)
        # Only the very path of a document is one: what is merely read as it here may be a song to the site.
        is_document = all(raw.decode("latin-1") in active.compiled.documents for raw in original.raw_paths)
        outcome = runtime.decide(original, is_document)
        if isinstance(outcome, ServeDocument):
            if outcome.document.path == robots_txt.PATH:
                runtime.robots_readers.remember(outcome.active, original)
            runtime.recording.record_document(outcome.active, original, outcome.document.path, None)
            return Response(200, ((b"content-length", b"0"), NO_STORE, (b"x-noai-verdict", b"allow")), b"")
        decided = outcome if isinstance(outcome, Decided) else (yield from outcome)
        if decided.cached.recorded:
            runtime.recording.record(decided.cached, original, decided.client, decided.refusal)
        path_class = decided.path_class
        has_one_reading = len(original.raw_paths) == 1 and path_class is not None and not path_class.readings
        return decided if has_one_reading else replace(decided, cacheable=False)

    def _not_understood(self, active: ActivePolicy, request: PlainRequest) -> Decided:
        """Decide a question that does not name one request: no to who is refused anywhere, yes to everybody else."""
        uri = next((value for name in contract.URI if (value := header_value(request.headers, name.encode()))), b"")
        unread = PlainRequest(uri.decode("latin-1"), request.headers, "GET", request.peer)
        cached = active.unread.decisions[active.claims[request.claim_key]]
        refusal = None
        if cached.refuses:
            refusal = active.compiled.refusal(cached.verdict, "/", "GET", request.headers)
        decided = Decided(cached, refusal)
        cached.counts.requests += 1
        if not cached.plain:
            self.runtime.note(active, decided, unread)
        if cached.recorded:
            self.runtime.recording.record(cached, unread, None, refusal)
        return decided

    def _unusable(self, problem: str, request: Request) -> Response:
        """Return 503: no verdict, so the proxy does what the policy says for that. Logged once for each caller."""
        self.runtime.telemetry.metrics.gateway_problems.labels(problem).inc()
        caller = request.peer[0] if request.peer else "a UNIX socket"
        if (problem, caller) not in self._reported and len(self._reported) < _MAX_REPORTED_CALLERS:
            self._reported.add((problem, caller))
            _log.error("the gateway was asked by %s and cannot answer: %s", caller, _HINTS[problem])
        return text_response(503, "The gateway cannot tell what it is asked; its log says why.\n", NO_STORE)

    def refusal(self, request: PlainRequest) -> Response:
        """Return the refusal again, for a proxy that could not pass it on. Judges nothing anew, and never allows."""
        active = self.runtime.active
        status = header_value(request.headers, contract.STATUS.encode("ascii"))
        if not active.compiled.policy.trusted_proxies.trusts(request.peer[0] if request.peer else None):
            return self._unusable("caller_not_trusted", request)
        if status not in _ACTIONS:
            # The proxy itself said no to a request that we allowed, or never asked about.
            return text_response(403, "Forbidden\n", NO_STORE)
        try:
            original = original_request(request)
            compiled, action = active.compiled, _ACTIONS[status]
            resolved = active.targets[original.raw_paths]
            verdict = resolved.decisions[active.claims[original.claim_key]].verdict
            if verdict.action is not action:
                verdict = compiled.guard.with_action(verdict, action, "as was decided")
            cached = active.after[verdict]
            refusal = compiled.refusal(verdict, resolved.path, original.method, original.headers)
        except Exception as error:
            if not isinstance(error, (Malformed, Missing)):
                self.runtime.telemetry.failed("judging", error)
            prepared = self._prepared[active]
            cached, refusal = prepared.denied, prepared.denial
        cached.counts.bytes += len(refusal.body)
        return Response(refusal.status, (*refusal.headers, *verdict_headers(cached)), refusal.body)

    def _document(self, request: PlainRequest) -> Response:
        """Return a declaration, for everyone; 404 for everything else."""
        active = self.runtime.active
        resolved = active.paths[request.path]
        if resolved.document is None or not resolved.publishes(request.method, ""):
            return text_response(404, "Nothing is here. Proxies ask at /.noai/verify.\n", NO_STORE)
        served = ServeDocument(active, resolved.document)
        own: bytes | None = b""
        if served.document.path == robots_txt.PATH and self._own_robots_file and active.compiled.merges_robots:
            try:
                own = self._own_robots.remember((), read_regular_file(self._own_robots_file, robots_txt.MAX_BYTES))
            except OSError as error:
                own = self._own_robots.last((), error)
        return self.runtime.documents.response(served, request, own)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "").rstrip("/"))


async def _refuse_websocket(scope: Scope, send: Send, response: Response) -> None:
    """Answer a websocket's handshake as any request: a proxy passed a client's Upgrade on when it asked."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    start = {"type": "websocket.http.response.start", "status": response.status, "headers": list(response.headers)}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": response.body})


class _Prepared:
    """Responses that the gateway keeps ready for one policy."""

    def __init__(self, active: ActivePolicy, hold: int) -> None:
        self.responses = AuthResponses(hold)
        self.denied = active.fixed(Action.DENY, "what was asked for cannot be read").cached
        self.denial = active.compiled.refusal(self.denied.verdict, "/", "GET", ())
