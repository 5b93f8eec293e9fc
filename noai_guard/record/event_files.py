"""Read event logs: files of JSON Lines, also those that zstd has compressed, line by line in bounded memory.

A file may end in the middle of a line or of a compressed frame, because its writer was killed, is writing, or a copy
broke off: what came before is read.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from noai_guard.errors import MissingExtra
from noai_guard.record.event_record import MAX_LINE_BYTES, EventInvalid, EventRecord, decode

PLAIN = ".jsonl"
COMPRESSED = ".jsonl.zst"

_CHUNK_BYTES = 64 * 1024
_COMPRESSED_CHUNK_BYTES = 512
"""Four bytes of a hostile frame can stand for 128 KiB (RFC 8878 section 3.1.1.2.2), so that one chunk is 16 MiB."""

_MAX_WINDOW_BYTES = 8 * 1024 * 1024
"""What RFC 8878 section 3.1.1.1.2 recommends decoders to support; writers of event logs use 2 MiB."""

_MAX_NAMED = 100


class EventLine(NamedTuple):
    """One event and where it stands: the file, the number of the line in it (from 1), and the line without its end."""

    file: str
    number: int
    line: bytes
    record: EventRecord


@dataclass(slots=True)
class ReadProblems:
    """What could not be read: counts, and the first problems by name (`FILE:LINE: why`)."""

    bad_lines: int = 0
    torn_files: int = 0
    unreadable_files: int = 0
    named: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.bad_lines or self.torn_files or self.unreadable_files)

    def name(self, problem: str) -> None:
        """Keep a problem, unless there are many already."""
        if len(self.named) < _MAX_NAMED:
            self.named.append(problem)


def event_files(paths: Iterable[str | Path]) -> list[Path]:
    """Return the event logs among the paths and in the folders among them, in the order of their names in each folder.

    A file that stands beside its compressed form is left out: its writer was about to remove it. So is what is no
    file in a folder: a pipe would be waited for.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            found[path] = None
            continue
        logs = (entry for entry in path.iterdir() if entry.name.endswith((PLAIN, COMPRESSED)))
        names = sorted(entry.name for entry in logs if entry.is_file())
        found |= {path / name: None for name in names if f"{name}.zst" not in names}
    return list(found)


def read_events(paths: Iterable[str | Path], problems: ReadProblems | None = None) -> Iterator[EventLine]:
    """Yield the events in files and folders. What cannot be read is counted in `problems` and passed over.

    Raises MissingExtra if a file is compressed and zstandard is not installed.
    """
    problems = ReadProblems() if problems is None else problems
    for path in event_files(paths):
        name = str(path)
        try:
            for number, line, is_whole in _lines(_chunks(path, problems)):
                try:
                    record = decode(line)
                except EventInvalid as error:
                    if is_whole:
                        problems.bad_lines += 1
                        problems.name(f"{name}:{number}: {error}")
                    else:
                        problems.torn_files += 1
                        problems.name(f"{name}:{number}: the file ends within this line")
                else:
                    yield EventLine(name, number, line, record)
        except OSError as error:
            problems.unreadable_files += 1
            problems.name(f"{name}: cannot be read: {error.strerror or error}")


def _chunks(path: Path, problems: ReadProblems) -> Iterator[bytes]:
    """Yield the content of a file, decompressed; one that its writer has compressed meanwhile is read as that."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        if path.name.endswith(COMPRESSED):
            raise
        path = path.with_name(f"{path.name}.zst")
        try:
            file = path.open("rb")
        except OSError:
            raise FileNotFoundError(2, "No such file or directory") from None
    with file:
        if path.name.endswith(".zst"):
            yield from _decompressed(file, str(path), problems)
        else:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk


def _decompressed(file: BinaryIO, name: str, problems: ReadProblems) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise MissingExtra("record", "reading compressed event logs") from None
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    frame = None
    try:
        while chunk := file.read(_COMPRESSED_CHUNK_BYTES):
            while chunk:
                frame = frame or decompressor.decompressobj()
                content = frame.decompress(chunk)
                for start in range(0, len(content), _CHUNK_BYTES):
                    yield content[start : start + _CHUNK_BYTES]
                chunk = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
    except zstandard.ZstdError:
        frame = None
        problems.unreadable_files += 1
        problems.name(f"{name}: damaged: only what stands before the damage is read")
    if frame is not None:
        problems.torn_files += 1
        problems.name(f"{name}: the file ends within a compressed frame")


def _lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes, bool]]:
    """Yield each line with its number, and False for the last one if the file does not end with a line end.

    Of a line that is too long, only so much is kept that `decode` refuses it.
    """
    number, rest = 1, b""
    for chunk in chunks:
        *whole, last = chunk.split(b"\n")
        for line in whole:
            yield number, (rest + line)[: MAX_LINE_BYTES + 1], True
            number, rest = number + 1, b""
        rest = (rest + last)[: MAX_LINE_BYTES + 1]
    if rest:
        yield number, rest, False
