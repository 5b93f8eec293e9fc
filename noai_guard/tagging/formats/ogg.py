"""Ogg Vorbis and Opus: pages, of which those after the first hold the comments.

The comments are spread over as many pages as before, so that the pages of the audio, which are numbered and have
checksums, stay byte for byte.
"""

import zlib
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from noai_guard.tagging import vorbis
from noai_guard.tagging.fields import Fields, merge
from noai_guard.tagging.formats.format import Format, Plan
from noai_guard.tagging.source import MAX_TAG_BYTES, Piece, Source, Span, Unsafe

_HEADER = 27
_MARK = b"OggS"
_MAX_SEGMENTS = 255
_CONTINUED, _FIRST, _LAST = 1, 2, 4


class _Codec(NamedTuple):
    """`head` begins the first packet, `comments` the second; there are `packets` header packets."""

    head: bytes
    comments: bytes
    packets: int


_VORBIS = _Codec(b"\x01vorbis", b"\x03vorbis", 3)
_OPUS = _Codec(b"OpusHead", b"OpusTags", 2)


class _Page(NamedTuple):
    start: int
    flags: int
    granule: bytes
    serial: bytes
    number: int
    lacing: bytes
    end: int


def _page(source: Source, start: int) -> _Page:
    header = source.read(start, _HEADER)
    if header[:5] != _MARK + b"\0":
        raise Unsafe(f"no page begins at byte {start:,}")
    lacing = source.read(start + _HEADER, header[26])
    end = start + _HEADER + len(lacing) + sum(lacing)
    if end > source.size:
        raise Unsafe("it ends in the middle of a page")
    number = int.from_bytes(header[18:22], "little")
    return _Page(start, header[5], header[6:14], header[14:18], number, lacing, end)


def _recognise(source: Source, codec: _Codec) -> bool:
    if source.size < _HEADER + 1 or source.read(0, 4) != _MARK:
        return False
    body = _HEADER + source.read(26, 1)[0]
    return source.size >= body + len(codec.head) and source.read(body, len(codec.head)) == codec.head


def _header_pages(source: Source, codec: _Codec) -> tuple[list[_Page], list[bytes]]:
    """Return the pages after the first that hold header packets, and these packets. Raises Unsafe."""
    first = _page(source, 0)
    pages: list[_Page] = []
    packets: list[bytes] = []
    packet = bytearray()
    position, size = first.end, 0
    if not first.flags & _FIRST or first.flags & _LAST or len(first.lacing) != 1:
        raise Unsafe("its first page is not one of a single stream")
    while len(packets) < codec.packets - 1:
        page = _page(source, position)
        if page.serial != first.serial or page.flags & _FIRST:
            raise Unsafe("it holds several streams at once")
        if page.number != len(pages) + 1 or bool(page.flags & _CONTINUED) != bool(packet):
            raise Unsafe("its pages are not in order")
        size += page.end - page.start
        if size > MAX_TAG_BYTES:
            raise Unsafe("its comments are too large")
        body = page.end - sum(page.lacing)
        content, offset = source.read(body, page.end - body), 0
        for segment in page.lacing:
            if len(packets) == codec.packets - 1:
                raise Unsafe("its audio begins in the middle of a page")
            packet += content[offset : offset + segment]
            offset += segment
            if segment < _MAX_SEGMENTS:
                packets.append(bytes(packet))
                packet.clear()
        pages.append(page)
        position = page.end
    return pages, packets


def _comments(packets: list[bytes], codec: _Codec) -> vorbis.Comments:
    if not packets[0].startswith(codec.comments):
        raise Unsafe("its comments are not where they have to be")
    return vorbis.read(packets[0][len(codec.comments) :])


def _plan(source: Source, fields: Fields, codec: _Codec) -> Plan:
    pages, packets = _header_pages(source, codec)
    comments = _comments(packets, codec)
    merged = merge(comments.entries, vorbis.KIND, fields)
    rest = Span(pages[-1].end, source.size)
    foreign: list[Piece] = [Span(0, pages[0].start), comments.vendor, comments.rest, *packets[1:], rest]
    notes = [*merged.notes, *([vorbis.NO_XMP] if fields.mining else [])]
    if list(merged.items) == list(comments.entries):
        return Plan([Span(0, source.size)], foreign, merged.foreign, merged.was, notes)
    content = codec.comments + bytes(vorbis.Comments(comments.vendor, tuple(merged.items), comments.rest))
    pieces: list[Piece] = [Span(0, pages[0].start), _paginated([content, *packets[1:]], pages), rest]
    return Plan(pieces, foreign, merged.foreign, merged.was, notes)


def _paginated(packets: list[bytes], pages: list[_Page]) -> bytes:
    """Return the packets on as many pages as before."""
    segments = [
        packet[start : start + _MAX_SEGMENTS]
        for packet in packets
        for start in range(0, len(packet) + 1, _MAX_SEGMENTS)
    ]
    if not len(pages) <= len(segments) <= len(pages) * _MAX_SEGMENTS:
        raise Unsafe(f"its comments do not fit on {len(pages)} pages, and more would change those of the audio")
    written, position, continued = bytearray(), 0, False
    for index, page in enumerate(pages):
        count = min(_MAX_SEGMENTS, len(segments) - position - (len(pages) - index - 1))
        part = segments[position : position + count]
        position += count
        ends = any(len(segment) < _MAX_SEGMENTS for segment in part)
        granule = b"\0" * 8 if ends else b"\xff" * 8
        head = _MARK + bytes([0, _CONTINUED if continued else 0]) + granule + page.serial
        head += page.number.to_bytes(4, "little")
        tail = bytes([count]) + bytes(map(len, part)) + b"".join(part)
        written += head + _checksum(head + b"\0" * 4 + tail).to_bytes(4, "little") + tail
        continued = len(part[-1]) == _MAX_SEGMENTS
    return bytes(written)


_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _checksum(content: bytes) -> int:
    """Return the checksum of a page (RFC 3533 section 6): CRC-32 of 0x04c11db7, neither reflected nor inverted."""
    reflected = ~zlib.crc32(content.translate(_MIRRORED), 0xFFFFFFFF) & 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_MIRRORED), "big")


def _read(source: Source, codec: _Codec) -> Mapping[str, str]:
    return vorbis.values(_comments(_header_pages(source, codec)[1], codec))


def _format(name: str, suffixes: tuple[str, ...], codec: _Codec) -> Format:
    limitations = (f"{name}: {vorbis.NO_XMP}.", f"{name}: c2pa-python does not sign it.")
    recognise, plan, read = partial(_recognise, codec=codec), partial(_plan, codec=codec), partial(_read, codec=codec)
    return Format(name, suffixes, recognise, plan, read, limitations)


FORMATS = (_format("Ogg Vorbis", (".ogg", ".oga"), _VORBIS), _format("Opus", (".opus",), _OPUS))
