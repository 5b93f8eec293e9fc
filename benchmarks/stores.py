"""A store that workers share, against the memory of one."""

import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from time import process_time
from typing import Any

from benchmarks.measure import Batch, Effort, Row, faster, interleaved
from benchmarks.requests import LOOP, receive, scope, send
from benchmarks.sites import guarded, starlette_bare
from noai_guard import NoAIMiddleware

_BASELINE = "the same guard with store: memory"
_POLICY = """
site: {url: https://music.example}
rules: [{agents: [GPTBot], action: throttle}]
limits: {throttle: {requests: 1000000, seconds: 86400}}
"""
_START_SECONDS = 20


def rows(effort: Effort) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "noai.yaml"
        policy.write_text(_POLICY)
        memory = guarded(starlette_bare(), policy=policy)
        shared = guarded(starlette_bare(), policy=policy, store=f"embedded:{folder}/server")
        remote = shared.runtime.store.remote
        assert remote is not None
        remote.start()
        deadline = time.monotonic() + _START_SECONDS
        while not remote.processes and time.monotonic() < deadline:
            time.sleep(0.01)
        requests = {
            "a request that counts, one address": (b"GPTBot/1.3", False),
            "a request that counts, every address new": (b"GPTBot/1.3", True),
            "a request that does not count": (b"Mozilla/5.0 (X11; Linux x86_64; rv:154.0) Firefox/154.0", False),
        }
        for what, (user_agent, rotating) in requests.items():
            batches = {
                name: _asking(app, scope("/text", user_agent), rotating, effort.of(4000, 20))
                for name, app in (("memory", memory), ("shared", shared))
            }
            # All threads count: the store's does what the request's need not.
            timings = interleaved(batches, effort.rounds, clock=process_time)
            yield faster(what, timings["shared"], timings["memory"], _BASELINE, 0.85)
        shared.runtime.close()
        memory.runtime.close()


def _asking(app: NoAIMiddleware, asked: dict[str, Any], rotating: bool, times: int) -> Batch:
    numbers = count()

    async def answer() -> int:
        for _ in range(times):
            number = next(numbers) if rotating else 0
            client = (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 50000)
            await app({**asked, "client": client, "state": {}}, receive, send)
        return times

    return lambda: LOOP.run_until_complete(answer())
