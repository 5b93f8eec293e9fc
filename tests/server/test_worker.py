"""A worker: reload, the end of its time, and its memory."""

import os
import re
import signal
from http.client import HTTPConnection
from pathlib import Path

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from tests.middleware.asgi_kit import SCRAPER  # noqa: E402
from tests.raw_http import parsed  # noqa: E402
from tests.reverse_proxy.proxy_kit import (  # noqa: E402
    Origin,
    OriginRequest,
    ServeCommand,
    endless,
    read_all,
    read_until,
    start_serve,
    wait_until,
)

ANYWHERE = ("--listen", "127.0.0.1:0")


def test_sighup_reloads_the_policy_in_all_workers(command: ServeCommand, tmp_path: Path) -> None:
    policy = Path(command.err.parent / "noai.yaml")
    policy.write_text("mode: monitor\n")
    command.process.send_signal(signal.SIGHUP)
    wait_until(lambda: all(command.proxy.fetch("/", user_agent=SCRAPER).status == 200 for _ in range(12)))
    policy.write_text("mode: nonsense\n")
    command.process.send_signal(signal.SIGHUP)
    wait_until(lambda: command.stderr.count("the policy was not reloaded") == 3)
    assert command.proxy.fetch("/", user_agent=SCRAPER).status == 200
    policy.write_text("mode: enforce\n")
    command.process.send_signal(signal.SIGHUP)
    wait_until(lambda: all(command.proxy.fetch("/", user_agent=SCRAPER).status == 403 for _ in range(12)))


def test_a_response_that_takes_longer_than_the_drain_breaks_off_visibly(origin: Origin, tmp_path: Path) -> None:
    origin.route("/endless", endless)
    running = start_serve(tmp_path, *ANYWHERE, "--upstream", f"http://127.0.0.1:{origin.port}", "--drain", "1")
    with running.proxy.connect() as listener:
        listener.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        received = read_until(listener, b"1\r\nx")
        assert running.stop() == 0
        received += read_all(listener)
    assert parsed(received).complete is False
    assert running.stderr.count("\n") == 1, running.stderr


def test_a_large_file_streams_in_little_memory_to_fast_and_slow_clients(origin: Origin, tmp_path: Path) -> None:
    size = (100 if os.environ.get("NOAI_FULL") else 32) * 1024 * 1024
    block = b"x" * 65536

    def large(request: OriginRequest) -> None:
        request.send(
            b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size, *(block for _ in range(size // len(block)))
        )

    def upload(request: OriginRequest) -> None:
        request.respond(b"%d" % len(request.body()))

    origin.route("/large", large)
    origin.route("/upload", upload)
    running = start_serve(tmp_path, *ANYWHERE, "--upstream", f"http://127.0.0.1:{origin.port}")
    (worker,) = running.workers
    running.proxy.fetch("/")
    before = peak_memory(worker)
    with running.proxy.connect() as slow:
        slow.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        connection = HTTPConnection("127.0.0.1", running.port)
        connection.request("GET", "/large")
        assert len(connection.getresponse().read()) == size
        blocks = (block for _ in range(size // len(block)))
        connection.request("PUT", "/upload", body=blocks, headers={"Content-Length": str(size)})
        assert connection.getresponse().read() == b"%d" % size
        connection.close()
        assert peak_memory(worker) - before < 8 * 1024 * 1024
    assert running.stop() == 0


def peak_memory(pid: int) -> int:
    """Return the most memory that a process had at one time, in bytes."""
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) * 1024
