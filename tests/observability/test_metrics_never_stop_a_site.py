"""Metrics that cannot be kept as they should be are counted in memory, said once, and cost no visitor anything."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from noai_guard import NoAIMiddleware, metrics_app
from noai_guard.observability.status_page import status_app
from tests.middleware.asgi_kit import BROWSER, SCRAPER, answering, ask, http, metric
from tests.observability.counting_process import names, total
from tests.raw_http import exchanged, parsed
from tests.servers import Server

HERE = Path(__file__).parent

SITE = """
import asyncio, errno, logging, os, resource, shutil, sys
logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
logging.getLogger("noai_guard.decisions").disabled = True
{before}
from noai_guard import NoAIMiddleware, metrics_app
from noai_guard.observability.metrics_wsgi_app import metrics_wsgi_app
from noai_guard.observability.status_page import status_app
from tests.middleware.asgi_kit import BROWSER, SCRAPER, answering, ask, http
guard = NoAIMiddleware(answering(), "noai.yaml")
metrics, metrics_wsgi, status = metrics_app(), metrics_wsgi_app(), status_app()

def scrape(app=metrics):
    lines = ask(app, http("/metrics")).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("noai_requests_total"))

def requests(number=3):
    for _ in range(number):
        assert ask(guard, http()).status == 200
        assert ask(guard, http(user_agent=SCRAPER)).status == 403
    guard.runtime.flush()

requests()
{after}
requests()
assert guard.runtime.reload()
guard.runtime.telemetry.failed("judging", ValueError("a failure of ours"))
requests()
print("scraped", scrape())
body = b"".join(metrics_wsgi({{"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": ""}}, lambda *_: None))
assert b"noai_requests_total{{" in body
assert ask(status, http("/")).status == 200
guard.runtime.close()
"""


def run(tmp_path: Path, folder: str | Path, before: str = "", after: str = "", within: tuple[str, ...] = ()) -> str:
    """Run a site that keeps its metrics in a folder; return what it printed. `after` runs after some requests."""
    (tmp_path / "noai.yaml").write_text("mode: enforce\n")
    done = subprocess.run(
        [*within, sys.executable, "-c", SITE.format(before=before, after=after)],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(HERE.parent.parent)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def said(output: str) -> list[str]:
    return [line for line in output.splitlines() if "metrics cannot be kept in PROMETHEUS_MULTIPROC_DIR" in line]


def test_a_folder_that_is_missing_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    output = run(tmp_path, folder)
    assert said(output) == []
    assert "scraped 18.0" in output
    assert total(folder, "noai_requests_total") == 18


@pytest.mark.parametrize("name", ["file", "file/below", "", "dev", "link", "full"])
def test_a_folder_that_cannot_be_made_or_written_is_left_for_memory(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("link")
    folder: str | Path = tmp_path / name if name else ""
    if name == "dev":
        folder = "/dev/null/metrics"
    elif name == "full":
        folder = "/proc/1/noai"  # where not even root can make one
    output = run(tmp_path, folder)
    assert len(said(output)) == 1, output
    assert "scraped 18.0" in output
    assert (tmp_path / "file").read_text() == "mine"
    assert not list(tmp_path.glob("*.db"))


GONE = {
    "removed": "shutil.rmtree(os.environ['PROMETHEUS_MULTIPROC_DIR'])",
    "replaced": "shutil.rmtree(os.environ['PROMETHEUS_MULTIPROC_DIR']); os.mkdir(os.environ['PROMETHEUS_MULTIPROC_DIR'])",
    "a file in its place": "shutil.rmtree(os.environ['PROMETHEUS_MULTIPROC_DIR']);"
    "open(os.environ['PROMETHEUS_MULTIPROC_DIR'], 'w').close()",
    "moved": "os.rename(os.environ['PROMETHEUS_MULTIPROC_DIR'], os.environ['PROMETHEUS_MULTIPROC_DIR'] + '.old')",
    "cleaned": "[os.unlink(entry) for entry in os.scandir(os.environ['PROMETHEUS_MULTIPROC_DIR'])]",
    "closed by the app": "from prometheus_client import values; values.close_all_multiprocess_files()",
    "full": "shutil.disk_usage = lambda folder: shutil._ntuple_diskusage(2**40, 2**40, 0);"
    "ask(guard, http(user_agent=b'ClaudeBot/1.0'))",
    "full for larger files": "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    "for agent in guard.runtime.compiled.catalog.agents:\n"
    "    for name in agent.expected_user_agent[:1]: ask(guard, http(user_agent=name.encode() + b'/1'))\n"
    "guard.runtime.flush()",
}


@pytest.mark.parametrize("how", GONE)
def test_a_folder_that_goes_away_or_is_full_while_the_site_runs_is_left_for_memory(tmp_path: Path, how: str) -> None:
    output = run(tmp_path, tmp_path / "metrics", after=GONE[how])
    assert len(said(output)) == 1, output
    (scraped,) = (float(line.split()[1]) for line in output.splitlines() if line.startswith("scraped"))
    assert scraped >= 18


def test_a_variable_that_the_app_takes_away_is_no_failure(tmp_path: Path) -> None:
    output = run(tmp_path, tmp_path / "metrics", after="del os.environ['PROMETHEUS_MULTIPROC_DIR']")
    assert "scraped 18.0" in output


@pytest.mark.parametrize(
    "before",
    [
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))",
        "def full(*_): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\nos.posix_fallocate = full",
        "shutil.disk_usage = lambda folder: shutil._ntuple_diskusage(2**40, 2**40, 1000)",
    ],
    ids=["limit", "no room", "little room"],
)
def test_a_disk_that_is_full_at_start_is_left_for_memory(tmp_path: Path, before: str) -> None:
    output = run(tmp_path, tmp_path / "metrics", before)
    assert len(said(output)) == 1, output
    assert "scraped 18.0" in output


FILL = """
try:
    with open(os.environ["PROMETHEUS_MULTIPROC_DIR"] + "/other", "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
except OSError as error:
    assert error.errno == errno.ENOSPC
for agent in guard.runtime.compiled.catalog.agents:
    for name in agent.expected_user_agent[:1]:
        ask(guard, http(user_agent=name.encode() + b"/1"))
        guard.runtime.flush()
"""


@pytest.mark.parametrize("size", ["128k", "600k"])
def test_a_real_disk_that_is_full_does_not_kill_the_process(tmp_path: Path, size: str) -> None:
    own_mounts = ("unshare", "--map-root-user", "--mount")
    if shutil.which("unshare") is None or subprocess.run([*own_mounts, "true"], check=False).returncode:
        pytest.skip("this user may not mount a small disk of its own")
    folder = tmp_path / "metrics"
    folder.mkdir()
    mount = f'mount -t tmpfs -o size={size} tmpfs "$PROMETHEUS_MULTIPROC_DIR" && exec "$0" "$@"'
    output = run(tmp_path, folder, after=FILL, within=(*own_mounts, "sh", "-c", mount))
    assert len(said(output)) == 1, output


def test_a_child_forked_after_the_folder_has_gone_serves_too(tmp_path: Path) -> None:
    fork = (
        GONE["removed"]
        + """
sys.stdout.flush()
if os.fork():
    _, code = os.wait()
    assert code == 0
"""
    )
    output = run(tmp_path, tmp_path / "metrics", after=fork)
    assert output.count("scraped") == 2


@pytest.mark.parametrize("name", ["counter_noai0.db", "noai0.lock", "counter_7.db"])
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["fifo", "folder"])
def test_what_is_no_file_in_the_folder_holds_nothing_up(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    (tmp_path / "metrics").mkdir()
    make(tmp_path / "metrics" / name)
    assert "scraped 18.0" in run(tmp_path, tmp_path / "metrics")


@pytest.mark.skipif(sys.platform != "linux", reason="only there is the disk's room taken beforehand")
def test_files_take_their_room_on_the_disk_before_they_are_written(tmp_path: Path) -> None:
    """Writing to memory that stands for a file kills the process if the disk is full by then."""
    run(tmp_path, tmp_path / "metrics")
    files = names(tmp_path / "metrics")
    assert files == {"counter_noai0.db", "gauge_livemostrecent_noai0.db", "histogram_noai0.db"}
    for name in files:
        facts = (tmp_path / "metrics" / name).stat()
        assert facts.st_blocks * 512 >= facts.st_size > 0


def taken(registry: CollectorRegistry) -> None:
    Counter("noai_requests", "Somebody else's.", registry=registry)


def taken_late(registry: CollectorRegistry) -> None:
    Gauge("noai_catalogue_agents", "Somebody else's.", registry=registry)


class Unregistrable(CollectorRegistry):
    def register(self, collector: Any) -> None:
        raise RuntimeError("closed")


@pytest.mark.parametrize("take", [taken, taken_late, None])
def test_a_registry_that_does_not_take_our_metrics_stops_nothing(
    take: Callable[[CollectorRegistry], None] | None, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry() if take else Unregistrable()
    if take:
        take(registry)
    guards = [NoAIMiddleware(answering(), registry=registry) for _ in range(2)]
    for guard in guards:
        assert [ask(guard, http(user_agent=agent)).status for agent in (BROWSER, SCRAPER)] == [200, 403]
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    assert metric(guards[0], "requests") == 4
    page = ask(status_app(registry), http("/", BROWSER, (b"accept", b"application/json"))).text
    assert '"requests": 4' in page
    scraped = ask(metrics_app(registry), http("/metrics"))
    assert scraped.status == 200
    assert "noai_judging_seconds" not in scraped.text


def test_two_guards_that_share_a_registry_are_no_duplicates(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    for _ in range(2):
        assert ask(NoAIMiddleware(answering(), registry=registry), http()).status == 200
    assert not [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "noai_requests_total{" in ask(metrics_app(registry), http("/metrics")).text


@pytest.mark.parametrize("kind", ["uvicorn-h11", "gunicorn-sync"])
def test_a_server_whose_folder_cannot_be_used_serves(server: Callable[..., Server], tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("")
    app = "workers_app:app" if kind == "uvicorn-h11" else "wsgi_workers_app:app"
    running = server(kind, app, HERE, env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "file")})
    request = b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: %b\r\n\r\n"
    try:
        for agent, status in ((BROWSER, 200), (SCRAPER, 403), (BROWSER, 200)):
            assert parsed(exchanged(running.port, request % (b"/", agent))).status == status
        assert b"noai_requests_total{" in exchanged(running.port, request % (b"/metrics", BROWSER))
    finally:
        running.stop()
    assert running.log.read_text().count("metrics cannot be kept in PROMETHEUS_MULTIPROC_DIR") == 1
