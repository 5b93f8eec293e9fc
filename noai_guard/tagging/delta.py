"""What leads from a new version of a file back to the old one, byte for byte, as long as little has changed.

Both versions are compared twice: aligned at their beginnings, and at their ends. A part of the old file that is in the
new one at neither place is kept as it is, so any two files have a delta; that of a tagged file is about as long as its
tags.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from noai_guard.tagging.source import Unsafe

_BLOCK = 64 * 1024
_DIFFERENT = re.compile(rb"[^\0]+(?:\0{1,16}[^\0]+)*")
_HEAD = struct.Struct("<QQQ")
_RANGE = struct.Struct("<QI")
_MAX_BYTES = 256 * 1024 * 1024


def backwards(old: BinaryIO, new: BinaryIO) -> bytes:
    """Return the delta from `new` to `old`, compressed. Raises Unsafe if it would be larger than 256 MiB."""
    old_size, new_size = old.seek(0, 2), new.seek(0, 2)
    split = _split(old, new, old_size, new_size)
    written = bytearray(_HEAD.pack(old_size, new_size, split))
    for start, content in _differences(old, new, 0, split, 0):
        written += _RANGE.pack(start, len(content)) + content
        _bounded(written)
    for start, content in _differences(old, new, split, old_size, new_size - old_size):
        written += _RANGE.pack(start, len(content)) + content
        _bounded(written)
    return zlib.compress(bytes(written), 6)


def apply(delta: bytes, new: BinaryIO, old: BinaryIO) -> None:
    """Write the old version of a file to `old`."""
    content = zlib.decompress(delta)
    old_size, new_size, split = _HEAD.unpack_from(content)
    for start, end, shift in ((0, split, 0), (split, old_size, new_size - old_size)):
        for position in range(start, end, _BLOCK):
            length = min(_BLOCK, end - position)
            old.write(_at(new, position + shift, length).ljust(length, b"\0"))
    position = _HEAD.size
    while position < len(content):
        start, length = _RANGE.unpack_from(content, position)
        position += _RANGE.size
        old.seek(start)
        old.write(content[position : position + length])
        position += length


def _bounded(written: bytearray) -> None:
    if len(written) > _MAX_BYTES:
        raise Unsafe("what is needed to undo the change would be larger than 256 MiB")


def _at(stream: BinaryIO, position: int, length: int) -> bytes:
    """Return the bytes at a position that may be outside of the file; what is missing in front is zeros."""
    missing = min(max(-position, 0), length)
    stream.seek(max(position, 0))
    return b"\0" * missing + stream.read(length - missing)


def _split(old: BinaryIO, new: BinaryIO, old_size: int, new_size: int) -> int:
    """Return up to where the old file is better read from the beginning of the new one, in whole blocks."""
    if old_size == new_size:
        return old_size
    shift = new_size - old_size
    best = gain = split = 0
    for position in range(0, old_size, _BLOCK):
        length = min(_BLOCK, old_size - position)
        block = _at(old, position, length)
        from_start = block == _at(new, position, length)
        from_end = block == _at(new, position + shift, length)
        gain += from_start - from_end
        if gain > best:
            best, split = gain, position + length
    return split


def _differences(old: BinaryIO, new: BinaryIO, start: int, end: int, shift: int) -> Iterator[tuple[int, bytes]]:
    """Yield the parts of the old file that differ from the new one, read with a shift."""
    for position in range(start, end, _BLOCK):
        length = min(_BLOCK, end - position)
        block = _at(old, position, length)
        other = _at(new, position + shift, length).ljust(length, b"\0")
        if block != other:
            different = int.from_bytes(block, "big") ^ int.from_bytes(other, "big")
            for match in _DIFFERENT.finditer(different.to_bytes(length, "big")):
                yield position + match.start(), block[match.start() : match.end()]
