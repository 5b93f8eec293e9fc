"""The supervisor: workers that die, cannot start, or are left alone; a second signal."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from noai_guard.server.supervisor import notify_systemd  # noqa: E402
from tests.middleware.asgi_kit import SCRAPER  # noqa: E402
from tests.reverse_proxy.proxy_kit import Origin, ServeCommand, endless, is_refused, read_until, start_serve, wait_until  # noqa: E402

ANYWHERE = ("--listen", "127.0.0.1:0")


def test_a_worker_that_dies_is_replaced_with_the_last_good_policy(command: ServeCommand) -> None:
    policy = Path(command.err.parent / "noai.yaml")
    policy.write_text("mode: nonsense\n")
    workers = command.workers
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: len(command.workers) == 2 and not set(command.workers) & set(workers))
    wait_until(lambda: command.proxy.fetch("/", user_agent=SCRAPER).status == 403)
    policy.write_text("mode: enforce\n")
    assert "and is replaced" in command.stderr


def test_a_worker_that_cannot_start_ends_the_others_and_is_reported() -> None:
    code = (
        "import os, time\nfrom noai_guard.server.supervisor import Supervisor\n"
        "first, last = os.pipe()\nos.write(last, b'ab')\n"
        "def work(pipes):\n"
        "    if os.read(first, 1) == b'b':\n        raise RuntimeError('no')\n"
        "    pipes.report_ready()\n    time.sleep(60)\n"
        "nothing = lambda: None\n"
        "print(Supervisor(work, 2, 1).run(nothing, nothing, nothing, nothing))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "False\n")
    assert "RuntimeError: no" in done.stderr


def test_workers_end_with_their_supervisor(origin: Origin, tmp_path: Path) -> None:
    running = start_serve(tmp_path, *ANYWHERE, "--upstream", f"http://127.0.0.1:{origin.port}", "--workers", "2")
    workers = running.workers
    running.process.kill()
    running.process.wait()
    wait_until(lambda: not any(Path(f"/proc/{worker}/stat").exists() for worker in workers))


def test_a_second_signal_ends_everything_at_once(origin: Origin, tmp_path: Path) -> None:
    origin.route("/endless", endless)
    running = start_serve(tmp_path, *ANYWHERE, "--upstream", f"http://127.0.0.1:{origin.port}", "--drain", "86400")
    with running.proxy.connect() as listener:
        listener.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        read_until(listener, b"1\r\nx")
        running.process.send_signal(signal.SIGINT)
        wait_until(lambda: is_refused(running.port))
        assert running.process.poll() is None
        assert running.stop() == 0
        assert "are killed" in running.stderr


@pytest.mark.parametrize("abstract", [False, True])
def test_a_state_reaches_the_socket_on_which_systemd_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    path = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{path}" if abstract else path)
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{path}" if abstract else path)
        notify_systemd("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_nothing_happens_without_systemd_or_without_its_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify_systemd("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    notify_systemd("READY=1")
