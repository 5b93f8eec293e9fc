"""MP3: an ID3v2 tag, then MPEG audio, then perhaps ID3v1, APEv2 or anything else, all of which stays as it is."""

from collections.abc import Mapping

from noai_guard.tagging import id3
from noai_guard.tagging.fields import Fields
from noai_guard.tagging.formats.format import Format, Plan
from noai_guard.tagging.source import Piece, Source, Span, Unsafe

_MAX_SEARCH = 64 * 1024
"""Bytes after the tag in which the first frame has to be."""
_BITRATES = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def _recognise(source: Source) -> bool:
    start = id3.end_of(source)
    return source.size > max(start, id3.HEADER_SIZE) and _has_audio(source, start)


def _has_audio(source: Source, start: int) -> bool:
    """Return True if frames of layer III follow each other near the beginning: two at once, or three after junk.

    One is enough if the file ends with it. Of 4,000 files of any other kind, one has two frames somewhere by chance.
    """
    if _follow_each_other(source, start, 2):
        return True
    searched = source.read(start, min(_MAX_SEARCH, source.size - start))
    position = searched.find(b"\xff", 1)
    while position >= 0:
        is_frame = bool(frame_length(searched[position : position + 4]))
        if is_frame and _follow_each_other(source, start + position, 3, to_end=False):
            return True
        position = searched.find(b"\xff", position + 1)
    return False


def _follow_each_other(source: Source, position: int, frames: int, to_end: bool = True) -> bool:
    """Return True if this many frames of one kind stand at a position; fewer, with `to_end`, if the file ends there."""
    kinds: set[tuple[int, int]] = set()
    for _ in range(frames):
        if position + 4 > source.size:
            return to_end and bool(kinds)
        header = source.read(position, 4)
        length = frame_length(header)
        kinds.add((header[1] & 0x1E, header[2] & 0x0C))  # version, layer and sample rate
        if not length or len(kinds) > 1:
            return False
        position += length
    return True


def frame_length(header: bytes) -> int:
    """Return the bytes of the frame of MPEG audio layer III that a header begins; 0 if it begins none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0 or header[1] >> 1 & 3 != 1:
        return 0
    version, bitrate_index, rate_index = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bitrate_index in (0, 15) or rate_index == 3:
        return 0
    bitrate = _BITRATES[1 if version == 3 else 2][bitrate_index] * 1000
    return (144 if version == 3 else 72) * bitrate // _RATES[version][rate_index] + (header[2] >> 1 & 1)


def _plan(source: Source, fields: Fields) -> Plan:
    tag = id3.read(source, 0)
    old_size = tag.size if tag else 0
    if not _has_audio(source, old_size):
        raise Unsafe("no MPEG audio follows its ID3 tag")
    id3v1 = source.read(source.size - id3.ID3V1_SIZE, id3.ID3V1_SIZE) if source.size >= id3.ID3V1_SIZE else b""
    changed = id3.change(tag, fields, id3v1)
    rest = Span(old_size, source.size)
    pieces: list[Piece] = [Span(0, old_size) if changed.unchanged else changed.tag, rest]
    items = [frame for frame in changed.foreign if not id3.is_c2pa(frame)]
    signed = len(items) < len(changed.foreign)
    return Plan(pieces, [rest], items, changed.was, changed.notes, signed)


def _read(source: Source) -> Mapping[str, str]:
    return id3.values(id3.read(source, 0))


FORMAT = Format("MP3", (".mp3",), _recognise, _plan, _read, c2pa_type="audio/mpeg")
