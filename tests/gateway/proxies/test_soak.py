"""Mixed load on nginx while it is reloaded and the gateway it asks is killed and started again."""

import os
import random
import signal
import threading
import time
from collections import Counter
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.gateway.proxies.running_proxies import BROWSER, POLICY, SCRAPER, fetch
from tests.servers import free_port

pytestmark = pytest.mark.serial

SECONDS = 600 if os.environ.get("NOAI_FULL") else 10
REQUESTS = (("/audio.mp3", (("Range", "bytes=0-99"),)), ("/audio.mp3", ()), ("/", ()), ("/robots.txt", ()))


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def files(pid: int) -> int:
    return sum(len(os.listdir(f"/proc/{one}/fd")) for one in family(pid))


def memory(pid: int) -> int:
    """Resident kilobytes."""
    fields = [Path(f"/proc/{one}/statm").read_text().split()[1] for one in family(pid)]
    return sum(map(int, fields)) * os.sysconf("SC_PAGE_SIZE") // 1024


@pytest.mark.parametrize("unknown", ["allow", "deny"])
def test_no_answer_is_wrong_while_the_gateway_dies_and_nginx_reloads(unknown, start_gateway, start_proxy) -> None:
    text = f"{POLICY}on_unknown: {unknown}\n"
    port = free_port()
    gateway = start_gateway(text, port)
    proxy = start_proxy("nginx", port, text)
    seen: Counter[tuple[str, int]] = Counter()
    broken: Counter[str] = Counter()
    over = threading.Event()

    def visit(number: int) -> None:
        dice = random.Random(number)
        while not over.is_set():
            target, headers = dice.choice(REQUESTS)
            user_agent = dice.choice((BROWSER, SCRAPER))
            kind = "document" if target == "/robots.txt" else "listener" if user_agent is BROWSER else "scraper"
            try:
                seen[kind, fetch(proxy.port, target, user_agent, headers).status] += 1
            except (OSError, HTTPException):
                # A document that the gateway was sending when it died, or a worker of nginx that was about to end.
                broken[kind] += 1

    fetch(proxy.port)
    before = files(proxy.process.pid), memory(proxy.process.pid)
    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(4)]
    for visitor in visitors:
        visitor.start()
    try:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            time.sleep(1)
            proxy.process.send_signal(signal.SIGHUP)
            gateway.process.kill()
            gateway.process.wait()
            time.sleep(0.5)
            gateway = start_gateway(text, port)
    finally:
        over.set()
        for visitor in visitors:
            visitor.join()
    statuses = {kind: {status for name, status in seen if name == kind} for kind in ("listener", "scraper")}
    assert broken.total() < seen.total() / 20
    if unknown == "allow":
        assert statuses["listener"] == {200, 206}
        assert 403 in statuses["scraper"]
    else:  # nobody is let in while nobody can be judged
        assert statuses["listener"] >= {200, 206, 403}
        assert statuses["listener"] <= {200, 206, 403, 502}
        # 502 where the gateway dies between its verdict and the text of the refusal.
        assert 403 in statuses["scraper"]
        assert statuses["scraper"] <= {403, 502}
    # nginx's old workers end when their last answer is sent.
    deadline = time.monotonic() + 20
    while files(proxy.process.pid) > before[0] + 8 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert files(proxy.process.pid) <= before[0] + 8
    assert memory(proxy.process.pid) < before[1] + 20_000
