"""Several real workers that share a folder: the totals are what was sent, whatever becomes of the workers."""

import os
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from noai_guard.observability.multiprocess import WorkersCollector
from tests.middleware.asgi_kit import BROWSER, SCRAPER
from tests.observability.counting_process import until

HERE = Path(__file__).parent
WORKERS = 4
SLOTS = WORKERS + 2
"""One more for a worker that starts while the one before it ends, and one for the moment in which a scrape asks."""
FILES_EACH = 3
"""counter, histogram, gauge_livemostrecent"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")


def command_line(pid: str) -> bytes:
    """Of a process that may have ended since it was listed."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


@dataclass
class Site:
    """A uvicorn supervisor with workers."""

    pid: int
    port: int
    folder: Path
    asked: dict[str, int] = field(default_factory=dict)
    received: int = 0

    def get(self, path: str, user_agent: bytes = BROWSER) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"user-agent": user_agent.decode()})
            return connection.getresponse().read()
        finally:
            connection.close()

    def ask(self, times: int) -> None:
        for user_agent, agent in ((BROWSER, "none"), (SCRAPER, "GPTBot")):
            for _ in range(times):
                self.received += len(self.get("/song", user_agent))
            self.asked[agent] = self.asked.get(agent, 0) + times

    def workers(self) -> set[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return {int(pid) for pid in children if b"spawn_main" in command_line(pid)}

    def restart(self, signum: int = signal.SIGTERM) -> None:
        """Ends the oldest worker; the supervisor starts another."""
        victim = min(self.workers())
        os.kill(victim, signum)
        until(lambda: victim not in self.workers() and len(self.workers()) == WORKERS)

    def scraped(self) -> bool:
        """Return True if a scraper sees what was sent."""
        return self.counted(text_string_to_metric_families(self.get("/metrics/", b"Prometheus/3.0").decode()))

    def written(self) -> bool:
        """Return True if the files say what was sent; no worker is asked."""
        return self.counted(WorkersCollector(self.folder).collect())

    def counted(self, families: Iterable[Metric]) -> bool:
        """Return True if requests judged by agent, and bytes sent, are what was sent; scrapes left out."""
        requests: dict[str, float] = {}
        sent = 0.0
        for family in families:
            for sample in family.samples:
                if sample.labels.get("agent", "Prometheus") == "Prometheus":
                    continue
                if sample.name == "noai_requests_total":
                    requests[sample.labels["agent"]] = requests.get(sample.labels["agent"], 0) + sample.value
                if sample.name == "noai_response_body_bytes_total":
                    sent += sample.value
        return (requests, sent) == (self.asked, self.received)


@pytest.fixture
def site(server: Callable[..., Any], tmp_path: Path) -> Site:
    started = server(
        "uvicorn-httptools",
        "restarted_app:app",
        HERE,
        options=("--workers", str(WORKERS), "--no-proxy-headers"),
        env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
    )
    running = Site(started.process.pid, started.port, tmp_path)
    until(lambda: len(running.workers()) == WORKERS)
    return running


@pytest.mark.parametrize(
    "restarts",
    [
        6,
        pytest.param(
            100,
            marks=[pytest.mark.slow, pytest.mark.skipif(os.environ.get("NOAI_FULL") != "1", reason="takes minutes")],
        ),
    ],
)
def test_after_restarts_the_totals_are_what_was_sent_and_the_folder_stays_small(site: Site, restarts: int) -> None:
    sizes = []
    for _ in range(restarts):
        site.ask(5)
        site.restart()
        site.get("/metrics/", b"Prometheus/3.0")
        sizes.append(len(list(site.folder.glob("*.db"))))
    site.ask(5)
    until(site.scraped)
    assert max(sizes) <= SLOTS * FILES_EACH


def test_what_an_idle_worker_counted_is_written_and_stays_when_it_is_killed(site: Site) -> None:
    site.ask(10)
    until(site.written)
    assert site.scraped()
    for _ in range(WORKERS):
        site.restart(signal.SIGKILL)
    assert site.scraped()
