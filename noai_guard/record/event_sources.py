"""Event logs as a report reads them: each event with the place where it stands, and the digest of each file."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from noai_guard.core.text import listed
from noai_guard.errors import Invalid, Problem
from noai_guard.record.event_files import COMPRESSED, PLAIN, EventLine, ReadProblems, event_files, read_events


class NoEventFiles(Invalid):
    """There are no event files where somebody named some; a problem for each place."""


@dataclass(slots=True)
class EventFile:
    """A file that was read: its name in a report, its size and SHA-256 as it is stored, the number of its last event's
    line, and how many events it holds."""

    name: str
    path: Path
    bytes: int = 0
    sha256: str = ""
    lines: int = 0
    events: int = 0


class EventLines:
    """Event logs, to be read once or several times. What was seen stands in `files` and `problems` after that."""

    def __init__(self, files: Iterable[EventFile]) -> None:
        self.files = tuple(files)
        self.problems = ReadProblems()

    def __iter__(self) -> Iterator[EventLine]:
        """Yield every event, file by file. `file` of an event is the file's name in a report."""
        self.problems = ReadProblems()
        for file in self.files:
            file.lines = file.events = 0
            for _, number, line, record in read_events([file.path], self.problems):
                file.lines = number
                file.events += 1
                yield EventLine(file.name, number, line, record)
            file.bytes, file.sha256 = _digest(file.path)

    @property
    def notes(self) -> list[str]:
        """Sentences about what could not be read."""
        problems, notes = self.problems, []
        if problems.bad_lines:
            notes.append(f"Lines that are no events, and are not counted: {problems.bad_lines:,}.")
        if problems.torn_files:
            notes.append(f"Files that end within a line, being written or cut off: {problems.torn_files:,}.")
        if problems.unreadable_files:
            notes.append(f"Files that cannot be read, or not to their end: {problems.unreadable_files:,}.")
        return [*notes, *([f"Among them: {listed(problems.named, 3)}."] if notes else [])]


def event_lines(places: Iterable[str | Path]) -> EventLines:
    """Return the event logs at `places`: files, and folders of files. Raises NoEventFiles."""
    folders = list(map(Path, places))
    message = f"holds no events (*{PLAIN} or *{COMPRESSED})"
    hint = "name the folder of the event log by --events (noai-events, if the policy names no other)"
    if empty := [place for place in folders if not place.exists() or not event_files([place])]:
        raise NoEventFiles(Problem("E005", message, hint, str(place)) for place in empty)
    paths = event_files(folders)
    names = [path.name for path in paths]
    return EventLines(
        EventFile(path.name if names.count(path.name) == 1 else path.resolve().as_posix(), path) for path in paths
    )


def place_of(line: EventLine) -> str:
    """Return where an event stands, as people write it: `events-2026-10-03.jsonl:14`."""
    return f"{line.file}:{line.number}"


def _digest(path: Path) -> tuple[int, str]:
    """Return size and SHA-256 of a file; of its compressed form if its writer has put that in its place."""
    for candidate in (path, path.with_name(f"{path.name}.zst")):
        try:
            with candidate.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                return file.tell(), digest
        except OSError:
            continue
    return 0, ""
