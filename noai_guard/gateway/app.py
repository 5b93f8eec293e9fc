"""The forward-auth gateway: a proxy asks it about each request and does what it says.

An ASGI app, and without ASGI `Gateway.verdict`, which FastCGI uses too. Nothing is redirected and no address is made
from what a request says.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

from prometheus_client import CollectorRegistry

from noai_guard.asgi_types import Receive, Scope, Send
from noai_guard.compiled import CompiledPolicy
from noai_guard.core.client_address import address_block, client_address
from noai_guard.core.model import Action, HeaderField, Response
from noai_guard.core.paths import other_readings
from noai_guard.core.policy import Policy
from noai_guard.core.questions import AsyncAnswerer, Examination, arun
from noai_guard.declarations import robots_file, robots_txt
from noai_guard.gateway import contract
from noai_guard.gateway.auth_responses import NO_STORE, AuthResponses, EncodedResponse, verdict_headers
from noai_guard.gateway.original_request import Malformed, Missing, original_request
from noai_guard.middleware.ambiguous_paths import strictest_reading
from noai_guard.middleware.asgi_response import method_of, send_response
from noai_guard.middleware.backend_adapters import SafeAsyncBackend
from noai_guard.middleware.cached_decisions import CachedDecision, Decided, ServeDocument
from noai_guard.middleware.request import RawRequest, user_agent_of
from noai_guard.middleware.runtime import GuardRuntime
from noai_guard.observability.metrics_app import metrics_app
from noai_guard.responses.actions import ANSWERS
from noai_guard.responses.documents import document_answer

_log = logging.getLogger("noai_guard")

_ACTIONS = {str(answer.status).encode("ascii"): action for action, answer in ANSWERS.items()}
_MOST_TOLD = 256
_TELLS = {
    "caller_not_trusted": "it is not among trusted_proxies of the policy, or the server that runs the gateway "
    "replaces addresses (uvicorn: --no-proxy-headers)",
    "uri_missing": "it does not say about which request (X-Original-URI or X-Forwarded-Uri)",
}


class Gateway(GuardRuntime):
    """`uvicorn --no-proxy-headers` and the like can serve it; `noai-guard serve` does.

    `policy`, `registry` and `backend` as for NoAIMiddleware; `deadline` is for each answer of the backend and less
    than proxies wait (0.5 s in the configurations we print). A proxy may keep a verdict for `hold` seconds, 0 for not
    at all: so long the policy before a reload may hold on. `own_robots` is the site's own robots.txt, which ours is
    merged with, as the policy says.
    """

    _served_by_anybody = False

    def __init__(
        self,
        policy: str | Path | Policy | None = None,
        *,
        registry: CollectorRegistry | None = None,
        backend: AsyncAnswerer | None = None,
        deadline: float = 0.25,
        hold: int = 10,
        own_robots: str | Path | None = None,
    ) -> None:
        self._hold = hold
        super().__init__(policy, registry=registry)
        self._backend = SafeAsyncBackend(backend, deadline)
        self._own_robots = Path(own_robots) if own_robots is not None else None
        self._existing: bytes | None = None
        self._told: set[tuple[str, object]] = set()
        self._metrics = metrics_app(registry)
        self._routes: dict[str, Callable[[RawRequest], Awaitable[Response]]] = {
            contract.VERIFY: self.verdict,
            contract.VERIFY_NGINX: partial(self.verdict, for_nginx=True),
            contract.ANSWER: self._answer,
            contract.HEALTH: self._health,
            contract.READY: self._ready,
        }

    def _use(self, compiled: CompiledPolicy) -> None:
        super()._use(compiled)
        why = "what was asked for cannot be read, or in more than one way"
        self._malformed = self._prepared(compiled, Action.DENY, why)
        self._denial = compiled.refusal(self._malformed[0].verdict, "/", "GET", ())
        self._answers = AuthResponses(self._hold)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live_long(receive, send)
        elif scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
            if path == contract.METRICS:
                await self._metrics(scope, receive, send)
            else:
                raw = scope.get("raw_path") or quote(scope["path"], errors="replace").encode("ascii")
                await send_response(send, await self.respond(_request(scope, path), raw))

    async def _live_long(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self._flush()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({"type": "lifespan.startup.complete"})

    async def respond(self, request: RawRequest, raw_path: bytes = b"") -> Response:
        """The answer to a request for anything but the metrics. `raw_path` is its path as it was sent."""
        try:
            route = self._routes.get(request.path)
            if route is not None:
                return await route(request)
            if request.path.startswith(contract.VERIFY + "/"):
                return await self.verdict(request, raw_path.partition(contract.VERIFY.encode("ascii"))[2])
            return self._document(request)
        except Exception as error:
            return self._failed(error)

    async def authorize(self, request: RawRequest, client: Sequence[object]) -> Response:
        """As `verdict`, for a web server that asks for itself: `client` is its own client, not somebody's claim."""
        try:
            return await self.verdict(request, client=client)
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> Response:
        self.telemetry.failed("judging", error)
        return _text(503, "The gateway failed; its log says why.\n")

    async def verdict(
        self,
        request: RawRequest,
        appended: bytes = b"",
        *,
        client: Sequence[object] | None = None,
        for_nginx: bool = False,
    ) -> Response:
        """200, or the complete refusal, or 503 where nothing can be believed; for nginx in its two statuses.
        `appended` as for original_request."""
        judged = await arun(self._examined(request, appended, client), self._backend, self._unanswered)
        if isinstance(judged, Response):
            return judged
        response = self._prepared_answer(judged, request, for_nginx).response
        return replace(response, body=b"") if request.method == "HEAD" else response

    def at_once(
        self,
        method: str,
        headers: list[HeaderField],
        client: Sequence[object] | None,
        appended: bytes = b"",
        *,
        for_nginx: bool = False,
    ) -> bytes | None:
        """As `verdict`, over the wire; None where it takes an answer from outside, or more than a prepared one."""
        if method == "HEAD":
            return None
        request = RawRequest(method, contract.VERIFY, headers, client)
        steps = self._examined(request, appended, None)
        try:
            steps.send(None)
            steps.close()
        except StopIteration as done:
            judged: Decided | Response = done.value
            prepared = EncodedResponse(judged) if isinstance(judged, Response) else None
            return (prepared or self._prepared_answer(judged, request, for_nginx)).wire  # type: ignore[arg-type]
        except Exception as error:
            return EncodedResponse(self._failed(error)).wire
        return None

    def _prepared_answer(self, judged: Decided, request: RawRequest, for_nginx: bool) -> EncodedResponse:
        key = self._answers.key(judged, self._block(request)) if _tells_one_user_agent(request) else b""
        if for_nginx:
            return self._answers.for_nginx(judged, key)
        if judged.refusal is not None:
            judged.cached.counts.bytes += len(judged.refusal.body)
            key = b""
        return self._answers.native(judged, key)

    def _block(self, request: RawRequest) -> str | None:
        compiled = self.compiled
        if not compiled.guard.asks_address:
            return None
        peer = request.client[0] if request.client else None
        found = client_address(peer, request.headers, compiled.policy.trusted_proxies)  # type: ignore[arg-type]
        return address_block(found.address)

    def _examined(
        self, request: RawRequest, appended: bytes, client: Sequence[object] | None
    ) -> Examination[Decided | Response]:
        """The verdict on the request that was asked about, or what to answer without one."""
        compiled = self.compiled
        try:
            if not compiled.policy.trusted_proxies.trusts(request.client[0] if request.client else None):
                return self._unusable("caller_not_trusted", request)
            original, raws = original_request(request, appended)
            original.client = client or original.client
            plain = not any(map(other_readings, raws))
            if not plain:
                original.path = strictest_reading(compiled, original.path, raws, user_agent_of(original.headers))
        except Missing:
            return self._unusable("uri_missing", request)
        except Malformed as error:
            self.telemetry.gateway_problems.labels(str(error)).inc()
            return self._refused_as_malformed(request)
        judged = yield from self.judge(original)
        if isinstance(judged, Decided):
            judged.lasts = judged.lasts and plain
            return judged
        return self._for_everyone(compiled, original, judged)

    def _refused_as_malformed(self, request: RawRequest) -> Decided:
        cached, refusal = self._malformed
        cached.counts.requests += 1
        user_agent = user_agent_of(request.headers)
        uri = next((value for name in contract.URI if (value := request.value(name.encode()))), b"")
        verdict_headers = RawRequest("GET", uri.decode("latin-1"), request.headers, request.client)
        self._note(verdict_headers, cached, user_agent)
        return Decided(cached, refusal, user_agent, False, None)

    def _for_everyone(self, compiled: CompiledPolicy, original: RawRequest, published: ServeDocument) -> Response:
        if published.document.path == robots_txt.PATH:
            self._robots_read(compiled, original, published.user_agent)
        return Response(200, ((b"content-length", b"0"), NO_STORE, (b"x-noai-verdict", b"allow")), b"")

    def _unusable(self, problem: str, request: RawRequest) -> Response:
        """503: no verdict, so the proxy does what the policy says for that; told once for each caller."""
        self.telemetry.gateway_problems.labels(problem).inc()
        caller = request.client[0] if request.client else "a UNIX socket"
        if (problem, caller) not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add((problem, caller))
            _log.error("the gateway was asked by %s and cannot answer: %s", caller, _TELLS[problem])
        return _text(503, "The gateway cannot tell what it is asked; its log says why.\n")

    async def _answer(self, request: RawRequest) -> Response:
        return self.answer(request)

    def answer(self, request: RawRequest) -> Response:
        """The refusal again, for a proxy that could not pass it on. Judges nothing anew, and never lets in."""
        asked = self._what_was_refused(request)
        if isinstance(asked, Response):
            return asked
        cached, refusal = asked
        cached.counts.bytes += len(refusal.body)
        return Response(refusal.status, (*refusal.headers, *verdict_headers(cached)), refusal.body)

    def _what_was_refused(self, request: RawRequest) -> tuple[CachedDecision, Response] | Response:
        compiled, resolved_paths, agents, after = self._live
        status = request.value(contract.STATUS.encode("ascii"))
        if not compiled.policy.trusted_proxies.trusts(request.client[0] if request.client else None):
            return self._unusable("caller_not_trusted", request)
        if status not in _ACTIONS:
            # The proxy itself said no to a request that we let in, or never asked about.
            return _text(403, "Forbidden\n")
        action = _ACTIONS[status]
        try:
            original, raws = original_request(request)
            user_agent = user_agent_of(original.headers)
            resolved = resolved_paths[strictest_reading(compiled, original.path, raws, user_agent)]
            verdict = resolved.decisions[agents[user_agent]].verdict
            if verdict.action is not action:
                verdict = compiled.guard.instead(verdict, action, "as was decided")
            return after[verdict], compiled.refusal(verdict, resolved.path, original.method, original.headers)
        except Exception as error:
            if not isinstance(error, (Malformed, Missing)):
                self.telemetry.failed("judging", error)
            return self._malformed[0], self._denial

    async def _health(self, request: RawRequest) -> Response:
        return _text(200, "alive\n")

    async def _ready(self, request: RawRequest) -> Response:
        trusted = self.compiled.policy.trusted_proxies
        if trusted.peers or trusted.unix:
            return _text(200, "ready\n")
        return _text(503, "nobody may ask: the policy names no trusted_proxies\n")

    def _document(self, request: RawRequest) -> Response:
        """A declaration, for everyone; 404 for what is none."""
        compiled, resolved_paths, *_ = self._live
        resolved = resolved_paths[request.path]
        document = resolved.document
        if document is None or not resolved.publishes(request.method, ""):
            return _text(404, "Nothing is here. Proxies ask at /.noai/verify.\n")
        if document.path == robots_txt.PATH:
            self._robots_read(compiled, request, user_agent_of(request.headers))
            document = self._robots(compiled, document, self._sites_robots(compiled))
        self.telemetry.documents.labels(document.path).inc()
        return document_answer(document, request.method, request.headers)

    def _sites_robots(self, compiled: CompiledPolicy) -> bytes | None:
        """The site's own robots.txt; as it was read last where it cannot be read now."""
        if self._own_robots is not None and compiled.merges_robots:
            try:
                with self._own_robots.open("rb") as file:
                    self._existing = file.read(robots_file.MAX_BYTES)
            except OSError as error:
                self.telemetry.failed("robots_txt", error)
        return self._existing


def _request(scope: Scope, path: str) -> RawRequest:
    return RawRequest(method_of(scope), path, list(scope["headers"]), scope.get("client"))


def _tells_one_user_agent(request: RawRequest) -> bool:
    lines = 0
    for name, _ in request.headers:
        lines += name == b"user-agent"
    return lines < 2


def _text(status: int, text: str) -> Response:
    body = text.encode("ascii")
    kind = (b"content-type", b"text/plain; charset=utf-8")
    return Response(status, (kind, (b"content-length", b"%d" % len(body)), NO_STORE), body)
