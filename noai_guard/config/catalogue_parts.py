"""A long catalogue in parts that end where a record ends, so that of a changed file only what changed is read again.

A part is known again by its digest, wherever it stands in the file now. What it says is kept in 8 bytes for each line,
and the names of its works.
"""

import csv
import io
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Protocol

from noai_guard.core.wish_index import entries_of, entry_key, entry_number
from noai_guard.core.wishes import WorkWishes

PART_BYTES = 64 * 1024
MAX_LINE = 16 * 1024 * 1024
"""Bytes of the longest line that is read."""

_LINE_BLOCK = 1024 * 1024
_LINE = re.compile(rb"[^\r\n]*(?:\r\n?|\n)?")
_HEAD_BYTES = 256
_LOOK_AHEAD = 64
_WINDOW = 8 * 1024 * 1024
_MAX_CHANGED_BYTES = 4 * 1024 * 1024
"""Bytes of new text that are read alone, about 50,000 lines; of more, the whole file is read."""

_END = "\0end of a part\0"
_BETWEEN = "\n"


class ByteStream(Protocol):
    """What gives bytes: a file, or one that is converted while it is read."""

    def read(self, size: int = -1, /) -> bytes: ...

    def readline(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Records:
    """The records of some bytes, and the lines (from 1) on which they end. `ended`: the last one does end there.

    `error` says why no more can be read.
    """

    rows: list[list[str]]
    lines: Sequence[int]
    count: int
    ended: bool
    error: str = ""


def records_of(raw: bytes, delimiter: str) -> Records:
    """Return the records in UTF-8 text that begins where one begins."""
    text = io.StringIO(raw.decode("utf-8", "replace"), newline="")
    given = chain(text, [_END])
    # Strict: text behind a closing quotation mark shows that one is missing before, and that lines were swallowed.
    reader = csv.reader(given, delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    try:
        rows.extend(reader)
    except csv.Error as error:
        if next(given, None) is not None:
            return Records(rows, _lines(raw, delimiter, rows), reader.line_num, True, str(error))
        # A quotation mark is open.
        text.seek(0)
        rows = list(reader := csv.reader(text, delimiter=delimiter))
        return Records(rows, _lines(raw, delimiter, rows), reader.line_num, False)
    rows.pop()
    lines = reader.line_num - 1
    return Records(rows, range(1, lines + 1) if len(rows) == lines else _lines(raw, delimiter, rows), lines, True)


def _lines(raw: bytes, delimiter: str, rows: Sequence[object]) -> list[int]:
    reader = csv.reader(io.StringIO(raw.decode("utf-8", "replace"), newline=""), delimiter=delimiter)
    return [reader.line_num for _ in zip(rows, reader, strict=False)]


def parts_in(stream: ByteStream, delimiter: str, waiting: bytes = b"") -> Iterator[tuple[bytes, Records]]:
    """Yield what follows in a stream, behind what is `waiting`, in parts that end where a record ends.

    The last record may have no end: then its part is not `ended`.
    """
    wanted = PART_BYTES
    while True:
        block = stream.read(wanted)
        waiting += block
        end = _line_end(waiting) if block else len(waiting)
        if not end and len(waiting) <= MAX_LINE and block:
            continue
        if not waiting:
            return
        raw = waiting[: end or len(waiting)]
        records = records_of(raw, delimiter)
        if not records.ended and block and len(waiting) <= MAX_LINE:
            wanted = len(waiting)  # twice as much is tried, so that a long record takes no more than a few attempts
            continue
        yield raw, records
        if records.error or not block:
            return
        waiting, wanted = waiting[len(raw) :], PART_BYTES


def first_line(stream: ByteStream, waiting: bytes) -> tuple[bytes, bytes]:
    """Return the next line of a stream, with its end, and what was read behind it."""
    read = waiting or stream.readline(_LINE_BLOCK)
    match = _LINE.match(read)
    assert match is not None  # it matches nothing too
    return match[0], read[match.end() :]


def _line_end(raw: bytes) -> int:
    """Return where the last complete line ends; that of old Macs too, if there is no other."""
    return raw.rfind(b"\n") + 1 or raw.rfind(b"\r", 0, -1) + 1


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What is kept of a part: `lines` of the file, an entry for each work, and the names of the works.

    Only if it `is_closed`, its last record ends there whatever stands behind it. `is_general`: it says something of all
    works of a creator, wherever they are.
    """

    size: int
    digest: bytes
    head: bytes
    lines: int
    is_closed: bool
    is_general: bool
    entries: "array[int]"
    names: bytes

    @classmethod
    def of(cls, raw: bytes, records: Records, works: Sequence[WorkWishes], *, is_general: bool) -> "Part":
        """Return what is to be kept of a part."""
        names = _BETWEEN.join([work.work for work in works]).encode("utf-8", "surrogatepass")
        head = raw[: raw.find(b"\n") + 1 or len(raw)][:_HEAD_BYTES]
        is_closed = records.ended and raw.endswith((b"\n", b"\r"))
        return cls(len(raw), _digest(raw), head, records.count, is_closed, is_general, entries_of(works), names)

    def is_at(self, place: int, text: bytes) -> bool:
        """Return True if a text has this part at a place, and its last record ends there."""
        end = place + self.size
        if _digest(memoryview(text)[place:end]) != self.digest:
            return False
        return end == len(text) or (self.is_closed and (text[end - 1 : end + 1] != b"\r\n"))

    def named(self) -> dict[int, str] | None:
        """Return the name of each work by its key; None if that cannot be told."""
        names = self.names.decode("utf-8", "surrogatepass").split(_BETWEEN) if self.entries else []
        if len(names) != len(self.entries):
            return None
        return dict(zip(map(entry_key, self.entries), names, strict=True))


def _digest(raw: bytes | memoryview) -> bytes:
    return blake2b(raw, digest_size=16).digest()


Stretch = tuple[int, int, int, int]
"""Parts from one number to another, and the bytes, from one place to another, that stand in their place now."""


def changed_stretches(parts: Sequence[Part], text: bytes, place: int) -> list[Stretch] | None:
    """Return what of the parts is another text now, from a place on; None if that is too much to be read alone."""
    stretches: list[Stretch] = []
    number = changed = 0
    while number < len(parts) or place < len(text):
        if number < len(parts) and parts[number].is_at(place, text):
            place += parts[number].size
            number += 1
            continue
        next_number, next_place = _found_again(parts, number + 1, text, place)
        changed += next_place - place
        if changed > _MAX_CHANGED_BYTES:
            return None
        stretches.append((number, next_number, place, next_place))
        number, place = next_number, next_place
    return stretches


def _found_again(parts: Sequence[Part], first: int, text: bytes, place: int) -> tuple[int, int]:
    """Return the number of the next part that is in a text from a place on, and where; the ends of both if none is."""
    for number in range(first, min(first + _LOOK_AHEAD, len(parts))):
        part = parts[number]
        at = text.find(part.head, place, place + _WINDOW)
        if at >= 0 and (at == place or text[at - 1] == 0x0A) and part.is_at(at, text):
            return number, at
    return len(parts), len(text)


def changed_works(removed: Sequence[Part], added: Sequence[Part]) -> dict[int, str] | None:
    """Return the key and name of each work about which some parts say something else than those in whose place they
    are; None if a name cannot be told."""
    old, new = (Counter(chain.from_iterable(part.entries for part in parts)) for parts in (removed, added))
    keys = set(map(entry_key, (old - new) + (new - old)))
    works: dict[int, str] = {}
    for part in (*removed, *added):
        if keys.isdisjoint(map(entry_key, part.entries)):
            continue
        named = part.named()
        if named is None:
            return None
        works |= {key: name for key, name in named.items() if key in keys}
    return works


def numbers_of(parts: Sequence[Part], keys: frozenset[int]) -> dict[int, list[int]]:
    """Return the numbers of the choices in every line about some works, by key."""
    found: dict[int, list[int]] = {key: [] for key in keys}
    for part in parts:
        if not keys.isdisjoint(map(entry_key, part.entries)):
            for entry in part.entries:
                if entry_key(entry) in keys:
                    found[entry_key(entry)].append(entry_number(entry))
    return found
