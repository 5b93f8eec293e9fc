"""Several workers of one server: the metrics are those of all of them."""

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from noai_guard import load_catalog
from tests.middleware.asgi_kit import BROWSER, SCRAPER
from tests.observability.counting_process import until

HERE = Path(__file__).parent
LISTENERS, SCRAPERS, READERS = 240, 120, 12


def get(port: int, path: str, user_agent: bytes) -> tuple[int, str, str, int]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"User-Agent": user_agent.decode(), "Connection": "close"})
    response = connection.getresponse()
    body = response.read().decode("latin-1")
    connection.close()
    return response.status, response.getheader("x-worker") or "", body, len(body)


def visited(port: int) -> tuple[Counter[int], int]:
    """Send all visitors; return how many got which status, and the bytes of refusals."""
    asked = [("/song", BROWSER)] * LISTENERS + [("/song", SCRAPER)] * SCRAPERS + [("/robots.txt", SCRAPER)] * READERS
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda ask: get(port, *ask), asked))
    refused = sum(size for status, _, _, size in got if status == 403)
    return Counter(status for status, *_ in got), refused


def met(port: int, workers: int) -> int:
    """Come as a listener until so many workers have answered; return the number of requests."""
    seen: set[str] = set()
    deadline = time.monotonic() + 30
    for times in range(1, 100_000):
        seen.add(get(port, "/song", BROWSER)[1])
        if len(seen) == workers:
            return times
        assert time.monotonic() < deadline, "a worker does not answer"
    raise AssertionError


class Folder:
    """What the files of all workers add up to."""

    def __init__(self, folder: Path) -> None:
        self.registry = CollectorRegistry()
        MultiProcessCollector(self.registry, str(folder))

    def total(self, name: str, **labels: str) -> float:
        samples = (sample for family in self.registry.collect() for sample in family.samples)
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    def series(self, name: str) -> list[dict[str, str]]:
        return [s.labels for family in self.registry.collect() for s in family.samples if s.name == name]


@pytest.mark.parametrize("lifespan", ["on", "off"])
@pytest.mark.parametrize("kind", ["uvicorn-httptools", "uvicorn-h11"])
def test_the_totals_of_all_workers_are_what_was_sent(
    kind: str, lifespan: str, server: Callable[..., Any], tmp_path: Path
) -> None:
    options = ("--workers=2", f"--lifespan={lifespan}")
    running = server(kind, "workers_app:app", HERE, options=options, env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)})
    listeners = met(running.port, 2) + LISTENERS
    statuses, refused = visited(running.port)
    if lifespan == "off":  # uvicorn ends such workers by the signal itself: what is not yet written is lost
        until(lambda: sent(tmp_path) == listeners * 1000 + refused)
    running.stop()
    assert statuses == {200: LISTENERS + READERS, 403: SCRAPERS}
    assert_counted(tmp_path, listeners, refused)


def sent(folder: Path) -> float:
    """Return the bytes that the files of all workers count; they are counted last of a request."""
    return Folder(folder).total("noai_response_body_bytes_total")


def assert_counted(folder: Path, listeners: int, refused: int) -> None:
    """Assert that the files of all workers say what was sent."""
    all_of_them = Folder(folder)
    assert all_of_them.total("noai_requests_total") == listeners + SCRAPERS
    assert all_of_them.total("noai_requests_total", action="allow") == listeners
    assert all_of_them.total("noai_requests_total", action="deny", agent="GPTBot") == SCRAPERS
    assert all_of_them.total("noai_response_body_bytes_total", outcome="served") == listeners * 1000
    assert all_of_them.total("noai_response_body_bytes_total", outcome="refused") == refused
    assert all_of_them.total("noai_documents_served_total", document="/robots.txt") == READERS
    assert 0 < all_of_them.total("noai_judging_seconds_count") <= listeners + SCRAPERS


@pytest.mark.parametrize("kind", ["gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent"])
def test_the_totals_of_all_wsgi_workers_are_what_was_sent(
    kind: str, server: Callable[..., Any], tmp_path: Path
) -> None:
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    running = server(kind, "wsgi_workers_app:app", HERE, options=("--workers=2",), env=env)
    listeners = met(running.port, 2) + LISTENERS
    statuses, refused = visited(running.port)
    assert "noai_requests_total" in get(running.port, "/metrics", BROWSER)[2]
    running.stop()
    assert statuses == {200: LISTENERS + READERS, 403: SCRAPERS}
    assert_counted(tmp_path, listeners, refused)


def test_any_worker_answers_for_all_and_gauges_are_not_added_up(server: Callable[..., Any], tmp_path: Path) -> None:
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    running = server("uvicorn-httptools", "workers_app:app", HERE, options=("--workers=3",), env=env)
    listeners = met(running.port, 3)
    _, refused = visited(running.port)
    until(lambda: sent(tmp_path) == (listeners + LISTENERS) * 1000 + refused)
    scrapes = [get(running.port, "/metrics", BROWSER)[2] for _ in range(6)]
    running.stop()
    for scrape in scrapes:
        denied = re.findall(r'^noai_requests_total\{action="deny".*\} ([0-9.]+)$', scrape, re.MULTILINE)
        assert sum(map(float, denied)) == SCRAPERS
        (agents,) = re.findall(r"^noai_catalogue_agents(?:\{\})? ([0-9.]+)$", scrape, re.MULTILINE)
        assert float(agents) == len(load_catalog().agents)
        in_force = re.findall(r"^noai_policy_info\{.*stance=\"no-ai\".*\} ([0-9.]+)$", scrape, re.MULTILINE)
        assert in_force == ["1.0"]


def test_a_thousand_hangups_reload_a_real_server_without_dropping_a_request(
    server: Callable[..., Any], tmp_path: Path
) -> None:
    policy = tmp_path / "noai.yaml"
    refuses = "features: {reload: signal}\n"
    policy.write_text(refuses)
    (tmp_path / "reload_app.py").write_text(
        "from noai_guard import NoAIMiddleware\nimport workers_app\n"
        f"app = NoAIMiddleware(workers_app.bare, {str(policy)!r})\n"
    )
    path = os.pathsep.join([str(tmp_path), str(HERE), os.environ.get("PYTHONPATH", "")])
    running = server("uvicorn-httptools", "reload_app:app", tmp_path, env={"PYTHONPATH": path})
    done = threading.Event()
    statuses: Counter[int] = Counter()

    def visit() -> None:
        while not done.is_set():
            statuses[get(running.port, "/song", SCRAPER)[0]] += 1

    visitors = [threading.Thread(target=visit) for _ in range(2)]
    for visitor in visitors:
        visitor.start()
    for number in range(1000):
        if number == 500:
            policy.write_text(refuses + "mode: nonsense\n")
        if number == 600:
            policy.write_text(refuses + "mode: monitor\n")
        os.kill(running.process.pid, signal.SIGHUP)
        time.sleep(0.001)
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and get(running.port, "/song", SCRAPER)[0] != 200:
        time.sleep(0.05)
    done.set()
    for visitor in visitors:
        visitor.join()
    assert get(running.port, "/song", SCRAPER)[0] == 200
    assert set(statuses) == {200, 403}
    assert running.process.poll() is None
    running.stop()
