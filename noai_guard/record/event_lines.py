"""The lines of event files, each with the place where it stands: plain, .gz and .zst, in bounded memory."""

import gzip
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import IO

from noai_guard.errors import MissingExtra, NoAIGuardError
from noai_guard.record.event_record import MAX_LINE_BYTES, EventInvalid, EventRecord, decode

_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")
_MAX_WINDOW_BYTES = 128 * 1024 * 1024
_MAX_BAD_SHOWN = 20
_NEVER = datetime.max.replace(tzinfo=UTC)


class EventFilesInvalid(NoAIGuardError):
    """There are no event files where somebody named some, or one cannot be read."""


@dataclass(slots=True)
class EventFile:
    """A file of events, and what was seen in it.

    `name` is the path below the folder that was named. `bytes` and `sha256` are of the file as it is stored. `unfinished`
    is True if the last line has no end, as while it is being written.
    """

    name: str
    path: Path
    bytes: int = 0
    sha256: str = ""
    lines: int = 0
    bad: int = 0
    unfinished: bool = False
    first: datetime = _NEVER
    last: datetime = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """One event with the place where it stands. `number` counts from 1; `raw` is the line without its end."""

    file: EventFile
    number: int
    raw: bytes
    record: EventRecord

    @property
    def place(self) -> str:
        """The place as people write it: `events-2026-10-03.jsonl:14`."""
        return f"{self.file.name}:{self.number}"


@dataclass(slots=True)
class EventLines:
    """Event files to be read one after the other. `bad` are the places of the first lines that are no events."""

    files: Sequence[EventFile]
    bad: list[str] = field(default_factory=list)

    @property
    def bad_lines(self) -> int:
        """Number of lines that are no events."""
        return sum(file.bad for file in self.files)

    def __iter__(self) -> Iterator[Line]:
        """Yield every event, file by file, and fill in what was seen. Raises EventFilesInvalid."""
        self.bad.clear()
        for file in self.files:
            file.lines = file.bad = 0
            file.first, file.last = EventFile.__dataclass_fields__["first"].default, datetime.min.replace(tzinfo=UTC)
            try:
                yield from self._lines(file)
            except (OSError, EOFError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise EventFilesInvalid(f"{file.path} cannot be read: {reason}; leave it out, or mend it") from error

    def _lines(self, file: EventFile) -> Iterator[Line]:
        with file.path.open("rb") as stored:
            counted = _Counted(stored)
            with _unpacked(counted, file.path.name) as stream:
                for number, raw in _numbered(stream):
                    file.lines = number
                    file.unfinished = not raw.endswith(b"\n")
                    raw = raw.rstrip(b"\r\n")
                    try:
                        record = decode(raw)
                    except EventInvalid as error:
                        if not file.unfinished:
                            self._note_bad(file, number, error)
                        continue
                    file.first, file.last = min(file.first, record.time), max(file.last, record.time)
                    yield Line(file, number, raw, record)
            counted.read_rest()
            file.bytes, file.sha256 = counted.bytes, counted.hash.hexdigest()

    def _note_bad(self, file: EventFile, number: int, error: EventInvalid) -> None:
        file.bad += 1
        if len(self.bad) < _MAX_BAD_SHOWN:
            self.bad.append(f"{file.name}:{number}: {error}")


def event_lines(places: Iterable[str | Path]) -> EventLines:
    """Return the event files at `places`: files, and folders with all files of events below them, in order of name.

    Raises EventFilesInvalid if a place does not exist or holds no event file.
    """
    files: dict[Path, EventFile] = {}
    for place in map(Path, places):
        for path in _files_below(place):
            name = path.relative_to(place).as_posix() if place.is_dir() else path.name
            files.setdefault(path.resolve(), EventFile(name, path))
    return EventLines(_distinct_names(list(files.values())))


def _files_below(place: Path) -> Sequence[Path]:
    if place.is_dir():
        found = sorted(path for path in place.rglob("*") if path.name.endswith(_ENDINGS) and _is_regular(path))
        if found:
            return found
        raise EventFilesInvalid(f"{place} holds no event files ({', '.join(_ENDINGS)}); name their folder by --events")
    if _is_regular(place):
        return [place]
    raise EventFilesInvalid(f"{place} is no file of events; name a file or a folder by --events")


def _is_regular(path: Path) -> bool:
    with suppress(OSError):
        return S_ISREG(path.stat().st_mode)
    return False


def _distinct_names(files: list[EventFile]) -> list[EventFile]:
    """Return the files, with whole paths as names where two of different folders have the same."""
    names = [file.name for file in files]
    for file in files:
        if names.count(file.name) > 1:
            file.name = file.path.resolve().as_posix().lstrip("/")
    return files


class _Counted(io.RawIOBase):
    """A file that is read from its beginning to its end, with the number and the SHA-256 of its bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.bytes = 0
        self.hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        part = self._file.read(len(view))
        view[: len(part)] = part
        self.bytes += len(part)
        self.hash.update(part)
        return len(part)

    def read_rest(self) -> None:
        """Read what a decompressor left behind the end of its frame."""
        while self.read(1 << 16):
            pass


def _unpacked(stored: _Counted, name: str) -> IO[bytes]:
    if name.endswith(".gz"):
        return io.BufferedReader(gzip.GzipFile(fileobj=stored), 1 << 16)  # type: ignore[arg-type,return-value]
    if name.endswith(".zst"):
        try:
            import zstandard
        except ImportError:
            raise MissingExtra("record", "an event file that is compressed with zstd") from None
        reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).stream_reader(
            stored, read_across_frames=True, closefd=False
        )
        return io.BufferedReader(_Zstd(reader, zstandard.ZstdError), 1 << 16)  # type: ignore[return-value]
    return io.BufferedReader(stored, 1 << 16)  # type: ignore[return-value]


class _Zstd(io.RawIOBase):
    """A zstd stream whose damage is an OSError, as that of gzip is."""

    def __init__(self, reader: object, damaged: type[Exception]) -> None:
        self._reader = reader
        self._damaged = damaged

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        try:
            return int(self._reader.readinto(buffer))  # type: ignore[attr-defined]
        except self._damaged as error:
            raise OSError(str(error)) from error


def _numbered(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its number; of one that is too long only so much that it is no event."""
    number = 0
    while raw := stream.readline(MAX_LINE_BYTES + 2):
        number += 1
        yield number, raw
        while not raw.endswith(b"\n") and (raw := stream.readline(1 << 16)):
            pass
