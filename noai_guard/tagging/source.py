"""Bytes of a file, read by position, and the pieces of which a changed file is put together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from noai_guard.errors import NoAIGuardError

MAX_TAG_BYTES = 64 * 1024 * 1024
"""Bytes of tags that are read into memory. What holds more is left alone."""

_CHUNK = 1024 * 1024


class Unsafe(NoAIGuardError):
    """A file cannot be tagged without a risk; the message says why, in words that follow the file's name."""


class Source(Protocol):
    """A file of `size` bytes. `read` returns exactly the bytes that are asked for, or raises Unsafe."""

    @property
    def size(self) -> int: ...

    def read(self, start: int, length: int) -> bytes: ...


class FileSource:
    """The bytes of an open file."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = stream.seek(0, 2)

    def read(self, start: int, length: int) -> bytes:
        """Return `length` bytes from `start`. Raises Unsafe if the file ends before, or for more than 64 MiB."""
        if length > MAX_TAG_BYTES:
            raise Unsafe(f"its tags have {length:,} bytes; {MAX_TAG_BYTES:,} are read")
        self._stream.seek(start)
        content = self._stream.read(length)
        if len(content) < length:
            raise Unsafe(f"it ends at byte {self.size:,}, in the middle of what it announces")
        return content


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from `start` up to `end` of the file as it was."""

    start: int
    end: int


Piece = Span | bytes
"""A part of the new file: a part of the old one, or new bytes."""


def size_of(pieces: Iterable[Piece]) -> int:
    """Return the number of bytes of the pieces together."""
    return sum(piece.end - piece.start if isinstance(piece, Span) else len(piece) for piece in pieces)


def parts(source: Source, pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Yield the content of the pieces, at most 1 MiB at a time."""
    for piece in pieces:
        if not isinstance(piece, Span):
            yield piece
            continue
        for start in range(piece.start, piece.end, _CHUNK):
            yield source.read(start, min(_CHUNK, piece.end - start))


def is_unchanged(source: Source, pieces: Sequence[Piece]) -> bool:
    """Return True if the pieces are the file as it is."""
    if size_of(pieces) != source.size:
        return False
    position = 0
    for piece in pieces:
        if isinstance(piece, Span):
            if piece.start != position and piece.start != piece.end:
                return False
            position += piece.end - piece.start
        else:
            if piece != source.read(position, len(piece)):
                return False
            position += len(piece)
    return True
