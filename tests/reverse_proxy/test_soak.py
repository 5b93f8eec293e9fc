"""Mixed load while the origin is killed and started again: no wrong response, nothing left behind.

Six restarts; 200 with NOAI_FULL=1.
"""

import asyncio
import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.servers import free_port, require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from websockets.asyncio.client import connect  # noqa: E402
from websockets.exceptions import WebSocketException  # noqa: E402

from tests.middleware.asgi_kit import BROWSER, SCRAPER, TAGS  # noqa: E402
from tests.raw_http import Answer  # noqa: E402
from tests.reverse_proxy import soak_app  # noqa: E402
from tests.reverse_proxy.proxy_kit import Proxy, start_serve, wait_until  # noqa: E402

pytestmark = pytest.mark.serial

RESTARTS = 200 if os.environ.get("NOAI_FULL") else 6
BROKEN = {502, 504}
"""Statuses that a client may get while the origin is away; a connection that breaks off is possible too."""


class Origin:
    """A server in a process of its own, on the same port after each start."""

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "soak_app:app", f"--port={self.port}", "--loop=uvloop"]
        self.process = subprocess.Popen(
            [*command, "--no-access-log", "--log-level=critical"], cwd=Path(__file__).parent
        )
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", self.port)) == 0)

    def stop(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(20)


def listener(proxy: Proxy, rng: random.Random) -> str:
    start = rng.randrange(soak_app.SIZE - 100_000)
    end = start + rng.randrange(100_000)
    response = proxy.fetch("/song", b"Range: bytes=%d-%d" % (start, end))
    if response.complete and response.status not in BROKEN:
        assert (response.status, response.body) == (206, soak_app.AUDIO[start : end + 1])
    return outcome(response)


def downloader(proxy: Proxy, rng: random.Random) -> str:
    response = proxy.fetch(rng.choice(["/song", "/chunked"]))
    if response.complete and response.status not in BROKEN:
        assert (response.status, response.body) == (200, soak_app.AUDIO)
    return outcome(response)


def reader(proxy: Proxy, rng: random.Random) -> str:
    response = proxy.fetch("/page")
    if response.complete and response.status not in BROKEN:
        assert (response.status, response.body.replace(TAGS, b"", 1)) == (200, soak_app.PAGE)
    return outcome(response)


def uploader(proxy: Proxy, rng: random.Random) -> str:
    body = rng.randbytes(rng.randrange(1, 400_000))
    response = proxy.fetch("/upload", method=b"POST", body=body)
    if response.complete and response.status not in BROKEN:
        assert (response.status, response.body) == (200, hashlib.sha256(body).hexdigest().encode())
    return outcome(response)


def scraper(proxy: Proxy, rng: random.Random) -> str:
    assert proxy.fetch("/song", user_agent=SCRAPER).status == 403
    response = proxy.fetch("/robots.txt", user_agent=SCRAPER)
    # Until the origin has answered once, its own rules are not known.
    assert response.status == 503 or (response.status == 200 and b"GPTBot" in response.body)
    return "served"


def leaver(proxy: Proxy, rng: random.Random) -> str:
    """Disconnect within a response, or within an upload."""
    with proxy.connect() as client:
        head = (
            b"GET /song HTTP/1.1\r\n" if rng.random() < 0.5 else b"POST /upload HTTP/1.1\r\nContent-Length: 100000\r\n"
        )
        client.sendall(head + b"Host: x\r\nUser-Agent: " + BROWSER + b"\r\n\r\n" + b"x" * 100)
        time.sleep(rng.random() * 0.05)
    return "served"


def talker(proxy: Proxy, rng: random.Random) -> str:
    async def talk() -> str:
        try:
            async with connect(
                f"ws://127.0.0.1:{proxy.port}/chat", proxy=None, user_agent_header=BROWSER.decode(), ping_interval=None
            ) as ws:
                for _ in range(5):
                    message = rng.randbytes(rng.randrange(20_000))
                    await ws.send(message)
                    assert await ws.recv() == message
        except (WebSocketException, OSError, EOFError):
            return "broken"
        return "served"

    return asyncio.run(asyncio.wait_for(talk(), 30))


def outcome(response: Answer) -> str:
    return "served" if response.complete and response.status not in BROKEN else "broken"


VISITORS = (listener, downloader, reader, uploader, scraper, leaver, talker)


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) * 1024


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_mixed_load_with_a_restarting_origin_gives_no_wrong_response_and_leaves_nothing(tmp_path: Path) -> None:
    origin = Origin()
    upstream = f"http://127.0.0.1:{origin.port}"
    command = start_serve(tmp_path, "--listen", "127.0.0.1:0", "--upstream", upstream, "--workers", "2", "--drain", "5")
    workers = command.workers
    outcomes: Counter[tuple[str, str]] = Counter()
    wrong: list[BaseException] = []
    over = threading.Event()

    def visit(number: int) -> None:
        rng = random.Random(number)
        while not over.is_set():
            visitor = rng.choice(VISITORS)
            try:
                with suppress(ConnectionError, IndexError):  # no response at all, to a request that is not repeated
                    outcomes[visitor.__name__, visitor(command.proxy, rng)] += 1
            except BaseException as error:
                wrong.append(error)
                return

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    rng = random.Random(0)
    memory_before: dict[int, int] = {}
    try:
        for restart in range(RESTARTS):
            time.sleep(rng.uniform(1, 3))
            command.process.send_signal(signal.SIGHUP)
            origin.stop(rng.choice([signal.SIGKILL, signal.SIGTERM]))
            time.sleep(rng.uniform(0, 0.3))
            origin.start()
            if restart == RESTARTS // 3:
                memory_before = {worker: memory(worker) for worker in workers}
            if wrong:
                break
        wait_until(lambda: wrong or all(outcomes[visitor.__name__, "served"] > 5 for visitor in VISITORS))
    finally:
        over.set()
        for thread in threads:
            thread.join()
        origin.stop(signal.SIGKILL)
    assert not wrong, wrong
    assert command.workers == workers
    # Listeners, the loop's own, pipes to the supervisor and one idle connection at most: not one for each visit.
    wait_until(lambda: max(map(open_files, workers)) < 30)
    assert max(memory(worker) - memory_before[worker] for worker in workers) < 30 * 1024 * 1024
    assert command.stop() == 0
    # The guard reports each time that the origin's robots.txt could not be fetched.
    reported = command.stderr.count("noai-guard failed (robots_txt)")
    assert command.stderr.count("Traceback") == reported, command.stderr
