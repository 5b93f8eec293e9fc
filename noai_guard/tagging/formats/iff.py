"""WAV (RIFF) and AIFF (IFF): chunks, one of which holds an ID3 tag. All others stay, and so does what follows them."""

from collections.abc import Mapping
from functools import partial
from typing import Literal, NamedTuple

from noai_guard.tagging import id3
from noai_guard.tagging.fields import Fields
from noai_guard.tagging.formats.format import Format, Plan
from noai_guard.tagging.source import Piece, Source, Span, Unsafe, size_of

_MAX_CHUNKS = 10_000
_HEAD = 12


class _Dialect(NamedTuple):
    byteorder: Literal["little", "big"]
    forms: tuple[bytes, ...]
    tag: bytes
    audio: bytes


class _Chunk(NamedTuple):
    """`end` counts the pad byte, if it is there."""

    name: bytes
    start: int
    size: int
    end: int


_WAV = _Dialect("little", (b"WAVE",), b"id3 ", b"data")
_AIFF = _Dialect("big", (b"AIFF", b"AIFC"), b"ID3 ", b"SSND")


def _recognise(source: Source, magics: tuple[bytes, ...], dialect: _Dialect) -> bool:
    if source.size < _HEAD:
        return False
    head = source.read(0, _HEAD)
    return head[:4] in magics and head[8:] in dialect.forms


def _chunks(source: Source, dialect: _Dialect) -> tuple[list[_Chunk], int]:
    """Return the chunks, and where the last one has to end. Raises Unsafe if they do not fit into each other."""
    head = source.read(0, _HEAD)
    if head[:4] in (b"RF64", b"BW64"):
        raise Unsafe("it is RF64, whose sizes stand in several places")
    end = 8 + int.from_bytes(head[4:8], dialect.byteorder)
    if end > source.size:
        raise Unsafe(f"its header announces {end:,} bytes, and it has {source.size:,}")
    chunks: list[_Chunk] = []
    position = _HEAD
    while position < end:
        if end - position < 8 or len(chunks) == _MAX_CHUNKS:
            raise Unsafe(f"no chunk can be read at byte {position:,}")
        header = source.read(position, 8)
        size = int.from_bytes(header[4:], dialect.byteorder)
        chunk_end = position + 8 + size
        if chunk_end > end:
            raise Unsafe(f"its chunk at byte {position:,} ends after the end of the file")
        chunk_end = min(chunk_end + size % 2, end)
        chunks.append(_Chunk(header[:4], position, size, chunk_end))
        position = chunk_end
    return chunks, end


def _tag_chunk(chunks: list[_Chunk], dialect: _Dialect) -> _Chunk | None:
    found = [chunk for chunk in chunks if chunk.name.upper() == dialect.tag.upper()]
    if len(found) > 1:
        raise Unsafe("it has several ID3 tags")
    return found[0] if found else None


def _plan(source: Source, fields: Fields, dialect: _Dialect) -> Plan:
    chunks, end = _chunks(source, dialect)
    if dialect.audio not in [chunk.name for chunk in chunks]:
        raise Unsafe("it has no audio")
    at = _tag_chunk(chunks, dialect)
    others = [chunk for chunk in chunks if chunk is not at]
    changed = id3.change(_tag(source, at), fields, fixed_size=False)
    lasting = [chunk for chunk in others if chunk.name != b"C2PA"]
    foreign: list[Piece] = [Span(chunk.start, chunk.start + 8 + chunk.size) for chunk in lasting]
    foreign.append(Span(end, source.size))
    signed = len(lasting) < len(others)
    if changed.unchanged:
        return Plan([Span(0, source.size)], foreign, changed.foreign, changed.was, changed.notes, signed)
    before = Span(_HEAD, at.start if at else end)
    after = Span(at.end, end) if at else Span(end, end)
    pieces: list[Piece] = [before]
    if changed.tag:
        # The last chunk of some files lacks its pad byte.
        pad = b"\0" * (before.end % 2)
        name = at.name if at else dialect.tag
        length = len(changed.tag).to_bytes(4, dialect.byteorder)
        pieces.append(pad + name + length + changed.tag + b"\0" * (len(changed.tag) % 2))
    pieces.append(after)
    size = _HEAD - 8 + size_of(pieces)
    if size >= 1 << 32:
        raise Unsafe("it would be larger than 4 GiB, which its header cannot say")
    form = source.read(8, 4)
    head = source.read(0, 4) + size.to_bytes(4, dialect.byteorder) + form
    return Plan([head, *pieces, Span(end, source.size)], foreign, changed.foreign, changed.was, changed.notes, signed)


def _tag(source: Source, chunk: _Chunk | None) -> id3.Tag | None:
    if chunk is None:
        return None
    tag = id3.read(source, chunk.start + 8, chunk.size)
    if tag is None or chunk.size - tag.size > 1:
        raise Unsafe("its ID3 chunk holds something else")
    return tag


def _read(source: Source, dialect: _Dialect) -> Mapping[str, str]:
    chunks, _ = _chunks(source, dialect)
    chunk = _tag_chunk(chunks, dialect)
    return id3.values(id3.read(source, chunk.start + 8, chunk.size)) if chunk else {}


def _format(name: str, suffixes: tuple[str, ...], magics: tuple[bytes, ...], dialect: _Dialect, c2pa: str) -> Format:
    return Format(
        name, suffixes, partial(_recognise, magics=magics, dialect=dialect), partial(_plan, dialect=dialect),
        partial(_read, dialect=dialect), c2pa_type=c2pa,
        limitations=() if c2pa else ("AIFF: c2pa-python does not sign it.",),
    )  # fmt: skip


FORMATS = (
    _format("WAV", (".wav", ".wave", ".rf64", ".bw64"), (b"RIFF", b"RF64", b"BW64"), _WAV, "audio/wav"),
    _format("AIFF", (".aif", ".aiff", ".aifc"), (b"FORM",), _AIFF, ""),
)
