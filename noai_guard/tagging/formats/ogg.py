"""Ogg Vorbis and Opus: pages, of which those after the first hold the comments.

The comments are spread over as many pages as before, if they fit, so that the pages of the audio, which are numbered
and have checksums, stay byte for byte.
"""

import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from typing import NamedTuple

from noai_guard.tagging import vorbis
from noai_guard.tagging.fields import Fields, merge
from noai_guard.tagging.formats.format import Format, Plan
from noai_guard.tagging.source import MAX_TAG_BYTES, Piece, Source, Span, Unsafe

_HEADER = 27
_NUMBER, _CHECKSUM, _COUNT = 18, 22, 26
"""Where in the header of a page its number, its checksum and the count of its segments stand."""
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
    first, end = Span(0, pages[0].start), pages[-1].end
    header: list[Piece] = [first, comments.vendor, comments.rest, *packets[1:]]
    foreign = chain(header, _without_numbers(source, end, pages[-1]))
    notes = [*merged.notes, *([vorbis.NO_XMP] if fields.mining else [])]
    if list(merged.items) == list(comments.entries):
        return Plan([Span(0, source.size)], foreign, merged.foreign, merged.was, notes)
    content = codec.comments + bytes(vorbis.Comments(comments.vendor, tuple(merged.items), comments.rest))
    segments = _segments([content, *packets[1:]])
    count = max(len(pages), -(-len(segments) // _MAX_SEGMENTS))
    if len(segments) < count:
        raise Unsafe(f"its comments would be too short for {count} pages")
    more = count - len(pages)
    rest = _renumbered(source, end, pages[-1], more) if more else [Span(end, source.size)]
    pieces: list[Piece] = [first, _paginated(segments, pages[0], count), *rest]
    return Plan(pieces, foreign, merged.foreign, merged.was, notes)


def _segments(packets: list[bytes]) -> list[bytes]:
    """Return the segments of packets: the last one of each has less than 255 bytes, or none."""
    return [
        packet[start : start + _MAX_SEGMENTS]
        for packet in packets
        for start in range(0, len(packet) + 1, _MAX_SEGMENTS)
    ]


def _paginated(segments: list[bytes], first: _Page, pages: int) -> bytes:
    """Return the segments on this many pages, the first of which takes the place of an old one."""
    written, position, continued = bytearray(), 0, False
    for index in range(pages):
        count = min(_MAX_SEGMENTS, len(segments) - position - (pages - index - 1))
        part = segments[position : position + count]
        position += count
        ends = any(len(segment) < _MAX_SEGMENTS for segment in part)
        granule = b"\0" * 8 if ends else b"\xff" * 8
        head = _MARK + bytes([0, _CONTINUED if continued else 0]) + granule + first.serial
        head += (first.number + index).to_bytes(4, "little")
        tail = bytes([count]) + bytes(map(len, part)) + b"".join(part)
        written += head + _checksum(head + b"\0" * 4 + tail) + tail
        continued = len(part[-1]) == _MAX_SEGMENTS
    return bytes(written)


def _audio_pages(source: Source, start: int, before: _Page) -> Iterator[_Page]:
    """Yield the pages of the same stream up to its last one, or to what is no such page."""
    while start < source.size:
        try:
            page = _page(source, start)
        except Unsafe:
            return
        if page.serial != before.serial:
            return
        yield page
        start = page.end
        if page.flags & _LAST:
            return


def _without_numbers(source: Source, start: int, before: _Page) -> Iterator[Piece]:
    """Yield what follows the header pages, but for numbers and checksums, which change if there is one page more."""
    for page in _audio_pages(source, start, before):
        yield Span(page.start, page.start + _NUMBER)
        yield (page.number - before.number & 0xFFFFFFFF).to_bytes(4, "little")
        yield Span(page.start + _COUNT, page.end)
        start = page.end
    yield Span(start, source.size)


def _renumbered(source: Source, start: int, before: _Page, more: int) -> Iterator[Piece]:
    """Yield what follows the header pages, with the pages of the stream numbered on. Raises Unsafe if some are lost."""
    last = None
    for last in _audio_pages(source, start, before):
        raw = bytearray(source.read(last.start, last.end - last.start))
        raw[_NUMBER:_COUNT] = (last.number + more & 0xFFFFFFFF).to_bytes(4, "little") + b"\0" * 4
        yield bytes(raw[:_CHECKSUM]) + _checksum(bytes(raw))
        yield Span(last.start + _COUNT, last.end)
        start = last.end
    if last is None or not last.flags & _LAST:
        raise Unsafe("its comments need one page more, and the pages of its audio cannot all be numbered anew")
    yield Span(start, source.size)


_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _checksum(content: bytes) -> bytes:
    """Return the checksum of a page (RFC 3533 section 6): CRC-32 of 0x04c11db7, neither reflected nor inverted."""
    reflected = ~zlib.crc32(content.translate(_MIRRORED), 0xFFFFFFFF) & 0xFFFFFFFF
    return reflected.to_bytes(4, "big").translate(_MIRRORED)


def _read(source: Source, codec: _Codec) -> Mapping[str, str]:
    return vorbis.values(_comments(_header_pages(source, codec)[1], codec))


def _format(name: str, suffixes: tuple[str, ...], codec: _Codec) -> Format:
    limitations = (f"{name}: {vorbis.NO_XMP}.", f"{name}: c2pa-python does not sign it.")
    recognise, plan, read = partial(_recognise, codec=codec), partial(_plan, codec=codec), partial(_read, codec=codec)
    return Format(name, suffixes, recognise, plan, read, limitations)


FORMATS = (_format("Ogg Vorbis", (".ogg", ".oga"), _VORBIS), _format("Opus", (".opus",), _OPUS))
