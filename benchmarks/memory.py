"""Memory under unique user agents of up to 8 KB. Measured in a process of its own."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from random import Random

from benchmarks.measure import Bound, Effort, Row
from benchmarks.requests import LOOP, plain_app, receive, scope, send
from benchmarks.sites import guarded
from benchmarks.visitors import MIX, unique

_LONGEST = 8 * 1024


def rows(effort: Effort) -> Iterator[Row]:
    count = effort.of(1_000_000, 1000)
    command = [sys.executable, "-m", "benchmarks.memory", str(count)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    grown, peak = json.loads(said)
    what = f"resident memory after {count:,} unique user agents"
    yield Row(what, "before the first", None, grown, "MB", peak, "MB at most", bound=Bound(32))


def _resident() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _grown(count: int) -> tuple[float, float]:
    """MB that are resident more than before, at the end and at most, after `count` guarded requests."""
    app = guarded(plain_app(200, [], [b"body"]))
    random = Random(6)
    noise = bytes(random.choices(b"abcdefghijklmnopqrstuvwxyz0123456789 ;/.()", k=1024 * 1024))
    mix = unique(MIX, 1000)

    async def judge(user_agent: bytes) -> None:
        await app(scope("/", user_agent), receive, send)

    async def all_of_them() -> tuple[float, float]:
        for user_agent in mix[:100]:
            await judge(user_agent)
        before = highest = _resident()
        for number in range(count):
            # Half of them short enough to be remembered, half of up to 8 KB.
            if number % 2:
                start = random.randrange(len(noise) - _LONGEST)
                user_agent = noise[start : start + random.randrange(_LONGEST - 10)] + b" %d" % number
            else:
                user_agent = mix[number % len(mix)] + b" " + noise[number % 1000 : number % 1000 + number % 700]
                user_agent += b"%d" % number
            await judge(user_agent)
            if not number % 1000:
                highest = max(highest, _resident())
        return _resident() - before, max(highest, _resident()) - before

    return LOOP.run_until_complete(all_of_them())


if __name__ == "__main__":
    # The peak that the kernel saw would include imports; it is told for comparison on standard error.
    print(json.dumps(_grown(int(sys.argv[1]))))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, "MB resident at most", file=sys.stderr)
