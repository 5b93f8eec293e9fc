"""A flood of unique user agents does not fill the memory. Alone in a process, so that only ours is measured."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FLOOD = """
import asyncio, os, random, resource, sys
from prometheus_client import CollectorRegistry
from noai_guard import NoAIMiddleware
from noai_guard.config import check_policy_text

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

async def receive():
    return {"type": "http.request"}

async def send(message):
    pass

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def flood(guard, times):
    randomness = random.Random(7)
    junk = randomness.randbytes(16_384)
    agents = [b"Mozilla/5.0 ", b"GPTBot/", b"somebot/", b"curl/", b"(compatible; ClaudeBot/"]
    for n in range(times):
        start = randomness.randrange(8192)
        size = randomness.choice((20, 200, 900, 1023, 2040, 8000))
        user_agent = b"%s%d %b" % (agents[n % 5], n, junk[start : start + size])
        address = f"2001:db8:{n >> 16:x}:{n & 65535:x}::1"
        path = "/robots.txt" if n % 50 == 0 else f"/{n}/{'x' * (n % 900)}"
        scope = {"type": "http", "method": "GET", "path": path, "client": (address, 1),
                 "headers": [(b"host", b"x"), (b"user-agent", user_agent), (b"x-forwarded-for", b"%d" % n)]}
        await guard(scope, receive, send)

policy, _ = check_policy_text(sys.argv[2].encode())
guard = NoAIMiddleware(app, policy, registry=CollectorRegistry())
asyncio.run(flood(guard, 2000))
before = resident()
asyncio.run(flood(guard, int(sys.argv[1])))
print(resident() - before)
"""

RATIONS = "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 5, seconds: 3600}}"

full = pytest.mark.skipif(not os.environ.get("NOAI_FULL"), reason="takes minutes; NOAI_FULL=1 runs it")


def growth(times: int, policy: str) -> int:
    command = [sys.executable, "-c", FLOOD, str(times), policy]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return int(ran.stdout)


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("policy", ["mode: enforce", RATIONS], ids=["refusing", "rationing"])
@pytest.mark.parametrize(
    "times", [30_000, pytest.param(1_000_000, marks=[pytest.mark.slow, full])], ids=["default", "full"]
)
def test_unique_user_agents_addresses_and_paths_take_at_most_32_mb(times, policy):
    assert growth(times, policy) <= 32 * 1024 * 1024
