"""What leads from a new version of a file back to the old one, byte for byte.

The old file is told as segments of the new one, each moved by some distance, and as the bytes that are not found there.
Distances are those at which both begin, both end, and some samples of the old file are found. So any two files have a
delta, and that of a tagged file is about as long as its tags.
"""

import mmap
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from noai_guard.tagging.source import Unsafe

_BLOCK = 64 * 1024
_FINE = 256
_SAMPLE = 64
_DIFFERENT = re.compile(rb"[^\0]+(?:\0{1,16}[^\0]+)*")
_HEAD = struct.Struct("<QI")
_SEGMENT = struct.Struct("<Qq")
_RANGE = struct.Struct("<QI")
_MAX_BYTES = 256 * 1024 * 1024


def backwards(old: BinaryIO, new: BinaryIO) -> bytes:
    """Return the delta from `new` to `old`, compressed. Raises Unsafe if it would be larger than 256 MiB."""
    old_size, new_size = old.seek(0, 2), new.seek(0, 2)
    segments = list(_segments(old, new, old_size, _distances(old, new, old_size, new_size)))
    written = bytearray(_HEAD.pack(old_size, len(segments)))
    for end, distance in segments:
        written += _SEGMENT.pack(end, distance)
    for start, content in _differences(old, new, segments):
        written += _RANGE.pack(start, len(content)) + content
        if len(written) > _MAX_BYTES:
            raise Unsafe("what is needed to undo the change would be larger than 256 MiB")
    return zlib.compress(bytes(written), 6)


def apply(delta: bytes, new: BinaryIO, old: BinaryIO) -> None:
    """Write the old version of a file to `old`."""
    content = zlib.decompress(delta)
    _, count = _HEAD.unpack_from(content)
    position, start = _HEAD.size, 0
    for _ in range(count):
        end, distance = _SEGMENT.unpack_from(content, position)
        position += _SEGMENT.size
        for at in range(start, end, _BLOCK):
            old.write(_at(new, at + distance, min(_BLOCK, end - at)))
        start = end
    while position < len(content):
        start, length = _RANGE.unpack_from(content, position)
        position += _RANGE.size
        old.seek(start)
        old.write(content[position : position + length])
        position += length


def _at(stream: BinaryIO, position: int, length: int) -> bytes:
    """Return the bytes at a position; those outside of the file are zeros."""
    missing = min(max(-position, 0), length)
    stream.seek(max(position, 0))
    return (b"\0" * missing + stream.read(length - missing)).ljust(length, b"\0")


def _distances(old: BinaryIO, new: BinaryIO, old_size: int, new_size: int) -> Sequence[int]:
    distances = {0: None, new_size - old_size: None}
    if new_size:
        with mmap.mmap(new.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for quarter in (1, 2, 3):
                start = old_size * quarter // 4
                sample = _at(old, start, _SAMPLE)
                # Silence is everywhere, and says nothing.
                found = content.find(sample) if len(set(sample)) > 8 else -1
                if found >= 0:
                    distances[found - start] = None
    return list(distances)


def _segments(old: BinaryIO, new: BinaryIO, old_size: int, distances: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield ends of segments of the old file, each with the distance at which most of it is found in the new one."""
    current = distances[0]

    def found_at(position: int, length: int) -> int | None:
        block = _at(old, position, length)
        for distance in (current, *distances):
            if block == _at(new, position + distance, length):
                return distance
        return None

    for start in range(0, old_size, _BLOCK):
        end = min(start + _BLOCK, old_size)
        distance = found_at(start, end - start)
        steps = [(start, end, distance)]
        if distance is None:
            fine = [(at, min(at + _FINE, end)) for at in range(start, end, _FINE)]
            steps = [(at, until, found_at(at, until - at)) for at, until in fine]
        for at, _, distance in steps:
            if distance is not None and distance != current:
                if at:
                    yield at, current
                current = distance
    yield old_size, current


def _differences(old: BinaryIO, new: BinaryIO, segments: Sequence[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """Yield the parts of the old file that differ from the segments of the new one."""
    start = 0
    for end, distance in segments:
        for position in range(start, end, _BLOCK):
            length = min(_BLOCK, end - position)
            block, other = _at(old, position, length), _at(new, position + distance, length)
            if block != other:
                different = int.from_bytes(block, "big") ^ int.from_bytes(other, "big")
                for match in _DIFFERENT.finditer(different.to_bytes(length, "big")):
                    yield position + match.start(), block[match.start() : match.end()]
        start = end
