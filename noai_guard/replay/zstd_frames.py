"""Read zstd, and know whether the last frame was whole: the decompressor does not say that its input broke off."""

import io
from collections.abc import Generator
from typing import Any

_SKIPPABLE = range(0x184D2A50, 0x184D2A60)

_MAX_HEAD = 16
"""Bytes of the longest part that is looked at."""


def _parts() -> Generator[int, bytes, None]:
    """Yield how many bytes each part of a row of frames has; be sent the part if it has at most _MAX_HEAD, and nothing
    where a frame begins.

    RFC 8878, section 3.1 (read 2026-11-29).
    """
    while True:
        number = int.from_bytes((yield 4), "little")
        if number in _SKIPPABLE:
            yield int.from_bytes((yield 4), "little")
        else:
            descriptor = (yield 1)[0]
            is_single, has_checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
            yield (0, 1, 2, 4)[descriptor & 3] + (is_single, 2, 4, 8)[descriptor >> 6] + (not is_single)
            is_last = 0
            while not is_last:
                head = int.from_bytes((yield 3), "little")
                is_last, kind, size = head & 1, head >> 1 & 3, head >> 3
                yield 1 if kind == 1 else size
            yield 4 * has_checksum
        yield -1


class _Followed(io.RawIOBase):
    """A stream that follows the frames that are read from it. `is_whole`: it has been read to the end of a frame."""

    def __init__(self, stream: Any) -> None:
        self.is_whole = True
        self._stream = stream
        self._parts = _parts()
        self._left = next(self._parts)
        self._part = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data: bytes = self._stream.read1(len(buffer))
        buffer[: len(data)] = data
        at = 0
        while at < len(data):
            taken = min(self._left, len(data) - at)
            self._part = (self._part + data[at : at + min(taken, _MAX_HEAD)])[:_MAX_HEAD]
            self._left -= taken
            at += taken
            self.is_whole = False
            while self._left <= 0:
                self.is_whole = self._left < 0
                self._left = self._parts.send(self._part)
                self._part = b""
        return len(data)


class ZstdReader(io.RawIOBase):
    """A stream of what a stream of zstd holds. `is_whole`: the last frame was read to its end."""

    def __init__(self, stream: Any, decompressor: Any) -> None:
        self._followed = _Followed(stream)
        self._reader = decompressor.stream_reader(self._followed, read_across_frames=True)

    @property
    def is_whole(self) -> bool:
        return self._followed.is_whole

    def read1(self, size: int) -> bytes:
        """Return the next bytes, at most `size`."""
        return self._reader.read1(size)  # type: ignore[no-any-return]
