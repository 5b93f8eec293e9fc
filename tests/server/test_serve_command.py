"""`noai-guard serve` as a process: it starts, says what is wrong, reloads, drains and leaves nothing behind."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from noai_guard.observability.metrics import FLUSH_SECONDS  # noqa: E402
from noai_guard.server.sockets import BoundSocket, CannotListen  # noqa: E402
from noai_guard.socket_address import SocketAddress  # noqa: E402
from tests.middleware.asgi_kit import SCRAPER  # noqa: E402
from tests.raw_http import exchanged, parsed  # noqa: E402
from tests.reverse_proxy.proxy_kit import Origin, started, stopped, wait_until  # noqa: E402

ANYWHERE = ("--listen", "127.0.0.1:0")


@pytest.fixture(scope="module")
def origin():
    running = Origin()
    running.page("/metrics", lambda visit: visit.answer(b"the origin's"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def command(origin, tmp_path_factory):
    """Two workers, metrics aside, an own policy."""
    folder = tmp_path_factory.mktemp("serve")
    (folder / "noai.yaml").write_text("mode: enforce\n")
    running = started(
        folder, *ANYWHERE, "--upstream", f"http://127.0.0.1:{origin.port}", "--policy", str(folder / "noai.yaml"),
        "--workers", "2", "--metrics", "127.0.0.1:0",
    )  # fmt: skip
    yield running
    if running.process.poll() is None:
        stopped(running)


def test_metrics_are_those_of_all_workers_and_on_their_own_listener_only(origin, command):
    for _ in range(40):
        assert command.proxy.fetch("/").status == 200
        assert command.proxy.fetch("/", user_agent=SCRAPER).status == 403
    time.sleep(2 * FLUSH_SECONDS)
    scrape = exchanged(command.metrics_port, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").decode()
    denied = re.findall(r'^noai_requests_total\{action="deny".*\} ([0-9.]+)$', scrape, re.MULTILINE)
    assert sum(map(float, denied)) == 40
    assert command.proxy.fetch("/metrics").body == b"the origin's"
    aside = exchanged(command.metrics_port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert parsed(aside).status == 404
    for port in (command.port, command.metrics_port):
        got = exchanged(port, b"GET /.noai/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert parsed(got).status == 200


def test_decisions_are_json_lines_that_do_not_run_into_each_other(command):
    before = len(command.out.read_text().splitlines())
    path = "/" + "%0A%22" * 300

    def visit():
        for _ in range(40):
            command.proxy.fetch(path, user_agent=SCRAPER + b" \xff\x01\t" + b"\xfe" * 600)

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    wait_until(lambda: len(command.out.read_text().splitlines()) >= before + 160)
    lines = [json.loads(line) for line in command.out.read_text().splitlines()]
    assert Counter(line["action"] for line in lines[before:]) == {"deny": 160}
    assert all(line["client"] == "127.0.0.1" for line in lines)


def test_sighup_reloads_the_policy_in_all_workers(command, tmp_path):
    policy = Path(command.err.parent / "noai.yaml")
    policy.write_text("mode: monitor\n")
    command.process.send_signal(signal.SIGHUP)
    wait_until(lambda: all(command.proxy.fetch("/", user_agent=SCRAPER).status == 200 for _ in range(12)))
    policy.write_text("mode: nonsense\n")
    command.process.send_signal(signal.SIGHUP)
    wait_until(lambda: command.told.count("the policy was not reloaded") == 3)
    assert command.proxy.fetch("/", user_agent=SCRAPER).status == 200
    policy.write_text("mode: enforce\n")
    command.process.send_signal(signal.SIGHUP)
    wait_until(lambda: all(command.proxy.fetch("/", user_agent=SCRAPER).status == 403 for _ in range(12)))


def test_a_worker_that_dies_is_replaced_with_the_last_good_policy(command):
    policy = Path(command.err.parent / "noai.yaml")
    policy.write_text("mode: nonsense\n")
    workers = command.workers
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: len(command.workers) == 2 and not set(command.workers) & set(workers))
    wait_until(lambda: command.proxy.fetch("/", user_agent=SCRAPER).status == 403)
    policy.write_text("mode: enforce\n")
    assert "and is replaced" in command.told


def test_a_running_download_is_finished_and_nothing_new_begun(origin, tmp_path):
    """The whole life: drained in order, sockets' files and metrics' folder gone, exit code 0."""
    more = threading.Event()

    def song(visit):
        visit.say(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")
        more.wait(20)
        visit.say(b"67890")

    origin.page("/song", song)
    path = tmp_path / "x.sock"
    listening = (*ANYWHERE, "--listen", f"unix:{path}", "--socket-mode", "600", "--workers", "2")
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(20)
    running = started(
        tmp_path, *listening, "--upstream", f"http://127.0.0.1:{origin.port}", "--metrics", "127.0.0.1:0",
        env={**os.environ, "TMPDIR": str(scratch), "NOTIFY_SOCKET": str(tmp_path / "notify")},
    )  # fmt: skip
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(list(scratch.iterdir())) == 1
    with running.proxy.connect() as listener, running.proxy.connect() as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while b"hello" not in idle.recv(65536):
            pass
        listener.sendall(b"GET /song HTTP/1.1\r\nHost: x\r\n\r\n")
        got = listener.recv(65536)
        while b"12345" not in got:
            got += listener.recv(65536)
        running.process.terminate()
        assert idle.recv(10) == b""
        wait_until(lambda: refused(running.port))
        ready = b"GET /.noai/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        wait_until(lambda: parsed(exchanged(running.metrics_port, ready)).body == b"draining\n")
        more.set()
        got += b"".join(iter(lambda: listener.recv(65536), b""))
    assert parsed(got).body == b"1234567890"
    assert running.process.wait(20) == 0
    assert not path.exists()
    assert not list(scratch.iterdir())
    assert running.told.count("\n") == 1, running.told
    assert [manager.recv(100) for _ in range(2)] == [b"READY=1", b"STOPPING=1"]
    manager.close()


def test_a_new_one_serves_while_the_old_one_finishes(origin, tmp_path):
    more = threading.Event()

    def song(visit):
        visit.say(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")
        more.wait(30)
        visit.say(b"67890")

    origin.page("/restart", song)
    path = tmp_path / "x.sock"
    up = ("--upstream", f"http://127.0.0.1:{origin.port}", "--listen", f"unix:{path}")
    folders = [tmp_path / name for name in ("old", "new")]
    for folder in folders:
        folder.mkdir()
    old = started(folders[0], "--listen", "127.0.0.1:0", *up)
    with old.proxy.connect() as listener:
        listener.sendall(b"GET /restart HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while b"12345" not in got:
            got += listener.recv(65536)
        old.process.terminate()
        wait_until(lambda: refused(old.port))
        new = started(folders[1], "--listen", f"127.0.0.1:{old.port}", *up)
        assert new.proxy.fetch("/").status == 200
        more.set()
        got += b"".join(iter(lambda: listener.recv(65536), b""))
    assert parsed(got).body == b"1234567890"
    assert old.process.wait(20) == 0
    assert path.exists(), "the old one removed the new one's socket"
    assert stopped(new) == 0
    assert not path.exists()


def test_a_second_signal_ends_everything_at_once(origin, tmp_path):
    origin.page(
        "/endless",
        lambda visit: (visit.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n"), visit.gone(60)),
    )
    running = started(tmp_path, *ANYWHERE, "--upstream", f"http://127.0.0.1:{origin.port}", "--drain", "86400")
    with running.proxy.connect() as listener:
        listener.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        while b"1\r\nx" not in listener.recv(65536):
            pass
        running.process.send_signal(signal.SIGINT)
        wait_until(lambda: refused(running.port))
        assert running.process.poll() is None
        assert stopped(running) == 0
        assert "are killed" in running.told


def test_a_worker_that_cannot_start_ends_the_others_and_is_told():
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


def test_the_gateway_runs_without_an_upstream(tmp_path):
    (tmp_path / "noai.yaml").write_text('trusted_proxies: {peers: [127.0.0.1, "unix:"], header: x-forwarded-for}\n')
    (tmp_path / "robots.txt").write_text("User-agent: *\nDisallow: /private/\n")
    path = tmp_path / "gateway.sock"
    running = started(
        tmp_path, *ANYWHERE, "--listen", f"unix:{path}", "--policy", str(tmp_path / "noai.yaml"), "--workers", "2",
        "--hold", "77", "--own-robots", str(tmp_path / "robots.txt"),
    )  # fmt: skip
    ask = [b"X-Original-URI: /song", b"X-Forwarded-For: 203.0.113.9"]
    answer = running.proxy.fetch("/.noai/verify", *ask)
    assert (answer.status, answer.values(b"cache-control")) == (200, [b"max-age=77"])
    assert running.proxy.fetch("/.noai/verify", *ask, user_agent=SCRAPER).status == 403
    assert b"Disallow: /private/" in running.proxy.fetch("/robots.txt").body
    assert running.proxy.fetch("/.noai/ready").status == 200
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))
        link.sendall(b"GET /.noai/verify HTTP/1.1\r\nHost: x\r\nX-Original-URI: /\r\nConnection: close\r\n\r\n")
        assert parsed(b"".join(iter(lambda: link.recv(65536), b""))).status == 200
    assert stopped(running) == 0


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_what_takes_longer_than_the_drain_is_cut_and_seen_to_be(origin, tmp_path):
    origin.page(
        "/endless",
        lambda visit: (visit.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n"), visit.gone()),
    )
    running = started(tmp_path, *ANYWHERE, "--upstream", f"http://127.0.0.1:{origin.port}", "--drain", "1")
    with running.proxy.connect() as listener:
        listener.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while b"1\r\nx" not in got:
            got += listener.recv(65536)
        assert stopped(running) == 0
        got += b"".join(iter(lambda: listener.recv(65536), b""))
    assert parsed(got).complete is False
    assert running.told.count("\n") == 1, running.told


def test_workers_end_with_their_supervisor(origin, tmp_path):
    running = started(tmp_path, *ANYWHERE, "--upstream", f"http://127.0.0.1:{origin.port}", "--workers", "2")
    workers = running.workers
    running.process.kill()
    running.process.wait()
    wait_until(lambda: not any(Path(f"/proc/{worker}/stat").exists() for worker in workers))


def test_a_large_file_streams_in_little_memory_to_fast_and_slow_clients(origin, tmp_path):
    size = (100 if os.environ.get("NOAI_FULL") else 32) * 1024 * 1024
    block = b"x" * 65536

    def large(visit):
        visit.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size, *(block for _ in range(size // len(block))))

    def upload(visit):
        visit.answer(b"%d" % len(visit.body()))

    origin.page("/large", large)
    origin.page("/upload", upload)
    running = started(tmp_path, *ANYWHERE, "--upstream", f"http://127.0.0.1:{origin.port}")
    (worker,) = running.workers
    running.proxy.fetch("/")
    before = high_water(worker)
    with running.proxy.connect() as slow:
        slow.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        connection = HTTPConnection("127.0.0.1", running.port)
        connection.request("GET", "/large")
        assert len(connection.getresponse().read()) == size
        blocks = (block for _ in range(size // len(block)))
        connection.request("PUT", "/upload", body=blocks, headers={"Content-Length": str(size)})
        assert connection.getresponse().read() == b"%d" % size
        connection.close()
        assert high_water(worker) - before < 8 * 1024 * 1024
    assert stopped(running) == 0


def high_water(pid: int) -> int:
    """The most memory that a process had at one time, in bytes."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def test_a_stale_socket_is_replaced_and_a_used_one_is_not(tmp_path):
    path = str(tmp_path / "x.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    listener = BoundSocket(SocketAddress.parse(f"unix:{path}"), 0o640)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    listener.socket.listen()
    with pytest.raises(CannotListen, match="another server listens there"):
        BoundSocket(SocketAddress.parse(f"unix:{path}"))
    listener.close()
    os.unlink(path)
    Path(path).write_text("a file")
    listener.remove()
    assert Path(path).read_text() == "a file"
    with pytest.raises(CannotListen, match="not a socket"):
        BoundSocket(SocketAddress.parse(f"unix:{path}"))


def test_accepted_connections_do_not_wait_for_more_to_send():
    """TCP_NODELAY is set by every event loop only for sockets that name their protocol."""
    listener = BoundSocket(SocketAddress("127.0.0.1", 0))
    assert listener.socket.proto == socket.IPPROTO_TCP
    assert listener.address.port > 0
    listener.close()
