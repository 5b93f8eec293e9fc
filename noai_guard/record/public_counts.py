"""Counts for everybody: requests and refusals by month and operator, and nothing of any single client."""

import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from noai_guard.config.regular_file import file_identity
from noai_guard.core.model import NAMED_AI, Identity
from noai_guard.record.event_files import PLAIN, event_files, read_events
from noai_guard.record.event_record import MAX_LINE_BYTES, EventInvalid, EventRecord, decode
from noai_guard.record.selection import month_of, outcome_of
from noai_guard.record.tally import OTHERS

UNDER_A_FALSE_NAME = "(under a false name)"
"""Stands for the operator of requests whose claim was proven false: they are not held against whose name was used."""

_MAX_COUNTS = 20_000
_LINES_AT_ONCE = 1000


@dataclass(slots=True)
class PublicCounts:
    """Requests by month, operator and outcome, and the operators that came for AI. Bounded: what is beyond is left out
    and counted in `left_out`."""

    requests: dict[tuple[str, str, str], int] = field(default_factory=dict)
    ai_operators: set[str] = field(default_factory=set)
    left_out: int = 0

    def add(self, record: EventRecord) -> None:
        """Count one event."""
        spoofed = record.identity is Identity.SPOOFED
        operator = UNDER_A_FALSE_NAME if spoofed else record.operator
        self._count((month_of(record.time), operator, outcome_of(record)), 1)
        if record.usage in NAMED_AI and not spoofed and len(self.ai_operators) < _MAX_COUNTS:
            self.ai_operators.add(operator)

    def add_all(self, others: Iterable["PublicCounts"]) -> "PublicCounts":
        """Add other counts, and return these."""
        for other in others:
            for key, count in other.requests.items():
                self._count(key, count)
            self.ai_operators |= other.ai_operators
            self.left_out += other.left_out
        return self

    def since(self, month: str) -> "PublicCounts":
        """Return the counts from this month on."""
        kept = {key: count for key, count in self.requests.items() if key[0] >= month}
        return PublicCounts(kept, self.ai_operators, self.left_out)

    def only(self, operators: Collection[str]) -> "PublicCounts":
        """Return the counts with every operator but these as OTHERS: a site's own agents are not public."""
        public = {"", "unknown", UNDER_A_FALSE_NAME, *operators}
        counts = PublicCounts(ai_operators=self.ai_operators & public, left_out=self.left_out)
        for (month, operator, outcome), count in self.requests.items():
            counts._count((month, operator if operator in public else OTHERS, outcome), count)
        return counts

    def of(self, month: str = "", operator: str | None = None, outcome: str = "") -> int:
        """Return the number of requests of a month, an operator, an outcome; of all where one is left out."""
        return sum(
            count
            for (each_month, each_operator, each_outcome), count in self.requests.items()
            if month in ("", each_month) and operator in (None, each_operator) and outcome in ("", each_outcome)
        )

    @property
    def months(self) -> list[str]:
        """All months, the first one first."""
        return sorted({month for month, _, _ in self.requests})

    @property
    def operators(self) -> list[str]:
        """All operators, the one with most requests first."""
        totals: dict[str, int] = {}
        for (_, operator, _), count in self.requests.items():
            totals[operator] = totals.get(operator, 0) + count
        return sorted(totals, key=lambda operator: (-totals[operator], operator))

    def _count(self, key: tuple[str, str, str], count: int) -> None:
        if key in self.requests or len(self.requests) < _MAX_COUNTS:
            self.requests[key] = self.requests.get(key, 0) + count
        else:
            self.left_out += count


@dataclass(slots=True)
class _Counted:
    """What was counted of one file: so many bytes of it, if it is a plain one."""

    identity: tuple[object, ...]
    bytes: int = 0
    counts: PublicCounts = field(default_factory=PublicCounts)


class CountedFolder:
    """The public counts of a folder of event logs, kept up to date: only what is new is read."""

    def __init__(self, folder: str | Path, pause: float = 0.0) -> None:
        """`pause` is the seconds of rest after each thousand lines, for whoever shares the processor."""
        self._folder = Path(folder)
        self._pause = pause
        self._files: dict[Path, _Counted] = {}

    def refresh(self) -> PublicCounts:
        """Read what is new and return all counts. Files that are gone are not counted any more. Raises OSError."""
        present = event_files([self._folder]) if self._folder.is_dir() else []
        self._files = {path: self._counted(path, self._files.get(path)) for path in present}
        return PublicCounts().add_all(file.counts for file in self._files.values())

    def _counted(self, path: Path, before: _Counted | None) -> _Counted:
        identity = file_identity(path)
        if before is not None and before.identity == identity:
            return before
        is_plain = path.name.endswith(PLAIN)
        file = _Counted(identity)
        if before is not None and is_plain and _is_continued(before, path):
            file = before
        records = self._new_records(path, file) if is_plain else (event.record for event in read_events([path]))
        for number, record in enumerate(records, 1):
            file.counts.add(record)
            if self._pause and number % _LINES_AT_ONCE == 0:
                time.sleep(self._pause)
        file.identity = identity
        return file

    @staticmethod
    def _new_records(path: Path, file: _Counted) -> Iterator[EventRecord]:
        """Yield what whole lines a plain file has got behind those that were counted."""
        with path.open("rb") as stream:
            stream.seek(file.bytes)
            whole = True
            while line := stream.readline(MAX_LINE_BYTES):
                begins, whole = whole, line.endswith(b"\n")
                if not whole and len(line) < MAX_LINE_BYTES:
                    return
                file.bytes += len(line)
                if begins and whole:
                    try:
                        yield decode(line.rstrip(b"\r\n"))
                    except EventInvalid:
                        continue


def _is_continued(before: _Counted, path: Path) -> bool:
    """Return True if a file is the one that was counted, and has only grown."""
    return before.identity[:3] == file_identity(path)[:3] and path.stat().st_size >= before.bytes
