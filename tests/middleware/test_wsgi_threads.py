"""Many threads at once: everything is counted, once; the policy changes under them all at once."""

import os
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from prometheus_client import CollectorRegistry

from noai_guard import NoAIWSGIMiddleware
from tests.files import replace_text
from tests.middleware.asgi_kit import BROWSER, SCRAPER, metric
from tests.middleware.wsgi_kit import answering, ask, guarded, http, streaming

pytestmark = pytest.mark.usefixtures("hangup_as_before", "impatient")

THREADS, EACH = 8, 300
PAGE = b"<!doctype html><html><head></head><body></body></html>"


@pytest.fixture(autouse=True)
def restless():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work):
    with ThreadPoolExecutor(THREADS) as pool:
        return Counter(
            result
            for results in pool.map(lambda _: [work() for _ in range(EACH)], range(THREADS))
            for result in results
        )


@pytest.mark.parametrize(("app", "pages"), [
    (answering(PAGE, "text/html"), 1), (streaming(PAGE[:9], PAGE[9:]), 1), (answering(PAGE, "audio/x"), 0),
])  # fmt: skip
def test_requests_bytes_and_metas_are_counted_exactly(app, pages):
    guard = guarded(app, checked=False)
    sizes = in_threads(lambda: len(ask(guard, http(), checked=False).body))
    assert sum(sizes.values()) == THREADS * EACH
    assert metric(guard, "requests", action="allow") == THREADS * EACH
    assert metric(guard, "bytes", outcome="served") == sum(size * times for size, times in sizes.items())
    assert metric(guard, "injections", outcome="injected") == THREADS * EACH * pages


def test_a_ration_is_given_out_exactly_once():
    guard = guarded(
        answering(), "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 100, seconds: 3600}}\n", checked=False
    )
    statuses = in_threads(lambda: ask(guard, http("/", SCRAPER), checked=False).status)
    assert statuses == {200: 100, 429: THREADS * EACH - 100}


def test_thousands_of_new_user_agents_and_paths_at_once_are_answered():
    guard = guarded(answering(), checked=False)
    numbers = count()

    def visit():
        number = next(numbers)
        return ask(guard, http(f"/{number}", b"GPTBot/%d" % number), checked=False).status

    statuses = in_threads(visit)
    assert statuses == {403: THREADS * EACH}
    assert metric(guard, "requests", agent="GPTBot") == THREADS * EACH
    assert metric(guard, "guard_failures") == 0


def test_of_many_threads_that_come_first_one_starts_the_watch(tmp_path, monkeypatch):
    watches = count()
    monkeypatch.setattr("noai_guard.middleware.periodic_tasks._run", lambda tasks: next(watches))
    monkeypatch.setattr("noai_guard.middleware.runtime.HOUSEKEEPING_SECONDS", 60)
    (tmp_path / "noai.yaml").write_text("features: {reload: watch}\n")
    for started in range(1, 21):
        guard = NoAIWSGIMiddleware(answering(), tmp_path / "noai.yaml", registry=CollectorRegistry())
        with ThreadPoolExecutor(THREADS) as pool:
            assert set(pool.map(lambda _: ask(guard, http()).status, range(THREADS))) == {200}  # noqa: B023
        until(lambda: repr(watches) == f"count({started})")  # noqa: B023


def until(true, seconds=30):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


STORY = [("mode: monitor\n", "ok", 200), ("mode: nonsense\n", "failed", 200), ("mode: enforce\n", "ok", 403)]


@pytest.mark.parametrize("how", ["watch", "signal"])
def test_a_policy_changes_under_running_requests_and_none_is_lost(how, tmp_path):
    file = tmp_path / "noai.yaml"
    features = f"features: {{reload: {how}}}\n"
    file.write_text(features)
    guard = NoAIWSGIMiddleware(answering(), file, registry=CollectorRegistry())
    done = threading.Event()
    statuses: Counter[int] = Counter()

    def visit():
        while not done.is_set():
            statuses[ask(guard, http("/", SCRAPER), checked=False).status] += 1

    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        until(lambda: statuses[403])
        for text, result, wanted in STORY:
            replace_text(file, features + text)
            if how == "signal":
                os.kill(os.getpid(), signal.SIGHUP)
            until(lambda: metric(guard, "reloads", result=result))  # noqa: B023
            before = statuses[wanted]
            until(lambda: statuses[wanted] > before + 5)  # noqa: B023
    finally:
        done.set()
        visitor.join()
    assert set(statuses) == {200, 403}
    assert metric(guard, "requests") == sum(statuses.values())
    assert ask(guard, http("/", BROWSER)).status == 200


def test_a_guard_made_outside_the_main_thread_still_works(tmp_path, caplog):
    (tmp_path / "noai.yaml").write_text("features: {reload: signal}\n")

    def story():
        guard = NoAIWSGIMiddleware(answering(), tmp_path / "noai.yaml", registry=CollectorRegistry())
        return [ask(guard, http()).status for _ in range(3)]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(story).result() == [200] * 3
    assert caplog.text.count("SIGHUP cannot be handled") == 1
