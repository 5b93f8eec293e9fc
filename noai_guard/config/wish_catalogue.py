"""A catalogue of works as a spreadsheet saves it (CSV): a line for each work and creator, a column for each usage."""

import codecs
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import BinaryIO

from noai_guard.config.catalogue_lines import CatalogueLine, CatalogueLineReader
from noai_guard.config.catalogue_parts import (
    ByteStream,
    Part,
    Stretch,
    changed_stretches,
    changed_works,
    numbers_of,
)
from noai_guard.config.catalogue_reader import MAX_WORKS, CatalogueReader
from noai_guard.config.regular_file import file_identity, open_regular_file
from noai_guard.core.wish_index import choices_of
from noai_guard.core.wishes import ALL_WORKS, WorkWishes
from noai_guard.core.works import Works
from noai_guard.errors import Problem, Unanswered

_BLOCK = 1024 * 1024
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8-sig"),
)  # fmt: skip


@dataclass(slots=True)
class _Known:
    """What a whole file said when it was read last, on a day."""

    version: Hashable
    header: bytes
    parts: list[Part]
    reader: "CatalogueReader"

    @property
    def names_works(self) -> bool:
        return any(part.entries for part in self.parts)


class WishCatalogue:
    """A source of wishes in a file, whose works are named as `works:` of the policy find them in paths.

    The file may be UTF-8, UTF-16 or Windows-1252, with commas, semicolons or tabs, as spreadsheets save it. Of a file
    that was read once, only what has changed is read again.
    """

    def __init__(self, file: str | Path, works: Works) -> None:
        self.file = str(file)
        self._works = works
        self._known: _Known | None = None

    def version(self) -> Hashable:
        """Return what differs once the file has been written or replaced. Raises OSError if there is none."""
        identity = file_identity(self.file)
        if not identity:
            open_regular_file(self.file).close()  # raises what is wrong with it
        return identity

    def read(self, day: date) -> Iterator[WorkWishes]:
        """Yield the wishes in force on a day. Raises WishesInvalid at the end, with every mistake, and OSError."""
        known = _Known(self.version(), b"", [], CatalogueReader(self.file, self._works, day))
        reader = known.reader
        if self._may_be_general():
            with self._bytes() as stream:
                reader.read_general(stream)
        with self._bytes() as stream:
            for raw, records, works in reader.read(stream):
                known.parts.append(Part.of(raw, records, works, is_general=reader.met_general))
                yield from works
        reader.note_general()
        known.header = known.reader.header
        self._keep(known)

    def _may_be_general(self) -> bool:
        """Return True if a line may be about all works of a creator."""
        with self._bytes() as stream:
            return any(ALL_WORKS.encode() in block for block in iter(lambda: stream.read(_BLOCK), b""))

    def _keep(self, known: _Known) -> None:
        """Keep what was read. Raises Unanswered if it cannot be what was meant."""
        if self.version() != known.version:
            raise Unanswered(f"{self.file} was written while it was read")
        if self._known is not None and self._known.names_works and not known.names_works:
            raise Unanswered(
                f"{self.file} names no work any more; if that is meant, leave one line without choices, or restart"
            )
        self._known = known

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is odd about the file as it was read as a whole last."""
        reader = self._known.reader if self._known else None
        if reader is None or not reader.warnings:
            return ()
        more = reader.unmatched - len(reader.warnings)
        message = f"{more:,} more names that no path has"
        rest = (Problem("W009", message, "mend those named first", self.file, warning=True),) if more > 0 else ()
        return (*reader.warnings, *rest)

    def lines(self, creator: str = "") -> list[CatalogueLine]:
        """Return what each line says. `creator` is whose works they are where a line names nobody.

        Raises WishesInvalid with every mistake, and OSError.
        """
        with self._bytes() as stream:
            reader = CatalogueLineReader(self.file, self._works, creator)
            return [line for _, _, lines in reader.read(stream) for line in lines]

    @contextmanager
    def _bytes(self) -> Iterator[ByteStream]:
        """Provide the file as UTF-8 without a byte order mark."""
        with open_regular_file(self.file) as opened:
            encoding = _encoding(opened)
            if encoding in ("utf-8", "utf-8-sig"):
                opened.seek(len(codecs.BOM_UTF8) if encoding == "utf-8-sig" else 0)
                yield opened
            else:
                yield codecs.EncodedFile(opened, "utf-8", encoding, "replace")

    def changes(self, since: Hashable, day: date) -> Iterable[WorkWishes] | None:
        """Return all wishes in force of the works about which the file says something else than at a version that was
        read, without choices if nothing is left. None if too much has changed to be read alone.

        Raises WishesInvalid with every mistake, and OSError.
        """
        known = self._known
        if known is None or known.version != since or known.reader.day != day:
            return None
        version = self.version()
        with self._bytes() as stream:
            text = stream.read()
        if not text.startswith(known.header):
            return None
        stretches = changed_stretches(known.parts, text, len(known.header))
        return None if stretches is None else self._read_stretches(known, version, text, stretches)

    def _read_stretches(
        self, known: _Known, version: Hashable, text: bytes, stretches: Sequence[Stretch]
    ) -> list[WorkWishes] | None:
        parts: list[Part] = []
        removed: list[Part] = []
        added: list[Part] = []
        known.reader.forget_problems()
        number, line = 0, known.reader.lines_of_header
        for first, end, start, stop in [*stretches, (len(known.parts), len(known.parts), 0, 0)]:
            parts += known.parts[number:first]
            line += sum(part.lines for part in known.parts[number:first])
            removed += known.parts[first:end]
            for raw, records, works in known.reader.read_stretch(text[start:stop], line, is_last=stop == len(text)):
                part = Part.of(raw, records, works, is_general=known.reader.met_general)
                parts.append(part)
                added.append(part)
                line += part.lines
            number = end
        changed = changed_works(removed, added)
        if any(part.is_general for part in (*removed, *added)):
            return None  # it may have changed for works in any part
        if known.reader.is_open or changed is None or sum(len(part.entries) for part in parts) > MAX_WORKS:
            return None  # reading all tells what is wrong, and where
        known.reader.raise_problems()
        numbers = numbers_of(parts, frozenset(changed))
        self._keep(_Known(version, known.header, parts, known.reader))
        return [
            WorkWishes(name, choices)
            for key, name in changed.items()
            for choices in (map(choices_of, numbers[key]) if numbers[key] else ({},))
        ]

    def close(self) -> None:
        """Do nothing: no file is kept open."""


def _encoding(opened: BinaryIO) -> str:
    """Return the encoding of a file: by its mark, else UTF-8 if it is that, else Windows-1252."""
    head = opened.read(4)
    opened.seek(0)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while block := opened.read(_BLOCK):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    finally:
        opened.seek(0)
    return "utf-8"
