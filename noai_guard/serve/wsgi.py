"""The guard as WSGI middleware (PEP 3333).

Nothing is buffered. What the app returns goes to the server as the same object wherever its bytes need not be seen
one by one: lists keep their length, and files (`wsgi.file_wrapper`) are still sent by the kernel.
"""

import threading
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from time import perf_counter
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry

from noai_guard.declarations import robots_txt
from noai_guard.front import Front, document_answer, native
from noai_guard.memo import Memo
from noai_guard.model import Response
from noai_guard.policy import Policy
from noai_guard.ports import Answerer, run
from noai_guard.request_path import normal_path
from noai_guard.serve.answering import Asked
from noai_guard.serve.live import TIMED_MASK, LiveGuard
from noai_guard.serve.raw_request import MOST_HEADERS
from noai_guard.serve.standing import Published, Standing
from noai_guard.serve.wsgi_request import EnvironRequest, path_of, user_agent_lines
from noai_guard.serve.wsgi_response import Outgoing
from noai_guard.serve.wsgi_robots import apps_robots

VERDICT = "noai.verdict"
"""The environ key that holds the verdict; a request that has one is judged, so a guard inside a guard does nothing."""


class NoAIWSGIMiddleware(LiveGuard):
    """`app = NoAIWSGIMiddleware(app)`; the app finds the verdict in `environ["noai.verdict"]`.

    `policy` is a path to a noai.yaml, a Policy, or None for the packaged no-ai stance. `registry` is the
    Prometheus registry (the default one when None). `backend` answers what the judge asks, at once and within a
    time of its own, perhaps in several threads; in memory when None. Raises PolicyInvalid, with every problem, when
    the policy cannot be used at start; later a broken file leaves the last good policy running.
    """

    def __init__(
        self,
        app: WSGIApplication,
        policy: str | Path | Policy | None = None,
        *,
        registry: CollectorRegistry | None = None,
        backend: Answerer | None = None,
    ) -> None:
        super().__init__(policy, registry=registry, threads=True)
        self.app = app
        self._backend = Asked(backend)
        self._apps_robots: bytes | None = None
        if self._reloads and threading.current_thread() is threading.main_thread():
            # Requests may come in other threads only, in which signals cannot be listened to.
            self._listen_for_hangup()

    def _use(self, front: Front) -> None:
        self._user_agents: Memo[str, bytes] = Memo(lambda text: user_agent_lines(text, front.guard.agents))
        super()._use(front)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if VERDICT in environ:
            return self.app(environ, start_response)
        standing = self._let_in_at_once(environ)
        if standing is None:
            request = EnvironRequest(environ, self._user_agents)
            found = run(self.judge(request), self._backend, self._unanswered)
            if isinstance(found, Published):
                return _sent(self._document(request, found), start_response)
            standing = found.standing
            if found.refusal is not None:
                environ[VERDICT] = standing.verdict
                return _sent(self._refusal(request, standing, found.refusal), start_response)
        environ[VERDICT] = standing.verdict
        outgoing = Outgoing(self.telemetry, environ, standing, start_response)
        return outgoing.passed_on(self.app(environ, outgoing.start))

    def _let_in_at_once(self, environ: WSGIEnvironment) -> Standing | None:
        """A short cut through `judge` to what it mostly says: nothing to ask, publish, refuse or note. Counts the
        request where it gives its standing. Half of the guard's time is saved (4.6 to 2.3 µs, 2026-11-26)."""
        started = perf_counter()
        try:
            if started >= self._next_chores:
                return None
            _, places, agents, _ = self._live
            place = places[path_of(environ)]
            standing = place.standings[agents[self._user_agents[environ.get("HTTP_USER_AGENT", "")]]]
        except Exception:
            return None  # judge says what is wrong
        if place.document is not None or not (standing.plain and standing.settled):
            return None
        cell = standing.cell
        with self.telemetry.counting:
            if not cell.requests & TIMED_MASK:
                self.telemetry.judged_in(perf_counter() - started)
            cell.requests += 1
        return standing

    def _refusal(self, request: EnvironRequest, standing: Standing, refusal: Response) -> Response:
        if request.method == "HEAD":
            refusal = Response(refusal.status, refusal.headers, b"")
        with self.telemetry.counting:
            standing.cell.bytes += len(refusal.body)
        return refusal

    def _document(self, request: EnvironRequest, found: Published) -> Response:
        document, front = found.document, found.front
        if document.path == robots_txt.PATH:
            self._robots_read(front, request, found.user_agent)
            if front.merges_robots:
                self._ask_for_robots(request, front, found.user_agent)
            document = self._robots(front, document, self._apps_robots)
        self.telemetry.documents.labels(document.path).inc()
        return document_answer(document, request.method, request.headers[:MOST_HEADERS])

    def _ask_for_robots(self, request: EnvironRequest, front: Front, user_agent: bytes) -> None:
        """Asks the app for its own robots.txt; the last one stands when it fails now: without it, what the app
        disallows would be open."""
        try:
            verdict = front.guard.judged(normal_path(request.path), user_agent)
            self._apps_robots = apps_robots(self.app, {**request.environ, VERDICT: verdict})
        except Exception as error:
            self.telemetry.failed("robots_txt", error)


def _sent(response: Response, start_response: StartResponse) -> Iterable[bytes]:
    start_response(f"{response.status} {HTTPStatus(response.status).phrase}", native(response.headers))
    return [response.body]
