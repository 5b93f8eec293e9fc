"""M4A (AAC or ALAC in MP4): free-form atoms in moov.udta.meta.ilst, and XMP in a box of its own.

If moov grows in front of the audio and no free space takes it up, the tables that say where each chunk of the audio
stands are changed along. Files with other positions in them, such as fragmented ones, are left alone.
"""

from bisect import bisect
from collections.abc import Mapping
from typing import NamedTuple

from noai_guard.tagging import xmp
from noai_guard.tagging.fields import OWN, OWNER, Fields, Kind, Merged, merge
from noai_guard.tagging.formats.format import Format, Plan
from noai_guard.tagging.formats.mp4_boxes import (
    Box,
    box,
    find,
    name_of,
    replaced,
    split,
    top_boxes,
    with_positions,
)
from noai_guard.tagging.source import Piece, Source, Span, Unsafe

_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_FRAGMENTS = (b"moof", b"mfra", b"sidx", b"styp")
_FREE = (b"free", b"skip")
_MEAN = "com.apple.iTunes"
_MIRROR = "cprt"
_META = b"\0\0\0\0" + box(b"hdlr", b"\0" * 8 + b"mdirappl" + b"\0" * 9)
_META_HEAD = 4
_TEXT = b"\0\0\0\1\0\0\0\0"
"""Type of a data atom: UTF-8 in no language."""


class _Movie(NamedTuple):
    """The boxes of a file, its moov, and what is in that down to the list of tags."""

    boxes: list[Box]
    moov: Box
    content: list[bytes]
    udta: list[bytes]
    meta_head: bytes
    meta: list[bytes]
    items: list[bytes]


def _recognise(source: Source) -> bool:
    return source.size > 8 and source.read(4, 4) == b"ftyp"


def _movie(source: Source) -> _Movie:
    boxes = top_boxes(source)
    if any(each.name in _FRAGMENTS for each in boxes):
        raise Unsafe("it is a fragmented MP4, whose positions stand in many places")
    found = [each for each in boxes if each.name == b"moov"]
    if len(found) != 1:
        raise Unsafe("it has no single description of its content (moov)")
    moov = found[0]
    content = split(source.read(moov.body, moov.end - moov.body))
    udta = split(find(content, b"udta") or b"")
    meta = find(udta, b"meta") or _META
    if meta[:_META_HEAD] != b"\0" * _META_HEAD:
        raise Unsafe("its tags are in a form of QuickTime that is not known")
    children = split(meta[_META_HEAD:])
    handler = find(children, b"hdlr")
    if handler is None or handler[8:12] != b"mdir":
        raise Unsafe("its tags are in a form of QuickTime that is not known")
    items = split(find(children, b"ilst") or b"")
    return _Movie(boxes, moov, content, udta, meta[:_META_HEAD], children, items)


def _read_item(raw: bytes) -> tuple[str, str] | None:
    name = name_of(raw)
    if name not in (b"----", _MIRROR.encode()):
        return None
    try:
        parts = split(raw[8:])
    except Unsafe:
        return None
    data = find(parts, b"data")
    if data is None or data[:4] != _TEXT[:4]:
        return None
    value = data[8:].decode("utf-8", "replace")
    if name != b"----":
        return _MIRROR, value
    mean, key = find(parts, b"mean") or b"", find(parts, b"name") or b""
    known = key[4:].decode("ascii", "replace").upper()
    return (known, value) if mean[4:] == _MEAN.encode() and known in OWN else None


def _write_item(name: str, value: str) -> bytes:
    data = box(b"data", _TEXT + value.encode())
    if name == _MIRROR:
        return box(_MIRROR.encode(), data)
    mean = box(b"mean", b"\0" * 4 + _MEAN.encode())
    return box(b"----", mean + box(b"name", b"\0" * 4 + name.encode()) + data)


_KIND = Kind({_MIRROR: OWNER}, _read_item, _write_item)


def _plan(source: Source, fields: Fields) -> Plan:
    movie = _movie(source)
    merged = merge(movie.items, _KIND, fields)
    packet, xmp_box = _packet(source, movie, fields)
    notes = [*merged.notes, *([packet.note] if packet.note else [])]
    items = [*merged.foreign, packet.foreign]
    signed = any(_uuid(source, each) == _C2PA for each in movie.boxes)
    pieces: list[Piece] = []
    if list(merged.items) == movie.items:
        pieces.append(Span(0, source.size if xmp_box is None else xmp_box.start))
    else:
        pieces += _with_moov(source, movie, merged, source.size if xmp_box is None else xmp_box.start)
    if packet.packet is not None:
        pieces.append(box(b"uuid", _XMP + packet.packet))
    return Plan(pieces, _foreign(source, movie), items, merged.was, notes, signed)


def _packet(source: Source, movie: _Movie, fields: Fields) -> tuple[xmp.Packet, Box | None]:
    """Return the packet to write at the end of the file, and the box there that it replaces."""
    found = [each for each in movie.boxes if _uuid(source, each) == _XMP]
    last = movie.boxes[-1]
    if found and found != [last]:
        note = "its XMP is in the middle of the file, so plus:DataMining is missing" if fields.mining else ""
        return xmp.Packet(None, b"", note), None
    if found:
        return xmp.merge(source.read(last.body + 16, last.end - last.body - 16), fields), last
    if last.open_ended:
        note = "its last box has no end, so XMP with plus:DataMining is missing" if fields.mining else ""
        return xmp.Packet(None, b"", note), None
    return xmp.merge(None, fields), None


def _uuid(source: Source, each: Box) -> bytes:
    return source.read(each.body, 16) if each.name == b"uuid" and each.end - each.body >= 16 else b""


def _foreign(source: Source, movie: _Movie) -> list[Piece]:
    """Return all boxes but those of tags, and moov with the positions in it counted from the box they point into."""
    ours = (_XMP, _C2PA)
    media = [each for each in movie.boxes if each.name not in (b"moov", *_FREE) and _uuid(source, each) not in ours]
    starts = [each.start for each in media]
    counted = bytearray()

    def relative(position: int) -> int:
        number = bisect(starts, position) - 1
        if number < 0 or position >= media[number].end:
            raise Unsafe("its tables point outside of the audio")
        counted.extend(f"{number}+{position - starts[number]};".encode())
        return 0

    rest = [raw for raw in movie.content if name_of(raw) not in (b"udta", *_FREE)]
    beside = [raw for raw in movie.udta if name_of(raw) not in (b"meta", b"")]
    in_meta = [raw for raw in movie.meta if name_of(raw) not in (b"ilst", *_FREE)]
    placed = with_positions(b"".join(rest), relative)
    return [*(Span(each.start, each.end) for each in media), placed, bytes(counted), *beside, *in_meta]


def _with_moov(source: Source, movie: _Movie, merged: Merged, end: int) -> list[Piece]:
    """Return the file up to `end` with the items in its moov, and the tables changed if the audio moves."""
    moov = movie.moov
    meta = replaced(movie.meta, b"ilst", b"".join(merged.items))
    meta_content = movie.meta_head + b"".join(meta)
    content = b"".join(replaced(movie.content, b"udta", b"".join(replaced(movie.udta, b"meta", meta_content))))
    growth = len(content) + 8 - (moov.end - moov.start)
    after = next((each for each in movie.boxes if each.start == moov.end), None)
    if after is None or moov.end >= end:
        return [Span(0, moov.start), box(b"moov", content), Span(moov.end, end)]
    space = after.end - after.start - growth
    if after.name in _FREE and not after.open_ended and (space == 0 or 8 <= space < 1 << 32):
        free = box(b"free", b"\0" * (space - 8)) if space else b""
        return [Span(0, moov.start), box(b"moov", content), free, Span(after.end, end)]
    moved = with_positions(content, lambda position: position + growth if position >= moov.end else position)
    return [Span(0, moov.start), box(b"moov", moved), Span(moov.end, end)]


def _read(source: Source) -> Mapping[str, str]:
    movie = _movie(source)
    found = dict(merge(movie.items, _KIND, Fields()).was)
    for each in movie.boxes:
        if _uuid(source, each) == _XMP and (mining := xmp.mining(source.read(each.body, each.end - each.body))):
            found.setdefault(xmp.PROPERTY, mining)
    return found


FORMAT = Format("M4A", (".m4a", ".m4b", ".mp4"), _recognise, _plan, _read, c2pa_type="audio/mp4")
