"""Read logs as blocks of whole lines: files, as they are or compressed, standard input."""

import bz2
import gzip
import io
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from noai_guard.errors import LogsInvalid, MissingExtra, Problem
from noai_guard.replay.zstd_frames import ZstdReader

BLOCK_BYTES = 16 * 1024 * 1024
"""Bytes of text in one block: a fifth less CPU time than 8 MiB; 24 MiB save a tenth for 50 MB (measured 2026-11-29)."""

MAX_LINE_BYTES = 1024 * 1024
"""Bytes of the longest line that is read. nginx, Apache and HAProxy write at most 64 KiB."""

STDIN = "-"

_DAMAGED = "is damaged or incomplete"

_MAX_BESIDE = 1000
"""Files of a folder among which a similar name is looked for."""

_ARCHIVES = {
    (0, b"PK\x03\x04"): "unzip -p",
    (0, b"7z\xbc\xaf\x27\x1c"): "7z x -so",
    (257, b"ustar"): "tar -xOf",
}
"""Where in an archive stands what, and the command that writes out what is in it."""

_IN_FRONT = b"\0\xef\xbb\xbf"
"""Bytes in front of the first line that are no part of it: zeros that logrotate's `copytruncate` leaves, and a mark of
UTF-8."""

_MAX_WINDOW = 128 * 1024 * 1024  # what `zstd --long` writes and decompresses without an option


def unreadable(names: Sequence[str]) -> list[Problem]:
    """Return what is wrong with the logs of these names, each with what to type instead."""
    return [problem for name in names if name != STDIN for problem in _unreadable(name)]


def _unreadable(name: str) -> Iterator[Problem]:
    path = Path(name)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            yield Problem("R001", "is a link that leads nowhere", "name another file, or - for standard input", name)
            return
        near = get_close_matches(path.name, _beside(path), n=1)
        hint = f"did you mean {path.with_name(near[0])}?" if near else "nginx has /var/log/nginx/access.log, - is stdin"
        yield Problem("R001", "does not exist", hint, name)
    except OSError as error:
        yield Problem("R001", f"cannot be read: {error.strerror}", "name another file, or - for standard input", name)
    else:
        # Not opened: a pipe can be read once.
        if stat.S_ISDIR(mode):
            yield Problem("R001", "is a folder", f"name its files: noai-guard replay {path / '*'}", name)
        elif not os.access(path, os.R_OK):
            hint = f"let sudo read it: sudo cat {name} | noai-guard replay -"
            yield Problem("R001", "may not be read by you", hint, name)


def _beside(path: Path) -> list[str]:
    """Return the names of what is in the folder of a file."""
    try:
        return [each.name for each in islice(path.parent.iterdir(), _MAX_BESIDE)]
    except OSError:
        return []


def empty(name: str) -> Problem:
    """Return the problem of a log that holds nothing."""
    if name == STDIN:
        return Problem("R002", "is empty", "pipe a log into it: zcat access.log.2.gz | noai-guard replay -", name)
    return Problem("R002", "is empty", f"add older ones: noai-guard replay {name}*", name)


@dataclass(slots=True)
class Source:
    """One log. `overlong` counts lines that were longer than MAX_LINE_BYTES, `damage` says why reading ended early."""

    name: str
    on_read: Callable[[int], object] = lambda size: None
    overlong: int = 0
    damage: str = ""
    _consumed: int = field(default=0, repr=False)

    @property
    def size(self) -> int:
        """Bytes of the file as it is on the disk; 0 for standard input."""
        return 0 if self.name == STDIN else Path(self.name).stat().st_size

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Generator[bytes]:
        """Yield blocks of whole lines, each line with its LF. Raises OSError if the file cannot be opened.

        A compressed file that breaks off or is damaged ends where it could still be read; `damage` says so.
        """
        stream = cast(BinaryIO, sys.stdin.buffer) if self.name == STDIN else open(self.name, "rb", buffering=0)  # noqa: SIM115  # closed below
        with stream:
            counted = io.BufferedReader(_Counted(stream, self.on_read), 256 * 1024)
            head = counted.peek(8)[:8]
            opened = next((how for magic, how in _OPENERS.items() if head.startswith(magic)), None)
            text = cast(BinaryIO, counted) if opened is None else opened(counted)
            yield from self._whole_lines(text, block_bytes)
            if not (self.damage or getattr(text, "is_whole", True)):
                self.damage = f"{_DAMAGED}: it ends within a frame"

    def _refuse_archives(self, beginning: bytes) -> None:
        """Raise LogsInvalid if a file is an archive, whose members would be read as one log."""
        commands = (command for (at, magic), command in _ARCHIVES.items() if beginning[at:].startswith(magic))
        if command := next(commands, None):
            hint = f"read what is in it: {command} {self.name} | noai-guard replay -"
            raise LogsInvalid([Problem("R004", "is an archive of files", hint, self.name)])

    def _whole_lines(self, text: BinaryIO, block_bytes: int) -> Iterator[bytes]:
        parts: list[bytes] = []
        size, skipping, begun = 0, False, False
        while chunk := self._read(text, block_bytes):
            if not begun:
                self._refuse_archives(chunk)
                chunk = chunk.lstrip(_IN_FRONT)
                begun = bool(chunk)
            if skipping:
                _, newline, chunk = chunk.partition(b"\n")
                skipping = not newline
            parts.append(chunk)
            size += len(chunk)
            if size < block_bytes // 2:
                continue
            if b"\n" not in chunk:
                parts = [b"".join(parts)]
            # Large blocks are copied once.
            last = parts.pop()
            end = last.rfind(b"\n") + 1
            if end:
                yield b"".join((*parts, memoryview(last)[:end]))
            parts = [last[end:]]
            size = len(parts[0])
            if size > MAX_LINE_BYTES:
                self.overlong += 1
                parts, size, skipping = [], 0, True
        if size:
            rest = b"".join(parts)
            yield rest if rest.endswith(b"\n") else rest + b"\n"

    def _read(self, text: BinaryIO, block_bytes: int) -> bytes:
        """Return the next bytes, few at a time, so that a damaged file is read up to the damage."""
        try:
            return text.read1(block_bytes)  # type: ignore[attr-defined, no-any-return]
        except _damages() as error:
            self.damage = f"{_DAMAGED}: {error}"
        except OSError as error:
            # Decompressors raise it without a number.
            if error.errno is not None:
                raise
            self.damage = f"{_DAMAGED}: {error}"
        return b""


class _Counted(io.RawIOBase):
    """A stream that reports the number of bytes of each read."""

    def __init__(self, stream: BinaryIO, on_read: Callable[[int], object]) -> None:
        self._stream = stream
        self._on_read = on_read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size: int = self._stream.readinto(buffer)  # type: ignore[attr-defined]
        self._on_read(size)
        return size


def _zstd(stream: "io.BufferedReader[Any]") -> ZstdReader:
    try:
        import zstandard
    except ImportError:
        raise MissingExtra("replay", "a log compressed with zstd") from None
    return ZstdReader(stream, zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW))


_OPENERS: Mapping[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"\x28\xb5\x2f\xfd": _zstd,
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"BZh": bz2.BZ2File,
}
"""How a compressed file begins -> function that reads what it holds."""


def _damages() -> tuple[type[Exception], ...]:
    """Return the errors of readers of compressed files that are damaged or break off."""
    zstandard = sys.modules.get("zstandard")
    return (EOFError, zlib.error, lzma.LZMAError, *((zstandard.ZstdError,) if zstandard else ()))
