"""ID3v2 tags (2.2, 2.3, 2.4), frame by frame: the frames of others are kept byte for byte, whatever is in them.

A tag is never written anew from what a library understands of it: that would drop frames that it does not know, and
unpack frames that a stranger has compressed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from noai_guard.tagging import xmp
from noai_guard.tagging.fields import NOTHING, OWN, PAGE, Fields, Kind, merge
from noai_guard.tagging.source import Source, Unsafe

HEADER_SIZE = 10
ID3V1_SIZE = 128
_NEW_VERSION = 3
"""ID3v2.3: what every player reads."""
_PADDING = 1024
_UNSYNCHRONISED, _EXTENDED, _FOOTER = 0x80, 0x40, 0x10
_NAMES = {2: ("TXX", "WCP", ""), 3: ("TXXX", "WCOP", "PRIV"), 4: ("TXXX", "WCOP", "PRIV")}
_C2PA = (b"application/c2pa", b"application/x-c2pa-manifest-store")
"""Media types of Content Credentials: what c2pa-rs writes, and what C2PA 2.1 says."""
_PACKED = {3: 0xE0, 4: 0x4C}
"""Flags of frames that are compressed, encrypted or grouped."""
_MAX_TEXT = 64 * 1024
"""Bytes of a free text. mutagen unpacks and splits these, and takes an hour for some of a megabyte (1.48)."""
_MAX_FRAMES = 10_000
_XMP_OWNER = b"XMP\0"
_FRAME_NAME = re.compile(rb"[A-Z0-9 ]{3}[A-Z0-9 \0]?")
"""iTunes writes names of ID3v2.2, and a zero, into tags of ID3v2.3."""
_ENCODINGS = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag of `size` bytes, header and padding included; `frames` are raw, with their headers."""

    version: int
    unsynchronised: bool
    frames: tuple[bytes, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Change:
    """The new tag as bytes (empty for none), the frames of others, our values before, and notes.

    `unchanged`: the old tag says it all, so it stays as it is.
    """

    tag: bytes
    foreign: Sequence[bytes]
    was: Mapping[str, str]
    notes: Sequence[str]
    unchanged: bool


def end_of(source: Source) -> int:
    """Return where the tag at the beginning of a file ends, as its header says; 0 if there is none."""
    header = source.read(0, HEADER_SIZE) if source.size >= HEADER_SIZE else b""
    if header[:3] != b"ID3":
        return 0
    size = HEADER_SIZE + _synchsafe(bytes(byte & 0x7F for byte in header[6:]))
    return size + HEADER_SIZE if header[5] & _FOOTER else size


def read(source: Source, start: int, limit: int | None = None) -> Tag | None:
    """Return the tag at a position, of at most `limit` bytes; None if there is none. Raises Unsafe."""
    limit = source.size - start if limit is None else limit
    if limit < HEADER_SIZE:
        return None
    header = source.read(start, HEADER_SIZE)
    if header[:3] != b"ID3":
        return None
    version, flags = header[3], header[5]
    if version not in _NAMES or header[4] == 0xFF or any(byte & 0x80 for byte in header[6:]):
        raise Unsafe("its ID3 header cannot be read")
    if flags & (_EXTENDED | _FOOTER):
        raise Unsafe("its ID3 tag has an extended header or a footer")
    size = _synchsafe(header[6:]) + HEADER_SIZE
    if size > limit:
        raise Unsafe("its ID3 tag ends after the end of the file")
    body = source.read(start + HEADER_SIZE, size - HEADER_SIZE)
    unsynchronised = bool(flags & _UNSYNCHRONISED)
    if unsynchronised and version < 4:
        body = body.replace(b"\xff\x00", b"\xff")
    frames = _frames(body, version, synchsafe=True)
    if frames is None and version == 4:
        frames = _frames(body, version, synchsafe=False)
    if frames is None:
        raise Unsafe("the frames of its ID3 tag cannot be told apart")
    tag = Tag(version, unsynchronised, tuple(frames), size)
    texts = [frame for frame in frames if frame.startswith(b"TXX")]
    if any(len(frame) > _MAX_TEXT or _is_packed(frame, tag) for frame in texts):
        raise Unsafe("its ID3 tag has free texts (TXXX) that are compressed or longer than 64 KiB")
    return tag


def change(tag: Tag | None, fields: Fields, id3v1: bytes = b"", fixed_size: bool = True) -> Change:
    """Return a tag with the fields. With `fixed_size`, its size stays that of the old one wherever that suffices.

    Where there was none, what an ID3v1 tag says is repeated: many players look at ID3v1 only if there is no ID3v2.
    """
    old = tag or Tag(_NEW_VERSION, False, _from_id3v1(id3v1), 0)
    names = _NAMES[old.version]
    packets = [frame for frame in old.frames if _is_xmp(frame, old)]
    others = [frame for frame in old.frames if not _is_xmp(frame, old)]
    merged = merge(others, _kind(old), fields)
    content = _body(packets[0], old)[len(_XMP_OWNER) :] if packets else None
    packet = xmp.merge(content, fields)
    notes = list(merged.notes) + ([packet.note] if packet.note else [])
    foreign = [*merged.foreign, packet.foreign, *packets[1:]]
    frames = [*merged.items]
    if packet.packet is not None and packet.packet == content:
        frames.append(packets[0])
    elif packet.packet is not None and names[2]:
        frames.append(_frame(names[2], _XMP_OWNER + packet.packet, old.version))
    elif fields.mining and not names[2]:
        notes.append("ID3v2.2 has no frame for XMP, so plus:DataMining is missing")
    frames += packets[1:]
    unchanged = tag is not None and sorted(frames) == sorted(old.frames)
    if tag is None and fields == NOTHING:
        frames, unchanged = [], True
    new = _bytes(old, frames, fixed_size) if frames and not unchanged else b""
    return Change(new, foreign, merged.was, notes, unchanged)


def values(tag: Tag | None) -> dict[str, str]:
    """Return our values in a tag, and the value of plus:DataMining as `plus:DataMining`."""
    if tag is None:
        return {}
    found = dict(merge(tag.frames, _kind(tag), Fields()).was)
    for frame in tag.frames:
        if _is_xmp(frame, tag) and (mining := xmp.mining(_body(frame, tag))):
            found.setdefault(xmp.PROPERTY, mining)
    return found


def is_c2pa(frame: bytes) -> bool:
    """Return True if a frame holds Content Credentials."""
    return frame.startswith(b"GEOB") and any(media_type in frame[:100] for media_type in _C2PA)


def has_packed_frames(tag: Tag) -> bool:
    """Return True if some frame is compressed, encrypted or grouped."""
    return any(_is_packed(frame, tag) for frame in tag.frames)


def _is_packed(frame: bytes, tag: Tag) -> bool:
    return tag.version > 2 and bool(frame[9] & _PACKED[tag.version])


def _frames(body: bytes, version: int, synchsafe: bool) -> list[bytes] | None:
    """Return the frames of a tag; None if they do not fill it up to its padding."""
    found: list[bytes] = []
    position = 0
    name_size, header_size = (3, 6) if version == 2 else (4, 10)
    while position < len(body):
        if len(found) == _MAX_FRAMES:
            raise Unsafe("its ID3 tag has too many frames")
        if body[position] == 0:
            return found if not body[position:].strip(b"\0") else None
        header = body[position : position + header_size]
        if len(header) < header_size or not _FRAME_NAME.fullmatch(header[:name_size]):
            return None
        digits = header[name_size : name_size + (3 if version == 2 else 4)]
        if version == 4 and synchsafe:
            if any(byte & 0x80 for byte in digits):
                return None
            size = _synchsafe(digits)
        else:
            size = int.from_bytes(digits, "big")
        end = position + header_size + size
        if end > len(body):
            return None
        found.append(body[position:end])
        position = end
    return found


def _body(frame: bytes, tag: Tag) -> bytes:
    """Return the content of a frame; empty if it is compressed, encrypted or grouped, as none of ours is."""
    if tag.version == 2:
        return frame[6:]
    flags, body = frame[9], frame[10:]
    if _is_packed(frame, tag):
        return b""
    if tag.version == 3:
        return body
    body = body[4:] if flags & 0x01 else body
    return body.replace(b"\xff\x00", b"\xff") if flags & 0x02 or tag.unsynchronised else body


def _is_xmp(frame: bytes, tag: Tag) -> bool:
    return frame.startswith(b"PRIV") and _body(frame, tag).startswith(_XMP_OWNER)


def _kind(tag: Tag) -> Kind:
    text, page, _ = _NAMES[tag.version]

    def read_frame(frame: bytes) -> tuple[str, str] | None:
        body = _body(frame, tag)
        if frame.startswith(page.encode()):
            return "WCOP", body.partition(b"\0")[0].decode("latin-1")
        if not frame.startswith(text.encode()) or not body or body[0] not in _ENCODINGS:
            return None
        try:
            name, _, value = _decoded(body).partition("\0")
        except UnicodeDecodeError:
            return None
        name = name.upper()
        return (name, value.removeprefix("\ufeff").rstrip("\0")) if name in OWN else None

    def write_frame(name: str, value: str) -> bytes:
        if name == "WCOP":
            return _frame(page, value.encode("latin-1", "replace"), tag.version)
        return _frame(text, _text(name, value, tag.version), tag.version)

    return Kind({"WCOP": PAGE}, read_frame, write_frame)


def _decoded(body: bytes) -> str:
    return body[1:].decode(_ENCODINGS[body[0]])


def _text(name: str, value: str, version: int) -> bytes:
    """Return the content of a TXXX frame. In ID3v2.4 it has no byte 0xFF, which would need unsynchronisation."""
    if (name + value).isascii():
        return b"\0" + f"{name}\0{value}".encode("ascii")
    if version == 4:
        return b"\3" + f"{name}\0{value}".encode()
    bom = b"\xff\xfe"
    return b"\1" + bom + f"{name}\0".encode("utf-16-le") + bom + value.encode("utf-16-le")


def _frame(name: str, body: bytes, version: int) -> bytes:
    if version == 2:
        return name.encode("ascii") + len(body).to_bytes(3, "big") + body
    size = _as_synchsafe(len(body)) if version == 4 else len(body).to_bytes(4, "big")
    return name.encode("ascii") + size + b"\0\0" + body


def _bytes(old: Tag, frames: Sequence[bytes], fixed_size: bool) -> bytes:
    body = b"".join(frames)
    flags = _UNSYNCHRONISED if old.unsynchronised else 0
    if old.unsynchronised and old.version < 4:
        body = re.sub(rb"\xff(?=[\xe0-\xff\x00]|\Z)", b"\xff\x00", body)
    available = old.size - HEADER_SIZE
    if len(body) > available or not fixed_size:
        available = len(body) + (_PADDING if fixed_size else 0)
    if available >= 1 << 28:
        raise Unsafe("its ID3 tag would be larger than ID3 allows")
    header = b"ID3" + bytes([old.version, 0, flags]) + _as_synchsafe(available)
    return header + body.ljust(available, b"\0")


def _from_id3v1(tag: bytes) -> tuple[bytes, ...]:
    if len(tag) != ID3V1_SIZE or tag[:3] != b"TAG":
        return ()
    places = {"TIT2": tag[3:33], "TPE1": tag[33:63], "TALB": tag[63:93], "TYER": tag[93:97]}
    is_numbered = tag[125] == 0 and tag[126]
    places["COMM"] = tag[97:125] if is_numbered else tag[97:127]
    if is_numbered:
        places["TRCK"] = str(tag[126]).encode()
    if tag[127] != 0xFF:
        places["TCON"] = f"({tag[127]})".encode()
    texts = {name: text.partition(b"\0")[0].rstrip() for name, text in places.items()}
    heads = {"COMM": b"\0XXX\0"}  # encoding, language and description
    return tuple(_frame(name, heads.get(name, b"\0") + text, _NEW_VERSION) for name, text in texts.items() if text)


def _synchsafe(digits: bytes) -> int:
    size = 0
    for byte in digits:
        size = size << 7 | byte
    return size


def _as_synchsafe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
