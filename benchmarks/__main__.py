"""`python -m benchmarks [--only NAME] [--quick] [--write FILE]`."""

import argparse
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    classifying,
    edges,
    events,
    forward_auth,
    hostile,
    injection,
    instructions,
    memory,
    middleware,
    networks,
    peers,
    recognising,
    replaying,
    reverse_proxy,
    starting,
    stores,
    telemetry,
    throughput,
    wsgi,
)
from benchmarks.measure import Effort, Row
from benchmarks.report import as_markdown, as_text

FULL = Effort(rounds=21, share=1.0)
QUICK = Effort(rounds=5, share=0.1)

BENCHMARKS: dict[str, Callable[[Effort], Iterator[Row]]] = {
    "new": recognising.new,
    "seen": recognising.seen,
    "networks": networks.rows,
    "middleware": middleware.rows,
    "instructions": instructions.rows,
    "wsgi": wsgi.rows,
    "throughput": throughput.rows,
    "injection": injection.rows,
    "start": starting.rows,
    "hostile": hostile.rows,
    "telemetry": telemetry.rows,
    "events": events.rows,
    "memory": memory.rows,
    "stores": stores.rows,
    "classify": classifying.rows,
    "replay": replaying.rows,
    "proxy": reverse_proxy.rows,
    "gateway": forward_auth.rows,
    "edges": edges.rows,
    "peers": peers.rows,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What noai-guard costs.")
    parser.add_argument("--only", action="append", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="less of everything: for a look, not for a decision")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the table as Markdown")
    chosen = parser.parse_args(arguments)
    measured: dict[str, list[Row]] = {}
    for name in chosen.only or BENCHMARKS:
        measured[name] = list(_shown(name, BENCHMARKS[name](QUICK if chosen.quick else FULL)))
        if chosen.write:  # so that a run that is stopped is not lost
            chosen.write.parent.mkdir(exist_ok=True)
            chosen.write.write_text(as_markdown(measured, _where(), quick=chosen.quick), encoding="utf-8")
    missed = [row.what for rows in measured.values() for row in rows if row.met is False]
    print(f"{len(missed)} bounds missed" + "".join(f"\n  {what}" for what in missed))
    return 0


def _shown(name: str, rows: Iterable[Row]) -> Iterator[Row]:
    print(f"[{name}]", flush=True)
    for row in rows:
        print(as_text(row), flush=True)
        yield row


def _where() -> str:
    from benchmarks.measure import cores

    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.python_implementation()} {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {cores()} cores"
    )


if __name__ == "__main__":
    sys.exit(main())
