"""Vorbis comments, entry by entry: those of others are kept byte for byte."""

from dataclasses import dataclass

from noai_guard.tagging.fields import OWN, OWNER, PAGE, Fields, Kind, merge
from noai_guard.tagging.source import Unsafe

_MIRRORS = {"LICENSE": PAGE, "COPYRIGHT": OWNER}


@dataclass(frozen=True, slots=True)
class Comments:
    """A comment header: the vendor with its length, the entries, and what follows them."""

    vendor: bytes
    entries: tuple[bytes, ...]
    rest: bytes = b""

    def __bytes__(self) -> bytes:
        entries = b"".join(len(entry).to_bytes(4, "little") + entry for entry in self.entries)
        return self.vendor + len(self.entries).to_bytes(4, "little") + entries + self.rest


def read(content: bytes) -> Comments:
    """Return the comments of a header without its mark. Raises Unsafe."""
    position = 0

    def take(length: int) -> bytes:
        nonlocal position
        taken = content[position : position + length]
        if len(taken) < length:
            raise Unsafe("its comments end too early")
        position += length
        return taken

    def number() -> int:
        return int.from_bytes(take(4), "little")

    vendor_size = number()
    vendor = vendor_size.to_bytes(4, "little") + take(vendor_size)
    count = number()
    if count * 4 > len(content):
        raise Unsafe("its comments end too early")
    entries = tuple(take(number()) for _ in range(count))
    return Comments(vendor, entries, content[position:])


def _read_entry(entry: bytes) -> tuple[str, str] | None:
    key, separator, value = entry.partition(b"=")
    name = key.decode("ascii", "replace").upper()
    if not separator or name not in (*OWN, *_MIRRORS):
        return None
    return name, value.decode("utf-8", "replace")


KIND = Kind(_MIRRORS, _read_entry, lambda name, value: f"{name}={value}".encode())

NO_XMP = "XMP has no place in it, so plus:DataMining is missing"


def values(comments: Comments) -> dict[str, str]:
    """Return our values in comments."""
    return dict(merge(comments.entries, KIND, Fields()).was)
