"""Event logs as files: one process writes one file at a time, which is compressed when it is closed.

`events-20261129T173000.123456-1f2e3d4c.jsonl` was begun at that moment (UTC), by one process, and holds events of one
day. While it is written to, its process holds a lock on it (flock). When it is closed, `seal` compresses it to
`.jsonl.zst`.
"""

import fcntl
import logging
import os
import re
import secrets
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

from noai_guard.errors import MissingExtra
from noai_guard.record.event_files import PLAIN

FILE_MODE = 0o640
FOLDER_MODE = 0o750

_NAME = re.compile(r"events-(\d{8})T\d{6}\.\d{6}-[0-9a-f]{8}\.jsonl(?:\.zst)?", re.ASCII)
_PART = ".part"
_log = logging.getLogger("noai_guard")


def day_of(path: Path) -> date | None:
    """Return the day whose events an event log holds, by its name; None for a file that is not ours."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    with suppress(ValueError):
        return datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC).date()
    return None


class FilesOutput:
    """Lines in files of a folder, a new one for each day (UTC) and whenever one has reached `max_bytes`."""

    name = "files"

    def __init__(self, folder: str | Path, max_bytes: int) -> None:
        self._folder = Path(folder)
        self._max_bytes = max_bytes
        self._descriptor = -1
        self._path = Path()
        self._size = 0
        self._day = ""

    def write(self, lines: Sequence[bytes]) -> int:
        """Write lines, all or none: what a full disk took of them is cut off again."""
        content = b"\n".join((*lines, b""))
        self._open(len(content))
        written = 0
        try:
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
        except OSError:
            self._cut()
            raise
        self._size += written
        return len(lines)

    def _open(self, size: int) -> None:
        day = datetime.now(UTC).strftime("%Y%m%d")
        if self._descriptor >= 0 and (self._day != day or (self._size and self._size + size > self._max_bytes)):
            self.close()
            seal_in_background(self._folder)
        if self._descriptor >= 0:
            return
        self._folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        name = f"events-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(4)}{PLAIN}"
        # It gets its name when it is locked: what has a name and no lock, others may compress and remove.
        new = self._folder / f".{name}"
        descriptor = os.open(new, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, FILE_MODE)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._descriptor, self._path, self._size, self._day = descriptor, self._folder / name, 0, day
        new.rename(self._path)

    def _cut(self) -> None:
        """Cut off what was written of lines that are not whole; if that cannot be, go on in a new file."""
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            self.close()

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)
            if not self._size:
                self._path.unlink(missing_ok=True)

    def forget(self) -> None:
        """After a fork, in the child: leave the file to the parent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


_sealing = threading.Lock()


def seal_in_background(folder: Path) -> None:
    """Compress the files of a folder that nobody writes to, in a thread of its own. One that is at it goes on."""
    threading.Thread(target=_seal_once, args=(folder,), name="noai-guard-seal", daemon=True).start()


def _seal_once(folder: Path) -> None:
    with _sealing:
        try:
            seal(folder)
        except (OSError, MissingExtra) as error:
            _log.warning("event logs in %s stay as they are, not compressed: %s", folder, error)


def seal(folder: Path) -> list[Path]:
    """Compress the files of a folder that nobody writes to, and return the new ones.

    Raises OSError if one cannot be compressed, which stays then; MissingExtra if zstandard is not installed.
    """
    sealed = []
    # Whoever may write here must not have a file from elsewhere read by a link.
    plain = (path for path in folder.glob(f"*{PLAIN}") if path.is_file() and not path.is_symlink())
    for path in sorted(path for path in plain if day_of(path)):
        with suppress(FileNotFoundError), path.open("rb") as file:  # another process was first
            if not locked(file.fileno()):
                continue
            target = path.with_name(f"{path.name}.zst")
            if not target.exists():
                write_compressed(target, iter(lambda: file.read(1024 * 1024), b""))
                sealed.append(target)
            path.unlink()
    return sealed


def locked(descriptor: int) -> bool:
    """Return True if a file could be locked, so that nobody writes to it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody writes, or the file system has no locks, so that nobody can tell
        return False
    return True


def write_compressed(target: Path, chunks: Iterable[bytes]) -> None:
    """Write a file, compressed, that is there only when it is whole. Raises OSError and MissingExtra."""
    try:
        import zstandard
    except ImportError:
        raise MissingExtra("record", "compressing event logs") from None
    part = target.with_name(f"{target.name}{_PART}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            writer = zstandard.ZstdCompressor(write_checksum=True).stream_writer(file, closefd=False)
            with writer:
                for chunk in chunks:
                    writer.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
