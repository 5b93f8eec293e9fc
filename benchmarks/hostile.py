"""Requests made to cost as much as possible."""

from collections.abc import Callable, Iterator
from random import Random
from statistics import quantiles
from time import thread_time_ns
from typing import Any

from benchmarks.measure import Bound, Effort, Row
from benchmarks.requests import LOOP, receive, scope, send
from benchmarks.sites import guarded
from benchmarks.visitors import token_forms
from noai_guard import load_catalog, load_stance
from noai_guard.core.guard import Guard

_BOUND = Bound(100)
_LENGTH = 8 * 1024
_MOST = 10 * 1024 * 1024
_TRIES = 3

Make = Callable[[Random], bytes]


def _random(random: Random) -> bytes:
    return random.randbytes(_LENGTH)


def _text(random: Random) -> bytes:
    return bytes(random.choices(b"abcdefghijklmnopqrstuvwxyz0123456789 ;/.()", k=_LENGTH))


def _spaces(random: Random) -> bytes:
    return b" " * (_LENGTH - 8) + random.randbytes(4).hex().encode()


def _words(random: Random) -> bytes:
    return b" ".join(bytes(random.choices(b"abcdefghijklmnopqrstuvwxyz", k=2)) for _ in range(_LENGTH // 3))


_NAMES = [form.encode() for form in token_forms(1000) if form.isidentifier()]


def _look_alikes(random: Random) -> bytes:
    return b" ".join(random.choice(_NAMES) + b"X" for _ in range(_LENGTH // 10))[:_LENGTH]


def _look_alike_urls(random: Random) -> bytes:
    return b" ".join(b"https://x.org/" + random.choice(_NAMES) for _ in range(_LENGTH // 20))[:_LENGTH]


def _percent(random: Random) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in random.randbytes(_LENGTH // 3))


def _percent_names(random: Random) -> bytes:
    return b"%20".join(random.choice(_NAMES) + b"%58" for _ in range(_LENGTH // 14))[:_LENGTH]


_KINDS: dict[str, Make] = {
    "random bytes": _random,
    "random text": _text,
    "spaces": _spaces,
    "two-letter words": _words,
    "names with a letter too many": _look_alikes,
    "names in URLs": _look_alike_urls,
    "percent-encoded bytes": _percent,
    "percent-encoded names": _percent_names,
}


def rows(effort: Effort) -> Iterator[Row]:
    """CPU microseconds of the judge for each request, all different; the fastest of three judges that have not seen it,
    because a pause of the machine is not ours. p99 decides."""
    random = Random(4)
    judges = [Guard(load_stance(), load_catalog()).judged for _ in range(_TRIES)]
    count = effort.of(1500, 10)
    for kind, make in _KINDS.items():
        # The kind also 500 bytes long: below the length from which only head and tail are read.
        for length in (_LENGTH, 512):
            user_agents = [make(random)[:length] + b"%d" % number for number in range(count)]
            tries: list[list[float]] = []
            for judge in judges:
                tries.append([])
                for user_agent in user_agents:
                    start = thread_time_ns()
                    judge("/", user_agent)
                    tries[-1].append((thread_time_ns() - start) / 1000)
            spent = list(map(min, *tries))
            yield from _row(f"{length:,} bytes: {kind}", spent)
    paths = ["/" + "".join(random.choices("abc/.%2", k=_LENGTH)) for _ in range(count)]
    yield from _row("paths of 8 KB", _answered([scope(path[:_LENGTH]) for path in paths]))
    many = scope("/")
    many["headers"] = [(b"x-%d" % number, b"x") for number in range(20_000)]
    lines = scope("/")
    lines["headers"] = [(b"user-agent", b"GPTBotX/%d" % number) for number in range(20_000)]
    few = effort.of(200, 10)
    yield from _row("20,000 headers", _answered([many] * few))
    yield from _row("20,000 User-Agent lines", _answered([lines] * few))
    huge = [bytes(bytearray(b"%d" % number + b" a" * (_MOST // 2))) for number in range(effort.of(10, 3))]
    yield from _row("a user agent of 10 MB", _answered([scope("/", user_agent) for user_agent in huge]))


def _answered(scopes: list[dict[str, Any]]) -> list[float]:
    """Microseconds of the whole middleware on an app that does nothing."""

    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        pass

    async def each() -> list[float]:
        app = guarded(nothing)
        spent = []
        await app(scope("/"), receive, send)
        for one in scopes:
            mine = {**one, "state": {}}
            start = thread_time_ns()
            await app(mine, receive, send)
            spent.append((thread_time_ns() - start) / 1000)
        return spent

    return list(map(min, *(LOOP.run_until_complete(each()) for _ in range(_TRIES))))


def _row(what: str, spent: list[float]) -> Iterator[Row]:
    hundredths = quantiles(spent, n=100)
    p50, p99 = hundredths[49], hundredths[98]
    yield Row(f"judging, {what}", "", None, p50, "µs", min(p99, max(spent)), "µs p99", high=max(spent), bound=_BOUND)
