"""`noai-guard serve` as a process, from its start to its end."""

import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from tests.middleware.asgi_kit import SCRAPER  # noqa: E402
from tests.raw_http import exchanged, parsed  # noqa: E402
from tests.reverse_proxy.proxy_kit import (  # noqa: E402
    Origin,
    ServeCommand,
    halves,
    is_refused,
    read_all,
    read_until,
    start_serve,
    wait_until,
)

ANYWHERE = ("--listen", "127.0.0.1:0")


def test_metrics_are_those_of_all_workers_and_on_their_own_listener_only(origin: Origin, command: ServeCommand) -> None:
    for _ in range(40):
        assert command.proxy.fetch("/").status == 200
        assert command.proxy.fetch("/", user_agent=SCRAPER).status == 403
    wait_until(lambda: denied_requests(command) >= 40)
    assert denied_requests(command) == 40
    assert command.proxy.fetch("/metrics").body == b"the origin's"
    other = exchanged(command.metrics_port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert parsed(other).status == 404
    for port in (command.port, command.metrics_port):
        received = exchanged(port, b"GET /.noai/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert parsed(received).status == 200


def denied_requests(command: ServeCommand) -> float:
    """Return the number of denied requests that a scrape tells."""
    scrape = exchanged(command.metrics_port, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").decode()
    return sum(map(float, re.findall(r'^noai_requests_total\{action="deny".*\} ([0-9.]+)$', scrape, re.MULTILINE)))


def test_decisions_are_json_lines_that_do_not_run_into_each_other(command: ServeCommand) -> None:
    before = len(command.out.read_text().splitlines())
    path = "/" + "%0A%22" * 300

    def visit() -> None:
        for _ in range(40):
            command.proxy.fetch(path, user_agent=SCRAPER + b" \xff\x01\t" + b"\xfe" * 600)

    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(command.out.read_text().splitlines()) >= before + 160)
    lines = [json.loads(line) for line in command.out.read_text().splitlines()]
    assert Counter(line["action"] for line in lines[before:]) == {"deny": 160}
    assert all(line["client"] == "127.0.0.1" for line in lines)


def test_a_running_download_is_finished_and_nothing_new_is_accepted(origin: Origin, tmp_path: Path) -> None:
    """It drains in order, removes its sockets' files and the metrics' folder, and exits with 0."""
    more = threading.Event()
    origin.route("/song", halves(more))
    path = tmp_path / "x.sock"
    listening = (*ANYWHERE, "--listen", f"unix:{path}", "--socket-mode", "600", "--workers", "2")
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(20)
    running = start_serve(
        tmp_path, *listening, "--upstream", f"http://127.0.0.1:{origin.port}", "--metrics", "127.0.0.1:0",
        env={**os.environ, "TMPDIR": str(scratch), "NOTIFY_SOCKET": str(tmp_path / "notify")},
    )  # fmt: skip
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(list(scratch.iterdir())) == 1
    with running.proxy.connect() as listener, running.proxy.connect() as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        read_until(idle, b"hello")
        listener.sendall(b"GET /song HTTP/1.1\r\nHost: x\r\n\r\n")
        received = read_until(listener, b"12345")
        running.process.terminate()
        assert idle.recv(10) == b""
        wait_until(lambda: is_refused(running.port))
        ready = b"GET /.noai/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        wait_until(lambda: parsed(exchanged(running.metrics_port, ready)).body == b"draining\n")
        more.set()
        received += read_all(listener)
    assert parsed(received).body == b"1234567890"
    assert running.process.wait(20) == 0
    assert not path.exists()
    assert not list(scratch.iterdir())
    assert running.stderr.count("\n") == 1, running.stderr
    assert [manager.recv(100) for _ in range(2)] == [b"READY=1", b"STOPPING=1"]
    manager.close()


def test_it_says_at_the_start_that_workers_count_each_for_itself(tmp_path: Path) -> None:
    (tmp_path / "noai.yaml").write_text("usages: {train-ai: throttle}\n")
    running = start_serve(tmp_path, *ANYWHERE, "--workers", "3", cwd=tmp_path)
    assert "throttles at up to 180 instead of 60 requests" in running.stderr
    assert running.stop() == 0


def test_it_says_at_the_start_which_policy_it_serves_and_that_nobody_is_trusted(origin: Origin, tmp_path: Path) -> None:
    up = ("--upstream", f"http://127.0.0.1:{origin.port}")
    trusting = "trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}\n"
    for name, text, mode, expected in (
        ("packaged", None, up, ("policy no-ai (packaged)", "trusts nobody (no header about the client is believed")),
        ("here", "mode: monitor\n", up, ("policy noai.yaml, mode monitor", "trusts nobody")),
        ("gateway", "mode: monitor\n", (), ("the gateway, policy noai.yaml", "trusts nobody (no proxy may ask")),
        ("trusting", trusting, (), ("the gateway, policy noai.yaml",)),
    ):
        folder = tmp_path / name
        folder.mkdir()
        if text:
            (folder / "noai.yaml").write_text(text)
        running = start_serve(folder, *ANYWHERE, *mode, cwd=folder)
        for words in expected:
            assert words in running.stderr
        assert ("trusts nobody" in running.stderr) is (text != trusting)
        running.process.terminate()
        assert running.process.wait(20) == 0


def test_a_new_server_serves_while_the_old_one_finishes(origin: Origin, tmp_path: Path) -> None:
    more = threading.Event()
    origin.route("/restart", halves(more))
    path = tmp_path / "x.sock"
    up = ("--upstream", f"http://127.0.0.1:{origin.port}", "--listen", f"unix:{path}")
    folders = [tmp_path / name for name in ("old", "new")]
    for folder in folders:
        folder.mkdir()
    old = start_serve(folders[0], "--listen", "127.0.0.1:0", *up)
    with old.proxy.connect() as listener:
        listener.sendall(b"GET /restart HTTP/1.1\r\nHost: x\r\n\r\n")
        received = read_until(listener, b"12345")
        old.process.terminate()
        wait_until(lambda: is_refused(old.port))
        new = start_serve(folders[1], "--listen", f"127.0.0.1:{old.port}", *up)
        assert new.proxy.fetch("/").status == 200
        more.set()
        received += read_all(listener)
    assert parsed(received).body == b"1234567890"
    assert old.process.wait(20) == 0
    assert path.exists(), "the old one removed the new one's socket"
    assert new.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize("name", ["none/yet", "file", "file/below"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_folder_for_metrics_that_is_missing_or_cannot_be_used_stops_nothing(
    origin: Origin, tmp_path: Path, name: str, workers: str
) -> None:
    (tmp_path / "file").write_text("")
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / name)}
    options = ("--upstream", f"http://127.0.0.1:{origin.port}", "--metrics", "127.0.0.1:0", "--workers", workers)
    running = start_serve(tmp_path, *ANYWHERE, *options, env=environment)
    try:
        assert running.proxy.fetch("/", user_agent=SCRAPER).status == 403
        wait_until(lambda: denied_requests(running) == 1)
    finally:
        assert running.stop() == 0
    assert ("is not used" in running.stderr) == (name != "none/yet")


@pytest.mark.parametrize("upstream", [True, False], ids=["reverse proxy", "gateway"])
@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_a_policy_that_is_no_file_stops_it_at_once(tmp_path: Path, upstream: bool, kind: str) -> None:
    policy = tmp_path / "noai.yaml"
    os.mkfifo(policy) if kind == "fifo" else policy.mkdir()
    arguments = ["--upstream", "http://127.0.0.1:1"] if upstream else []
    command = [sys.executable, "-m", "noai_guard", "serve", *ANYWHERE, *arguments, "--policy", str(policy)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "P001 cannot be read" in ended.stderr


def test_the_gateway_runs_without_an_upstream(tmp_path: Path) -> None:
    (tmp_path / "noai.yaml").write_text('trusted_proxies: {peers: [127.0.0.1, "unix:"], header: x-forwarded-for}\n')
    (tmp_path / "robots.txt").write_text("User-agent: *\nDisallow: /private/\n")
    path = tmp_path / "gateway.sock"
    running = start_serve(
        tmp_path, *ANYWHERE, "--listen", f"unix:{path}", "--policy", str(tmp_path / "noai.yaml"), "--workers", "2",
        "--hold", "77", "--own-robots", str(tmp_path / "robots.txt"),
    )  # fmt: skip
    ask = [b"X-Original-URI: /song", b"X-Forwarded-For: 203.0.113.9"]
    response = running.proxy.fetch("/.noai/verify", *ask)
    assert (response.status, response.values(b"cache-control")) == (200, [b"max-age=77"])
    assert running.proxy.fetch("/.noai/verify", *ask, user_agent=SCRAPER).status == 403
    assert b"Disallow: /private/" in running.proxy.fetch("/robots.txt").body
    assert running.proxy.fetch("/.noai/ready").status == 200
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"GET /.noai/verify HTTP/1.1\r\nHost: x\r\nX-Original-URI: /\r\nConnection: close\r\n\r\n")
        assert parsed(read_all(connection)).status == 200
    assert running.stop() == 0
