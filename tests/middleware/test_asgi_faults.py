"""When something of ours or behind us breaks: on_unknown decides, a metric rises, and it is never a 500."""

import asyncio
import threading

import pytest

from noai_guard.observability import decision_log
from tests.middleware.asgi_kit import (
    BROWSER,
    OURS,
    SCRAPER,
    answering,
    ask,
    asked,
    guarded,
    http,
    metric,
    sending,
    websocket,
)

DENIES = "on_unknown: deny\n"
RATIONS = "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 100, seconds: 60}}\n"


def broken(*args, **kwargs):
    raise ZeroDivisionError("ours is broken")


def with_broken_judge(guard):
    table = guard.runtime.compiled.guard.table
    table.decide = broken
    for path_class in table._path_classes.values():
        path_class.verdicts.clear()
    return guard


def with_broken_recognition(guard):
    guard.runtime.compiled.guard.claims._function = broken
    return guard


@pytest.mark.parametrize("damaged", [with_broken_judge, with_broken_recognition])
@pytest.mark.parametrize("user_agent", [BROWSER, SCRAPER])
def test_a_broken_judge_lets_in_and_is_counted(damaged, user_agent, caplog):
    guard = damaged(guarded(answering()))
    exchange = ask(guard, http(user_agent=user_agent))
    assert (exchange.status, exchange.body) == (200, b"hello")
    assert exchange.headers[-len(OURS) :] == OURS
    assert metric(guard, "guard_failures", place="judging") == 1
    assert metric(guard, "requests", rule="unjudged", action="allow") == 1
    assert "ours is broken" in caplog.text


def test_a_broken_judge_refuses_where_on_unknown_says_deny():
    guard = with_broken_judge(guarded(answering(), DENIES))
    exchange = ask(guard, http())
    assert exchange.status == 403
    assert exchange.values(b"cache-control") == [b"no-store"]
    assert metric(guard, "requests", rule="unjudged", action="deny") == 1


def test_a_broken_judge_closes_a_websocket_where_on_unknown_says_deny():
    assert ask(with_broken_judge(guarded(answering(), DENIES)), websocket()).messages[0]["code"] == 1008


def test_a_broken_judge_refuses_nothing_in_monitor_mode():
    guard = with_broken_judge(guarded(answering(), DENIES + "mode: monitor"))
    assert ask(guard, http()).status == 200
    assert metric(guard, "requests", rule="unjudged", action="deny", mode="monitor") == 1


@pytest.mark.parametrize(("text", "status"), [("", 200), (DENIES, 403)])
def test_a_refusal_that_cannot_be_worded_is_as_on_unknown_says(text, status, monkeypatch):
    guard = guarded(answering(), text)
    monkeypatch.setattr(guard.runtime.compiled, "refusal", broken)
    assert ask(guard, http(user_agent=SCRAPER)).status == status
    assert metric(guard, "guard_failures") == 1


@pytest.mark.parametrize("attribute", ["active", "_next_housekeeping"])
def test_a_guard_whose_own_parts_are_lost_lets_in(attribute, monkeypatch):
    guard = guarded(answering())
    monkeypatch.setattr(guard.runtime, attribute, None)
    assert ask(guard, http()).body == b"hello"
    assert metric(guard, "guard_failures") == 1


def test_a_decision_that_cannot_be_logged_still_holds(monkeypatch):
    monkeypatch.setattr("noai_guard.observability.decision_log.DecisionLog.write", broken)
    guard = guarded(answering())
    decision_log.decisions.setLevel("INFO")
    try:
        assert ask(guard, http(user_agent=SCRAPER)).status == 403
    finally:
        decision_log.decisions.setLevel("NOTSET")
    assert metric(guard, "guard_failures", place="noting") == 1


@pytest.mark.parametrize("content_type", [b"text/html", b"audio/mpeg"])
def test_an_answer_whose_headers_we_cannot_read_goes_out_as_it_was(content_type, monkeypatch):
    monkeypatch.setattr("noai_guard.middleware.asgi_response.tagged", broken)
    guard = guarded(answering(b"<head></head>", content_type, 200, (b"content-usage", b"own")))
    exchange = ask(guard, http())
    assert (exchange.status, exchange.body) == (200, b"<head></head>")
    assert exchange.values(b"content-length") == [b"13"]
    assert metric(guard, "guard_failures", place="declaring") == 1


def test_an_injector_that_cannot_be_made_leaves_the_page_as_it_was(monkeypatch):
    monkeypatch.setattr("noai_guard.middleware.html_tags.TagInjector", broken)
    exchange = ask(guarded(answering(b"<head></head>", b"text/html")), http())
    assert exchange.body == b"<head></head>"
    assert exchange.values(b"content-length") == [b"13"]


def test_a_page_whose_metas_cannot_be_placed_goes_out_as_it_was(monkeypatch):
    monkeypatch.setattr("noai_guard.middleware.asgi_response.whole_page", broken)
    guard = guarded(answering(b"<head></head>", b"text/html; charset=utf-8"))
    exchange = ask(guard, http())
    assert (exchange.status, exchange.body, exchange.error) == (200, b"<head></head>", None)
    assert exchange.values(b"content-length") == [b"13"]
    assert metric(guard, "guard_failures", place="declaring") == 1


@pytest.mark.parametrize("failing", ["_skip_prologue", "_choose_early"])
def test_a_streamed_page_whose_metas_cannot_be_placed_goes_out_whole(failing, monkeypatch):
    parts = [b"<!doctype html><ht", b"ml><head><meta charset=utf-8>", b"<title>a</title></head>"]
    bodies = [{"type": "http.response.body", "body": part, "more_body": True} for part in parts]
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html;charset=utf-8")]}
    guard = guarded(sending(start, *bodies, {"type": "http.response.body"}))
    monkeypatch.setattr(f"noai_guard.responses.html_injection.TagInjector.{failing}", broken)
    exchange = ask(guard, http())
    assert (exchange.body, exchange.error) == (b"".join(parts), None)
    assert metric(guard, "guard_failures", place="declaring") == 1


def test_robots_txt_is_served_when_its_reader_cannot_be_recognised():
    guard = with_broken_recognition(guarded(answering()))
    assert ask(guard, http("/robots.txt")).status == 200


class Answers:
    """A backend of one answer, or one failure, or none at all."""

    def __init__(self, answer=None, error=None, seconds=0.0):
        self.answer_with, self.error, self.seconds = answer, error, seconds
        self.asked = 0

    async def answer(self, question):
        self.asked += 1
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return self.answer_with


class NotAnException(BaseException):
    pass


ERRORS = [
    OSError("refused"),
    TimeoutError(),
    ValueError(),
    KeyError("x"),
    StopIteration(),
    StopAsyncIteration(),
    RuntimeError(),
    RecursionError(),
    MemoryError(),
    asyncio.CancelledError(),
    NotAnException(),
    BaseExceptionGroup("several", [NotAnException()]),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("text", "status"), [("", 200), (DENIES, 403)])
def test_a_backend_that_fails_leaves_it_to_on_unknown(error, text, status):
    guard = guarded(answering(), RATIONS + text, store=Answers(error=error))
    assert ask(guard, http(user_agent=SCRAPER)).status == status
    assert metric(guard, "backend_failures", question="Count") == 1
    assert metric(guard, "guard_failures") == 0


@pytest.mark.parametrize(("text", "status"), [("", 200), (DENIES, 403)])
def test_a_slow_backend_is_not_waited_for(text, status):
    guard = guarded(answering(), RATIONS + text, store=Answers(1, seconds=30), deadline=0.02)

    async def bounded():
        return await asyncio.wait_for(asked(guard, http(user_agent=SCRAPER)), 20)

    assert asyncio.run(bounded()).status == status
    assert metric(guard, "backend_failures", question="Count") == 1


@pytest.mark.parametrize(("answer", "status"), [(None, 403), ("many", 403), (object(), 403), (1, 200), (101, 429)])
def test_a_backend_that_answers_nonsense_leaves_it_to_on_unknown(answer, status):
    guard = guarded(answering(), RATIONS + DENIES, store=Answers(answer))
    assert ask(guard, http(user_agent=SCRAPER)).status == status


def test_a_backend_that_is_no_coroutine_leaves_it_to_on_unknown():
    class Sync:
        def answer(self, question):
            return 1

    assert ask(guarded(answering(), RATIONS + DENIES, store=Sync()), http(user_agent=SCRAPER)).status == 403


def test_a_request_that_is_cancelled_while_the_backend_is_asked_ends():
    backend = Answers(1, seconds=30)
    guard = guarded(answering(), RATIONS, store=backend)

    async def cancelled():
        task = asyncio.create_task(asked(guard, http(user_agent=SCRAPER)))
        while not backend.asked:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=20)
        return task.cancelled()

    assert asyncio.run(cancelled())


def test_a_listener_never_waits_for_a_backend():
    backend = Answers(error=OSError())
    guard = guarded(answering(), RATIONS, store=backend)
    assert ask(guard, http()).status == 200
    assert backend.asked == 0


def test_counting_is_exact_while_other_threads_scrape():
    guard = guarded(answering(b"<head></head>", b"text/html"))
    done = threading.Event()

    def scrape():
        while not done.is_set():
            guard.runtime.telemetry.metrics.flush()

    scrapers = [threading.Thread(target=scrape) for _ in range(2)]
    for scraper in scrapers:
        scraper.start()

    async def many():
        for _ in range(5000):
            await asked(guard, http())

    try:
        asyncio.run(many())
    finally:
        done.set()
        for scraper in scrapers:
            scraper.join()
    assert metric(guard, "requests") == 5000
    assert metric(guard, "injections", outcome="injected") == 5000
    assert metric(guard, "bytes") == 5000 * len(ask(guard, http()).body)
