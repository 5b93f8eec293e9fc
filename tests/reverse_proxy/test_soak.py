"""Mixed load while the origin is killed and started again: no wrong answer, nothing left behind.

20 seconds; ten minutes with NOAI_FULL=1.
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
from tests.reverse_proxy import soak_app  # noqa: E402
from tests.reverse_proxy.proxy_kit import Proxy, started, stopped, wait_until  # noqa: E402

SECONDS = 600 if os.environ.get("NOAI_FULL") else 20
BROKEN = {502, 504}
"""What a visitor may get while the origin is away; also a cut connection."""


class Origin:
    def __init__(self) -> None:
        self.port = free_port()
        self.starts = 0
        self.start()

    def start(self) -> None:
        self.starts += 1
        command = [sys.executable, "-m", "uvicorn", "soak_app:app", f"--port={self.port}", "--loop=uvloop"]
        self.process = subprocess.Popen(
            [*command, "--no-access-log", "--log-level=critical"], cwd=Path(__file__).parent
        )
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", self.port)) == 0)

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(20)


def listener(proxy: Proxy, dice: random.Random) -> str:
    start = dice.randrange(soak_app.SIZE - 100_000)
    end = start + dice.randrange(100_000)
    answer = proxy.fetch("/song", b"Range: bytes=%d-%d" % (start, end))
    if answer.complete and answer.status not in BROKEN:
        assert (answer.status, answer.body) == (206, soak_app.AUDIO[start : end + 1])
    return outcome(answer)


def downloader(proxy: Proxy, dice: random.Random) -> str:
    answer = proxy.fetch(dice.choice(["/song", "/chunked"]))
    if answer.complete and answer.status not in BROKEN:
        assert (answer.status, answer.body) == (200, soak_app.AUDIO)
    return outcome(answer)


def reader(proxy: Proxy, dice: random.Random) -> str:
    answer = proxy.fetch("/page")
    if answer.complete and answer.status not in BROKEN:
        assert (answer.status, answer.body.replace(TAGS, b"", 1)) == (200, soak_app.PAGE)
    return outcome(answer)


def uploader(proxy: Proxy, dice: random.Random) -> str:
    body = dice.randbytes(dice.randrange(1, 400_000))
    answer = proxy.fetch("/upload", method=b"POST", body=body)
    if answer.complete and answer.status not in BROKEN:
        assert (answer.status, answer.body) == (200, hashlib.sha256(body).hexdigest().encode())
    return outcome(answer)


def scraper(proxy: Proxy, dice: random.Random) -> str:
    assert proxy.fetch("/song", user_agent=SCRAPER).status == 403
    answer = proxy.fetch("/robots.txt", user_agent=SCRAPER)
    assert answer.status == 200
    assert b"GPTBot" in answer.body
    return "served"


def leaver(proxy: Proxy, dice: random.Random) -> str:
    """Goes within an answer, or within an upload."""
    with proxy.connect() as client:
        head = (
            b"GET /song HTTP/1.1\r\n" if dice.random() < 0.5 else b"POST /upload HTTP/1.1\r\nContent-Length: 100000\r\n"
        )
        client.sendall(head + b"Host: x\r\nUser-Agent: " + BROWSER + b"\r\n\r\n" + b"x" * 100)
        time.sleep(dice.random() * 0.05)
    return "served"


def talker(proxy: Proxy, dice: random.Random) -> str:
    async def talk() -> str:
        try:
            async with connect(
                f"ws://127.0.0.1:{proxy.port}/chat", proxy=None, user_agent_header=BROWSER.decode(), ping_interval=None
            ) as ws:
                for _ in range(5):
                    message = dice.randbytes(dice.randrange(20_000))
                    await ws.send(message)
                    assert await ws.recv() == message
        except (WebSocketException, OSError, EOFError):
            return "broken"
        return "served"

    return asyncio.run(asyncio.wait_for(talk(), 30))


def outcome(answer) -> str:
    return "served" if answer.complete and answer.status not in BROKEN else "broken"


VISITORS = (listener, downloader, reader, uploader, scraper, leaver, talker)


def files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory(pid: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_mixed_load_with_a_restarting_origin_gives_no_wrong_answer_and_leaves_nothing(tmp_path):
    origin = Origin()
    running = started(
        tmp_path,
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        f"http://127.0.0.1:{origin.port}",
        "--workers",
        "2",
        "--drain",
        "5",
    )
    workers = running.workers
    outcomes: Counter[tuple[str, str]] = Counter()
    wrong: list[BaseException] = []
    over = threading.Event()

    def visit(number: int) -> None:
        dice = random.Random(number)
        while not over.is_set():
            kind = dice.choice(VISITORS)
            try:
                with suppress(ConnectionError, IndexError):  # no answer at all, to a request that may not be sent twice
                    outcomes[kind.__name__, kind(running.proxy, dice)] += 1
            except BaseException as error:
                wrong.append(error)
                return

    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(6)]
    for visitor in visitors:
        visitor.start()
    dice = random.Random(0)
    before: dict[int, int] = {}
    deadline = time.monotonic() + SECONDS
    try:
        while time.monotonic() < deadline and not wrong:
            time.sleep(dice.uniform(1, 3))
            running.process.send_signal(signal.SIGHUP)
            origin.end(dice.choice([signal.SIGKILL, signal.SIGTERM]))
            time.sleep(dice.uniform(0, 0.3))
            origin.start()
            if not before and time.monotonic() > deadline - SECONDS * 0.7:
                before = {worker: memory(worker) for worker in workers}
    finally:
        over.set()
        for visitor in visitors:
            visitor.join()
        origin.end(signal.SIGKILL)
    assert not wrong, wrong
    assert running.workers == workers
    for kind in VISITORS:
        assert outcomes[kind.__name__, "served"] > 5, outcomes
    assert origin.starts > SECONDS / 10
    # Listeners, the loop's own, pipes to the supervisor and one idle connection at most: not one for each visit.
    wait_until(lambda: max(map(files, workers)) < 30)
    assert max(memory(worker) - before[worker] for worker in workers) < 30 * 1024 * 1024
    assert stopped(running) == 0
    # The guard tells each time that the origin's robots.txt could not be asked for.
    assert running.told.count("Traceback") == running.told.count("noai-guard failed (robots_txt)"), running.told
