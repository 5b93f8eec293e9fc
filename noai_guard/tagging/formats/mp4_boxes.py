"""Boxes of MP4 (ISO/IEC 14496-12), and the positions in the file that some of them hold."""

from collections.abc import Callable
from typing import NamedTuple

from noai_guard.tagging.source import Source, Unsafe

_MAX_BOXES = 10_000


class Box(NamedTuple):
    """A box at the top of a file: `open_ended` reaches to the end of the file, however long that is."""

    name: bytes
    start: int
    body: int
    end: int
    open_ended: bool


def top_boxes(source: Source) -> list[Box]:
    """Return the boxes of a file. Raises Unsafe if they do not fill it."""
    boxes: list[Box] = []
    position = 0
    while position < source.size:
        if len(boxes) == _MAX_BOXES or source.size - position < 8:
            raise Unsafe(f"no box can be read at byte {position:,}")
        header = source.read(position, 8)
        size, body = int.from_bytes(header[:4], "big"), position + 8
        if size == 1:
            size, body = int.from_bytes(source.read(body, 8), "big"), body + 8
        end = position + size if size else source.size
        if end < body or end > source.size:
            raise Unsafe(f"its box at byte {position:,} ends after the end of the file")
        boxes.append(Box(header[4:], position, body, end, size == 0))
        position = end
    return boxes


def split(content: bytes) -> list[bytes]:
    """Return the boxes of which the content of another consists, with their headers. Raises Unsafe."""
    boxes, position = [], 0
    while position < len(content):
        # QuickTime ends some lists of boxes with four zero bytes.
        if len(content) - position == 4 and content[position:] == b"\0" * 4:
            boxes.append(content[position:])
            break
        size = int.from_bytes(content[position : position + 4], "big")
        if size < 8 or position + size > len(content):
            raise Unsafe("its boxes do not fit into each other")
        boxes.append(content[position : position + size])
        position += size
    return boxes


def box(name: bytes, content: bytes) -> bytes:
    """Return a box."""
    return (len(content) + 8).to_bytes(4, "big") + name + content


def name_of(raw: bytes) -> bytes:
    """Return the name of a box; empty for the four zero bytes of QuickTime."""
    return raw[4:8]


def find(boxes: list[bytes], name: bytes) -> bytes | None:
    """Return the content of the first box with a name; None if there is none."""
    return next((raw[8:] for raw in boxes if name_of(raw) == name), None)


def replaced(boxes: list[bytes], name: bytes, content: bytes) -> list[bytes]:
    """Return boxes in which the first with a name has another content; it is added if there is none."""
    names = [name_of(raw) for raw in boxes]
    if name not in names:
        # Before the four zero bytes that end a list of QuickTime.
        end = len(boxes) - (b"" in names)
        return [*boxes[:end], box(name, content), *boxes[end:]]
    at = names.index(name)
    return [*boxes[:at], box(name, content), *boxes[at + 1 :]]


_TABLES = {b"stco": 4, b"co64": 8}
"""Tables of positions, with the bytes of an entry."""
_CONTAINERS = (b"trak", b"mdia", b"minf", b"stbl")
"""What leads from moov to its tables, from the outside to the inside."""
_HOLD_POSITIONS = (b"saio", b"iloc", b"mvex", b"moof")


def with_positions(content: bytes, moved: Callable[[int], int], depth: int = 0) -> bytes:
    """Return the content of `moov` with every position of a chunk replaced by `moved(position)`. Raises Unsafe."""
    written = bytearray()
    for raw in split(content):
        name = name_of(raw)
        if name in _HOLD_POSITIONS:
            raise Unsafe(f"its box {name.decode('ascii', 'replace')} holds positions that cannot be moved safely")
        if name in _CONTAINERS[depth : depth + 1]:
            written += box(name, with_positions(raw[8:], moved, depth + 1))
        elif name in _TABLES:
            written += box(name, _moved_table(raw[8:], _TABLES[name], moved))
        else:
            written += raw
    return bytes(written)


def _moved_table(table: bytes, width: int, moved: Callable[[int], int]) -> bytes:
    count = int.from_bytes(table[4:8], "big")
    if len(table) < 8 + count * width:
        raise Unsafe("a table of its chunks ends too early")
    written = bytearray(table)
    for at in range(8, 8 + count * width, width):
        position = moved(int.from_bytes(table[at : at + width], "big"))
        if position >= 1 << 8 * width:
            raise Unsafe("its audio would be moved further than its tables can say")
        written[at : at + width] = position.to_bytes(width, "big")
    return bytes(written)
