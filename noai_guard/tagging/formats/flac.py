"""FLAC: metadata blocks, one of which holds comments; padding makes room. The others and the audio stay."""

from collections.abc import Mapping
from typing import NamedTuple

from noai_guard.tagging import id3, vorbis
from noai_guard.tagging.fields import Fields, merge
from noai_guard.tagging.formats.format import Format, Plan, starts_with
from noai_guard.tagging.source import Piece, Source, Span, Unsafe

_MARK = b"fLaC"
_PADDING, _COMMENT = 1, 4
_MAX_BLOCK = (1 << 24) - 1
_MAX_BLOCKS = 10_000
_NEW_PADDING = 4096
_OUR_VENDOR = (10).to_bytes(4, "little") + b"noai-guard"
"""What comments begin with in a file that had none."""


class _Block(NamedTuple):
    kind: int
    start: int
    end: int

    @property
    def body(self) -> Span:
        return Span(self.start + 4, self.end)


def _start(source: Source) -> int | None:
    """Return where the mark stands; some programs, c2pa-rs among them, put an ID3 tag before it."""
    start = id3.end_of(source)
    return start if starts_with(source, start, _MARK) else None


def _recognise(source: Source) -> bool:
    return _start(source) is not None


def _blocks(source: Source, start: int) -> list[_Block]:
    blocks: list[_Block] = []
    position = start + len(_MARK)
    last = False
    while not last:
        if len(blocks) == _MAX_BLOCKS:
            raise Unsafe("it has too many metadata blocks")
        header = source.read(position, 4)
        end = position + 4 + int.from_bytes(header[1:], "big")
        if end > source.size or header[0] == 0xFF:
            raise Unsafe("its metadata end after the end of the file")
        blocks.append(_Block(header[0] & 0x7F, position, end))
        last = bool(header[0] & 0x80)
        position = end
    if blocks[0].kind != 0:
        raise Unsafe("its first metadata block does not describe the stream")
    return blocks


def _comments(source: Source, blocks: list[_Block]) -> vorbis.Comments | None:
    found = [block.body for block in blocks if block.kind == _COMMENT]
    if len(found) > 1:
        raise Unsafe("it has several blocks of comments")
    return vorbis.read(source.read(found[0].start, found[0].end - found[0].start)) if found else None


def _plan(source: Source, fields: Fields) -> Plan:
    start = _start(source) or 0
    blocks = _blocks(source, start)
    audio = Span(blocks[-1].end, source.size)
    comments = _comments(source, blocks) or vorbis.Comments(_OUR_VENDOR, ())
    merged = merge(comments.entries, vorbis.KIND, fields)
    kept = [block for block in blocks if block.kind not in (_PADDING, _COMMENT)]
    prefix = Span(0, start)
    tag = id3.read(source, 0) if start else None
    frames = tag.frames if tag else ()
    signed = any(map(id3.is_c2pa, frames))
    in_front = [frame for frame in frames if not id3.is_c2pa(frame)]
    foreign: list[Piece] = [*in_front, *(_headless(block) for block in kept), comments.rest, audio]
    foreign.append(comments.vendor if comments.vendor != _OUR_VENDOR else b"")
    notes = [*merged.notes, *([vorbis.NO_XMP] if fields.mining else [])]
    if list(merged.items) == list(comments.entries):
        return Plan([Span(0, source.size)], foreign, merged.foreign, merged.was, notes, signed)
    content = bytes(vorbis.Comments(comments.vendor, tuple(merged.items), comments.rest))
    if len(content) > _MAX_BLOCK:
        raise Unsafe("its comments would be larger than FLAC allows")
    needed = sum(block.end - block.start for block in kept) + 4 + len(content)
    padding = blocks[-1].end - start - len(_MARK) - needed - 4
    if not 0 <= padding <= _MAX_BLOCK:
        padding = _NEW_PADDING
    pieces: list[Piece] = [prefix, _MARK]
    for number, block in enumerate(kept):
        pieces += [_header(block.kind, block.end - block.start - 4), block.body]
        if number == 0:
            pieces += [_header(_COMMENT, len(content)), content]
    pieces += [_header(0x80 | _PADDING, padding), b"\0" * padding, audio]
    return Plan(pieces, foreign, merged.foreign, merged.was, notes, signed)


def _headless(block: _Block) -> Span:
    """Return a block without the byte that says whether it is the last one."""
    return Span(block.start + 1, block.end)


def _header(kind: int, size: int) -> bytes:
    return bytes([kind]) + size.to_bytes(3, "big")


def _read(source: Source) -> Mapping[str, str]:
    comments = _comments(source, _blocks(source, _start(source) or 0))
    return vorbis.values(comments) if comments else {}


FORMAT = Format(
    "FLAC", (".flac", ".fla"), _recognise, _plan, _read, (f"FLAC: {vorbis.NO_XMP}.",), c2pa_type="audio/flac"
)
