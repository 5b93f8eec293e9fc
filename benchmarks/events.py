"""What the event log costs a request, and how fast its thread writes."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import time
from typing import Any

from prometheus_client import CollectorRegistry

from benchmarks.measure import Batch, Bound, Effort, Row, added, interleaved, ratio
from benchmarks.requests import answered, scope
from benchmarks.sites import Scope
from noai_guard import NoAIMiddleware, load_catalog, load_stance
from noai_guard.core.event_settings import EventSettings
from noai_guard.core.guard import Guard
from noai_guard.core.model import Verdict
from noai_guard.observability.events import Event, PolicyInForce
from noai_guard.observability.metrics import Metrics
from noai_guard.record.event_record import decode
from noai_guard.record.recorder import MAX_QUEUED, Recorder

REFUSED = b"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.3; +https://openai.com/gptbot"
LET_IN = b"Mozilla/5.0 (compatible; RadiolineBot/1.0; +https://radio.example/bot)"
POLICY = """
agents: [{name: Radioline, operator: Radio, usages: [seo], expected_user_agent: [radiolinebot]}]
usages: {seo: yes}
"""

PROXIES = "trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}\n"

MAX_SECONDS = 2e-6
"""What handing an event over may cost a request (issue 14)."""

MIN_RATE = 50_000
"""Events a second that the thread must write (issue 14)."""


def rows(effort: Effort) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _requests(effort, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield from _writing(effort, Path(folder))


def _requests(effort: Effort, folder: Path) -> Iterator[Row]:
    contenders: dict[str, Batch] = {}
    recorders = []
    for name, settings in (
        ("without", ""),
        ("with", "events: {}\n"),
        ("behind a proxy without", PROXIES),
        ("behind a proxy with", f"{PROXIES}events: {{}}\n"),
    ):
        policy = folder / f"{name}.yaml"
        policy.write_text(POLICY + settings)
        guard = NoAIMiddleware(_app, policy, registry=CollectorRegistry())
        recorder = guard.runtime.recorder
        recorder.start = lambda: None  # type: ignore[method-assign]  # what it does is measured below
        recorders.append(recorder)
        for kind, user_agent in (("refused", REFUSED), ("let in", LET_IN)):
            times = min(effort.of(4000), MAX_QUEUED - 1)
            asked = scope("/audio/a.mp3", user_agent)
            asked["headers"].append((b"x-forwarded-for", b"203.0.113.7"))
            contenders[f"{kind} {name}"] = answered(guard, [asked], times)

    def empty() -> None:
        for each in recorders:
            each._queue.clear()

    timings = interleaved(contenders, effort.rounds, before_each=empty)
    for kind, what in (("refused", "a refusal"), ("let in", "an agent that is let in")):
        for where in ("", " behind a proxy"):
            ours, base = timings[f"{kind}{where} with"], timings[f"{kind}{where} without"]
            name = f"handing over the event of {what}{where}"
            # The bound is that of a request whose peer is the client: a proxy's lines are copied on top.
            limit = None if where else MAX_SECONDS * 1e6
            yield added(name, ours, base, "the same guard without events", limit)


async def _app(scope: Scope, receive: Any, send: Any) -> None:
    """Answer with two messages, as Starlette's Response does. Each further one costs 0.2 µs."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"body"})


def _writing(effort: Effort, folder: Path) -> Iterator[Row]:
    number = min(effort.of(8000), MAX_QUEUED - 1)
    guard = Guard(load_stance(), load_catalog())
    verdict, policy = guard.judged("/audio/a.mp3", REFUSED), PolicyInForce("sha256:" + "0" * 64)
    recorder = Recorder(Metrics.of(CollectorRegistry()))
    recorder.use(EventSettings(folder=str(folder / "events")))

    def ours() -> int:
        for each in range(number):
            recorder.write(_event(each, verdict, policy))
        recorder.flush()
        return number

    ours()
    line = next((folder / "events").glob("*.jsonl")).read_bytes().splitlines()[0]
    facts = json.loads(line)
    assert decode(line).claim == "GPTBot"

    def dumped() -> int:
        with (folder / "dumped").open("w") as file:
            for each in range(number):
                file.write(json.dumps({**facts, "path": f"/audio/{each}.mp3"}) + "\n")
        return number

    timings = interleaved({"ours": ours, "dumped": dumped}, effort.rounds)
    yield ratio("writing an event", timings["ours"], timings["dumped"], "json.dumps of the same facts, to a file")
    rate = 1 / median(timings["ours"].cpu)
    yield Row(
        "events written a second of CPU time", "", None, rate, "/s", rate, "/s", bound=Bound(MIN_RATE, at_most=False)
    )
    recorder.close()


def _event(number: int, verdict: Verdict, policy: PolicyInForce) -> Event:
    """Return one of many events: of 500 clients, for 2,000 paths."""
    return Event(
        time(),
        verdict,
        "GET",
        b"music.example",
        f"/audio/{number % 2000}.mp3",
        REFUSED,
        None,
        (f"198.51.{number % 2}.{number % 250}", 50000),
        (),
        policy,
        ("tdm-reservation", "x-robots-tag"),
        "",
        403,
        512,
    )
