"""The guard without a server's interface, carried by `run`, also in many threads."""

import asyncio
import threading

import pytest
from noai_guard.middleware.backend_adapters import SafeAsyncBackend, SafeBackend
from noai_guard.middleware.cached_decisions import Decided, ServeDocument
from noai_guard.middleware.request import RawRequest
from prometheus_client import CollectorRegistry

from noai_guard.core.questions import arun, run
from noai_guard.middleware.runtime import GuardRuntime
from tests.middleware.asgi_kit import BROWSER, SCRAPER, answering, ask, guarded, http, metric, policy

RATIONS = "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 3, seconds: 3600}}\n"


def live(text: str | None = None, **options) -> GuardRuntime:
    return GuardRuntime(policy(text) if text else None, registry=CollectorRegistry(), **options)


def raw(path="/", user_agent=BROWSER, method="GET", client=("203.0.113.7", 50000)) -> RawRequest:
    return RawRequest(method, path, [(b"host", b"music.example"), (b"user-agent", user_agent)], client)


def judged(guard: GuardRuntime, request: RawRequest, backend: SafeBackend | None = None) -> ServeDocument | Decided:
    return run(guard.judge(request), backend or SafeBackend(), guard._unanswered)


def test_a_listener_is_let_in_and_a_scraper_gets_the_same_refusal_as_through_asgi():
    guard = live()
    assert judged(guard, raw()).refusal is None
    refused = judged(guard, raw("/tracks/7.mp3", SCRAPER)).refusal
    exchange = ask(guarded(answering()), http("/tracks/7.mp3", SCRAPER))
    assert (refused.status, list(refused.headers), refused.body) == (exchange.status, exchange.headers, exchange.body)


def test_documents_are_published_and_never_judged():
    guard = live()
    assert judged(guard, raw("/robots.txt", SCRAPER)).document.path == "/robots.txt"
    assert judged(guard, raw("/robots.txt", SCRAPER, "POST")).refusal.status == 403
    assert metric(guard, "requests") == 1


def test_questions_are_answered_at_once_or_after_waiting():
    for _ in range(2):
        guard, backend = live(RATIONS), SafeBackend()
        statuses = [judged(guard, raw("/", SCRAPER), backend).refusal for _ in range(4)]
        assert [refusal and refusal.status for refusal in statuses] == [None, None, None, 429]

    async def awaited():
        guard, backend = live(RATIONS), SafeAsyncBackend(None, 1)
        return [await arun(guard.judge(raw("/", SCRAPER)), backend, guard._unanswered) for _ in range(4)]

    assert [one.refusal is None for one in asyncio.run(awaited())] == [True, True, True, False]


@pytest.mark.parametrize(("text", "refused"), [(RATIONS, False), (RATIONS + "on_unknown: deny\n", True)])
def test_a_backend_that_panics_leaves_it_to_on_unknown(text, refused):
    class Panic(BaseException):
        pass

    class Panics:
        def answer(self, question):
            raise Panic

    guard = live(text)
    assert (judged(guard, raw("/", SCRAPER), SafeBackend(Panics())).refusal is not None) is refused
    assert metric(guard, "backend_failures", question="Count") == 1


@pytest.mark.parametrize("damage", [{"path": None}, {"headers": None}, {"headers": [None]}, {"path": "/" * 70_000}])
def test_what_cannot_be_read_never_raises(damage):
    request = raw("/", SCRAPER)
    for name, value in damage.items():
        setattr(request, name, value)
    assert isinstance(judged(live("on_unknown: deny\n"), request), Decided)


def test_threads_count_exactly_even_beside_an_asgi_guard_of_the_same_registry():
    registry = CollectorRegistry()
    limit = "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 1000, seconds: 86400}}\n"
    guard = GuardRuntime(policy(limit), registry=registry, threads=True)
    beside = guarded(answering(), registry=registry)
    backend = SafeBackend()
    refused: list[int] = []

    def many():
        for _ in range(500):
            refused.append(judged(guard, raw("/", SCRAPER), backend).refusal is not None)
            judged(guard, raw("/"))

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        ask(beside, http())
    for thread in threads:
        thread.join()
    assert metric(guard, "requests", agent="none") == 4 * 500 + 100
    assert sum(refused) == 4 * 500 - 1000
