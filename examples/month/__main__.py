"""Write a month of events and its report: `python -m examples.month --out october`."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import click

from examples.month.visitors import VISITORS, Visitor
from noai_guard.config import load_catalog, load_policy
from noai_guard.core.guard import Guard
from noai_guard.core.model import Action, Identity, Mode, Verdict
from noai_guard.record.event_record import EventRecord, encode
from noai_guard.record.event_sources import event_lines
from noai_guard.record.report import make_report
from noai_guard.record.report_page import as_html
from noai_guard.record.selection import Selection, Span

_POLICY = Path(__file__).parent / "noai.yaml"
_FIRST = datetime(2026, 10, 1, tzinfo=UTC)
_DAYS = 31
_WATCHED_DAYS = 5
"""Days on which the site only watches, before it refuses."""

_ARTISTS = ("ines", "moth-parade", "olav-lund", "the-slow-tides", "kestrel", "nova-pelagia")
_TITLES = (
    "lanterns", "paper-boats", "low-tide", "foghorn", "salt", "harbour-lights", "undertow", "marram", "slipway", "dusk",
    "driftwood", "lighthouse", "north-wind", "ebb", "gullsong", "anchor", "shoal", "breakwater", "tidal", "pilot",
)  # fmt: skip
_WORKS = [f"{artist}-{title}" for artist in _ARTISTS for title in _TITLES]
_PAGES = ["/", "/press/", *(f"/artists/{artist}/" for artist in _ARTISTS), *(f"/tracks/{work}" for work in _WORKS)]


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where to write.")
def main(out: Path) -> None:
    """Write the events of October 2026 to DIR/events and their report to DIR/report.html."""
    write_events(out / "events")
    report = make_report(
        event_lines([out / "events"]), Selection(Span.of("2026-10", "2026-10", _FIRST)), "Night Ferry Records"
    )
    (out / "report.html").write_text(as_html(report), encoding="utf-8")
    click.echo(f"{report.totals.events:,} events are in {out / 'events'}; open {out / 'report.html'}")


def write_events(folder: Path, days: int = _DAYS, seed: int = 10) -> None:
    """Write a file of events for each day below a folder. The same seed gives the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    random, guards = Random(seed), {mode: _guard(mode) for mode in Mode}
    for number in range(days):
        day = _FIRST + timedelta(days=number)
        guard = guards[Mode.MONITOR if number < _WATCHED_DAYS else Mode.ENFORCE]
        records = sorted(
            (record for visitor in VISITORS for record in _day_of(visitor, day, guard, random)),
            key=lambda each: each.time,
        )
        lines = b"".join(encode(record) + b"\n" for record in records)
        (folder / f"events-{day:%Y-%m-%d}.jsonl").write_bytes(lines)


def _guard(mode: Mode) -> Guard:
    return Guard(replace(load_policy(_POLICY), mode=mode), load_catalog())


def _day_of(visitor: Visitor, day: datetime, guard: Guard, random: Random) -> Iterator[EventRecord]:
    number = round(visitor.daily * visitor.days(day.day) * random.uniform(0.8, 1.2))
    for index in range(number):
        moment = day + timedelta(milliseconds=random.randrange(86_400_000))
        if index < len(visitor.told):
            yield _record(visitor, moment, visitor.told[index], guard, random, is_declaration=True)
            continue
        work = random.choice(_WORKS)
        parts = (f"/audio/{work}.mp3", f"/hls/{work}/{random.randrange(40)}.ts")
        path = random.choice(parts if random.random() < visitor.audio else _PAGES)
        yield _record(visitor, moment, path, guard, random)


def _record(
    visitor: Visitor, time: datetime, path: str, guard: Guard, random: Random, is_declaration: bool = False
) -> EventRecord:
    user_agent = visitor.user_agent.encode()
    verdict = guard.table.decide(guard.claims[user_agent], visitor.identity, guard.table.path_classes[path])
    if is_declaration:
        verdict = replace(verdict, action=Action.ALLOW, rule="declaration", reasons=("a declaration is for everyone",))
    status, size = _response(path, verdict, random)
    client = f"{visitor.user_agent} {random.randrange(visitor.clients)} {time:%Y-%m-%d}"
    known = random.random() < 0.8
    return EventRecord(
        time=time,
        claim=verdict.agent.name if verdict.agent else "",
        operator=verdict.agent.operator if verdict.agent else "",
        identity=visitor.identity if verdict.agent else Identity.UNCLAIMED,
        proof=visitor.proof,
        action=verdict.action,
        enforced=verdict.enforced,
        rule=verdict.rule,
        reasons=verdict.reasons,
        usage=verdict.usage,
        declared=(*visitor.told, "x-robots-tag", "tdm-reservation") if known and not is_declaration else (),
        work=guard.policy.works.work_of(path),
        method="GET",
        host="nightferry.example",
        path=path,
        status=status,
        bytes=size,
        client=f"~{hashlib.sha256(client.encode()).hexdigest()[:20]}",
        user_agent=visitor.user_agent,
    )


def _response(path: str, verdict: Verdict, random: Random) -> tuple[int, int]:
    """Return status and bytes of the response to a request."""
    audio = path.startswith(("/audio/", "/hls/"))
    if verdict.refuses:
        return (402 if verdict.action is Action.LICENSE_REQUIRED else 403), random.randrange(900, 1100)
    if not audio and random.random() < 0.03 and verdict.rule != "declaration":
        return 404, 512
    status = 206 if audio and random.random() < 0.4 else 200
    return status, random.randrange(200_000, 7_000_000) if audio else random.randrange(4_000, 30_000)


if __name__ == "__main__":
    main()
