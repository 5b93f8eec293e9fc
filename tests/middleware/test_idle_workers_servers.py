"""A worker that nobody has asked yet, or that slept, judges its next request by what creators wish now."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from noai_guard.middleware import periodic_tasks, reloading
from tests.middleware.asgi_kit import SCRAPER
from tests.middleware.wish_sources import POLICY, CataloguedWishes, Site
from tests.servers import Server

ASGI_APP = """
import os
from noai_guard import NoAIMiddleware

async def site(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})

guarded = NoAIMiddleware(site, "noai.yaml")

async def app(scope, receive, send):
    async def named(message):
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"x-worker", str(os.getpid()).encode())]}
        await send(message)
    await guarded(scope, receive, named)
"""

WSGI_APP = """
import os
from noai_guard import NoAIWSGIMiddleware

def site(environ, start_response):
    start_response("200 OK", [("content-length", "0")])
    return []

guarded = NoAIWSGIMiddleware(site, "noai.yaml")

def app(environ, start_response):
    def named(status, headers, error=None):
        return start_response(status, [*headers, ("x-worker", str(os.getpid()))])
    return guarded(environ, named)
"""


def asked(server: Server, path: str) -> tuple[int, int]:
    """Return the status of a request on a connection of its own, and the process that answered."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path, headers={"User-Agent": SCRAPER.decode()})
        response = connection.getresponse()
        response.read()
        return response.status, int(response.headers["x-worker"])
    finally:
        connection.close()


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """Keep a worker from accepting connections, so that the other one has to."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("uvicorn-h11", ("--workers=2", "--lifespan=on")),
        ("uvicorn-h11", ("--workers=2", "--lifespan=off")),
        ("gunicorn-sync", ("--workers=2", "--preload")),
    ],
    ids=["uvicorn", "uvicorn without lifespan", "gunicorn"],
)
def test_the_first_request_to_an_idle_worker_is_judged_by_what_is_wished_now(
    kind: str, options: tuple[str, ...], server: Callable[..., Server], tmp_path: Path
) -> None:
    source = CataloguedWishes(tmp_path)
    source.write("work,train-ai\ntide,no\n")
    (tmp_path / "noai.yaml").write_text(POLICY + source.policy)
    (tmp_path / "music_site.py").write_text(WSGI_APP if kind.startswith("gunicorn") else ASGI_APP)
    started = server(kind, "music_site:app", tmp_path, options=options)
    status, busy = asked(started, "/audio/foam.mp3")
    assert status == 200
    source.write("work,train-ai\nfoam,no\n")
    time.sleep(2.1)
    with stopped(busy):
        status, idle = asked(started, "/audio/foam.mp3")
        assert (status, idle != busy) == (403, True)
        assert asked(started, "/audio/tide.mp3") == (200, idle)


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_a_process_that_slept_looks_before_it_judges(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(periodic_tasks.PeriodicTasks, "start", lambda tasks: None)
    source = CataloguedWishes(tmp_path)
    source.write("work,train-ai\ntide,no\n")
    site = Site(kind, source, tmp_path)
    assert site.answer("/audio/foam.mp3")[0] == 200
    source.write("work,train-ai\nfoam,no\n")
    site.runtime._tasks._ran_at -= periodic_tasks.OVERDUE_SECONDS
    site.runtime._next_housekeeping = 0.0
    assert site.answer("/audio/foam.mp3")[0] == 403
    site.close()


def test_a_source_that_does_not_answer_holds_a_request_up_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "CATCH_UP_SECONDS", 0.05)
    monkeypatch.setattr(periodic_tasks.PeriodicTasks, "is_overdue", True)
    source = CataloguedWishes(tmp_path)
    source.write("work,train-ai\ntide,no\n")
    site = Site("asgi", source, tmp_path)
    looks: list[float] = []

    def look() -> None:
        looks.append(time.monotonic())
        time.sleep(2)

    monkeypatch.setattr(site.runtime.wishes, "look_now", look)
    began = time.monotonic()
    for _ in range(3):
        site.runtime._next_housekeeping = 0.0
        assert site.answer("/audio/tide.mp3")[0] == 403
    assert time.monotonic() - began < 1.5
    assert len(looks) == 1
    site.close()
