"""The guard as WSGI middleware (PEP 3333).

Nothing is buffered. What the app returns goes to the server as the same object wherever its bytes need not be seen
one by one: lists keep their length, and files (`wsgi.file_wrapper`) are still sent by the kernel.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.model import Response
from noai_guard.core.paths import normal_path
from noai_guard.core.policy import Policy
from noai_guard.core.questions import Store, run
from noai_guard.declarations import robots_txt
from noai_guard.middleware.active_policy import ActivePolicy, Decided, ServeDocument
from noai_guard.middleware.own_robots import OwnFile, OwnRobots
from noai_guard.middleware.policy_loading import compiled_policy
from noai_guard.middleware.routes import blocking_routes
from noai_guard.middleware.runtime import GuardRuntime
from noai_guard.middleware.wsgi_request import EnvironRequest, user_agent_lines
from noai_guard.middleware.wsgi_response import Outgoing
from noai_guard.responses.header_fields import native
from noai_guard.stores.asked_wishes import Lookup
from noai_guard.stores.reverse_dns import ReverseDns

VERDICT = "noai.verdict"
"""The environ key of the last guard's verdict. A guard within a guard judges too; the stricter verdict counts."""


class NoAIWSGIMiddleware:
    """`app = NoAIWSGIMiddleware(app)`; the app finds the Verdict in `environ["noai.verdict"]`.

    `policy`, `registry`, `names`, `runtime` and `check` as for NoAIMiddleware. `store` answers what the judge asks, at
    once and within a time of its own, perhaps in several threads, or is an address; None for what the policy names.
    `wishes` as there, but a plain function; it runs in a thread and has `deadline` seconds.
    Raises PolicyInvalid, with every problem, if the policy cannot be used: WSGI servers stop when an app cannot be
    imported.
    """

    def __init__(
        self,
        app: WSGIApplication,
        policy: str | Path | Policy | None = None,
        *,
        registry: CollectorRegistry | None = None,
        store: Store | str | None = None,
        wishes: Lookup | None = None,
        names: ReverseDns | None = None,
        deadline: float = 0.5,
    ) -> None:
        self.app = app
        self.runtime = GuardRuntime(policy, registry=registry, threads=True, store=store, wishes=wishes)
        if self.runtime.asked is not None and self.runtime.asked.is_async:
            raise TypeError("wishes= has to be a plain function in WSGI, where nothing can be awaited")
        self._stores = blocking_routes(self.runtime, names, deadline)
        self._own_robots = OwnRobots(partial(self.runtime.telemetry.failed, "robots_txt"))
        # For each policy, what is judged of each HTTP_USER_AGENT: that depends on the agents the policy knows.
        self._user_agents: BoundedCache[ActivePolicy, Mapping[str, bytes]] = BoundedCache(
            lambda active: BoundedCache(lambda text: user_agent_lines(text, active.claims)), max_entries=1
        )
        if threading.current_thread() is threading.main_thread():
            # Requests may come in other threads only, in which signals cannot be handled.
            self.runtime.reloading.handle_hangup()

    @staticmethod
    def check(policy: str | Path | Policy | None = None) -> None:
        """Raise PolicyInvalid, with every problem, if a policy cannot be used."""
        compiled_policy(policy)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        runtime = self.runtime
        if VERDICT in environ:
            runtime.reports.report_nesting()
        request = EnvironRequest(environ, self._user_agents[runtime.active])
        outcome = runtime.decide(request)
        if isinstance(outcome, ServeDocument):
            return _sent(self._document(request, outcome), start_response)
        decided = outcome if isinstance(outcome, Decided) else run(outcome, self._stores, runtime.reports.unanswered)
        cached = decided.cached
        environ[VERDICT] = cached.verdict
        if decided.refusal is not None:
            refusal = replace(decided.refusal, body=b"") if request.method == "HEAD" else decided.refusal
            with runtime.telemetry.counting:
                cached.counts.bytes += len(refusal.body)
            if cached.recorded:
                runtime.recording.record(cached, request, decided.client, refusal)
            return _sent(refusal, start_response)
        outgoing = Outgoing(runtime.telemetry, environ, cached, start_response)
        if cached.recorded and (event := runtime.recording.event(cached, request, decided.client)) is not None:
            outgoing.note(event, runtime.recorder)
        try:
            chunks = self.app(environ, outgoing.start)
        except Exception:
            outgoing.release()
            outgoing.ended()
            raise
        return outgoing.body(chunks)

    def _document(self, request: EnvironRequest, served: ServeDocument) -> Response:
        own: OwnFile = None
        compiled = served.active.compiled
        if served.document.path == robots_txt.PATH and compiled.merges_robots:
            verdict = self.runtime.documents.verdict_on_ourselves(served.active, normal_path(request.path))
            own = self._own_robots.of_wsgi_app(self.app, {**request.environ, VERDICT: verdict})
        return self.runtime.documents.response(served, request, own)


def _sent(response: Response, start_response: StartResponse) -> Iterable[bytes]:
    start_response(f"{response.status} {HTTPStatus(response.status).phrase}", native(response.headers))
    return [response.body]
