"""The guard without a server's interface, driven by `run`, also in many threads."""

import asyncio
import threading
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from noai_guard.core.questions import Count, Store, arun, run
from noai_guard.core.request import PlainRequest
from noai_guard.middleware.active_policy import Decided, ServeDocument
from noai_guard.middleware.runtime import GuardRuntime
from noai_guard.stores.memory import MemoryStore
from noai_guard.stores.router import AsyncRouter, AwaitedStore, Route, Router
from tests.middleware.asgi_kit import BROWSER, SCRAPER, answering, ask, guarded, http, metric, policy

RATIONS = "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 3, seconds: 3600}}\n"


def runtime(text: str | None = None, **options: Any) -> GuardRuntime:
    return GuardRuntime(policy(text) if text else None, registry=CollectorRegistry(), **options)


def request(path: str = "/", user_agent: bytes = BROWSER, method: str = "GET") -> PlainRequest:
    headers = [(b"host", b"music.example"), (b"user-agent", user_agent)]
    return PlainRequest(path, headers, method, ("203.0.113.7", 50000))


def decided(guard: GuardRuntime, request: PlainRequest, store: Store | None = None) -> Decided:
    outcome = guard.decide(request)
    assert not isinstance(outcome, ServeDocument)
    if isinstance(outcome, Decided):
        return outcome
    return run(outcome, Router({Count: store or MemoryStore()}), guard.reports.unanswered)


def status(outcome: Decided) -> int:
    return outcome.refusal.status if outcome.refusal else 200


def test_a_listener_is_let_in_and_a_scraper_gets_the_same_refusal_as_through_asgi() -> None:
    guard = runtime()
    assert status(decided(guard, request())) == 200
    refusal = decided(guard, request("/tracks/7.mp3", SCRAPER)).refusal
    exchange = ask(guarded(answering()), http("/tracks/7.mp3", SCRAPER))
    assert refusal is not None
    assert (refusal.status, list(refusal.headers), refusal.body) == (exchange.status, exchange.headers, exchange.body)


def test_documents_are_published_and_never_judged() -> None:
    guard = runtime()
    outcome = guard.decide(request("/robots.txt", SCRAPER))
    assert isinstance(outcome, ServeDocument)
    assert outcome.document.path == "/robots.txt"
    assert status(decided(guard, request("/robots.txt", SCRAPER, "POST"))) == 403
    assert metric(guard, "requests") == 1


def test_a_handshake_for_the_path_of_a_document_is_judged() -> None:
    assert isinstance(runtime().decide(request("/robots.txt", SCRAPER), False), Decided)


def test_questions_are_answered_at_once_or_after_waiting() -> None:
    guard, store = runtime(RATIONS), MemoryStore()
    assert [status(decided(guard, request("/", SCRAPER), store)) for _ in range(4)] == [200, 200, 200, 429]

    async def awaiting() -> list[int]:
        guard, router = runtime(RATIONS), AsyncRouter({Count: Route(AwaitedStore(MemoryStore()), 5)})
        statuses = []
        for _ in range(4):
            outcome = guard.decide(request("/", SCRAPER))
            assert not isinstance(outcome, ServeDocument | Decided)
            statuses.append(status(await arun(outcome, router, guard.reports.unanswered)))
        return statuses

    assert asyncio.run(awaiting()) == [200, 200, 200, 429]


def test_a_decision_may_be_kept_unless_a_store_was_asked_for_it() -> None:
    exempt = "exemptions: {addresses: [203.0.113.0/24]}\n"
    assert decided(runtime(), request("/", SCRAPER)).cacheable
    by_address = decided(runtime(exempt), request("/", SCRAPER))
    assert by_address.cacheable
    assert by_address.client is not None
    assert by_address.client.address == "203.0.113.7"
    assert not decided(runtime(RATIONS), request("/", SCRAPER)).cacheable


@pytest.mark.parametrize(("text", "expected"), [(RATIONS, 200), (RATIONS + "on_unknown: deny\n", 403)])
def test_a_store_that_panics_leaves_it_to_on_unknown(text: str, expected: int) -> None:
    class Panic(BaseException):
        pass

    class Panics:
        def answer(self, question: Count) -> int:
            raise Panic

    guard = runtime(text)
    assert status(decided(guard, request("/", SCRAPER), Panics())) == expected
    assert metric(guard, "backend_failures", question="Count") == 1


@pytest.mark.parametrize("damage", [{"path": None}, {"headers": None}, {"headers": [None]}])
@pytest.mark.parametrize("text", ["on_unknown: deny\n", RATIONS + "on_unknown: deny\n"])
def test_what_cannot_be_read_never_raises(damage: dict[str, Any], text: str) -> None:
    damaged = request("/", SCRAPER)
    for name, value in damage.items():
        setattr(damaged, name, value)
    assert status(decided(runtime(text), damaged)) == 403


def test_a_client_address_that_is_a_problem_is_counted_once_for_each_request() -> None:
    text = RATIONS + "trusted_proxies: {peers: [203.0.113.7], header: x-forwarded-for}\n"
    guard, store = runtime(text), MemoryStore()
    damaged = request("/", SCRAPER)
    damaged.headers = [*damaged.headers, (b"x-forwarded-for", b"nonsense")]
    for number in range(1, 6):
        decided(guard, damaged, store)
        assert metric(guard, "address_problems") == number


def test_a_request_is_noted_under_the_policy_that_decided_it() -> None:
    guard = runtime(RATIONS)
    outcome = guard.decide(request("/", SCRAPER))
    assert not isinstance(outcome, ServeDocument | Decided)
    guard._activate(runtime().compiled)
    late = run(outcome, Router({Count: MemoryStore()}), guard.reports.unanswered)
    assert late.cached.verdict.reasons[-1] == "within 3 requests in 3600 s"


def test_threads_count_exactly_even_beside_an_asgi_guard_of_the_same_registry() -> None:
    registry = CollectorRegistry()
    limit = "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 1000, seconds: 86400}}\n"
    guard = GuardRuntime(policy(limit), registry=registry, threads=True)
    beside = guarded(answering(), registry=registry)
    store = MemoryStore()
    refused: list[int] = []

    def many() -> None:
        for _ in range(500):
            refused.append(decided(guard, request("/", SCRAPER), store).refusal is not None)
            decided(guard, request("/"))

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        ask(beside, http())
    for thread in threads:
        thread.join()
    assert metric(guard, "requests", agent="none") == 4 * 500 + 100
    assert sum(refused) == 4 * 500 - 1000
