"""What stands in a catalogue of works, record by record: a line for each work and creator, a column for each usage."""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from operator import itemgetter
from typing import Any
from urllib.parse import unquote

from noai_guard.config.catalogue_cells import choice_in, day_in, shown, text_in
from noai_guard.config.catalogue_parts import (
    ByteStream,
    Records,
    first_line,
    parts_in,
    records_of,
)
from noai_guard.core.isrc import isrc
from noai_guard.core.model import Usage
from noai_guard.core.paths import normal_path
from noai_guard.core.text import CONTROL_CHARACTERS, did_you_mean, printable, truncated
from noai_guard.core.wish_index import choices_of, number_of, stricter
from noai_guard.core.wishes import ALL_WORKS, WISHED_USAGES, Choice, Wish, WorkWishes, in_force
from noai_guard.core.works import MAX_NAME, Works
from noai_guard.errors import Problem, WishesInvalid

MAX_WORKS = 5_000_000
"""Lines of the longest catalogue."""

MAX_NAMED = 3
"""Names that no path has, of which a warning each is given."""

MAX_GENERAL = 100_000
"""Creators who say something of all their works at once."""

_MAX_PROBLEMS = 200
_MAX_CHOICES = 10_000
_MAX_HEADER = 1024 * 1024
_ENCODED = re.compile("%[0-9A-Fa-f]{2}")
_ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+)?E\+[0-9]+")
_BLANK = b" ,;\t\r\n"
_MAX_BLANK_LINES = 100
_NAMING = ("work", "path", "isrc")
_ABOUT = ("creator", "title", "since", "set_by", "set_at")
COLUMNS = (*_NAMING, *_ABOUT[:2], *WISHED_USAGES, *_ABOUT[2:])
"""The columns of a catalogue. One of the first three is needed, and one of a usage."""


class CatalogueReader:
    """Reads a file part by part. `header` and `lines_of_header` are the bytes and lines before the first work.

    `is_open`: a quotation mark was open where a part that was read by itself ended. `met_general`: the part that was
    read last has a line about all works of a creator. What such lines say counts for the works in the file that have
    the creator, where their own lines leave a usage unset; so they are read first, by `read_general`.
    """

    def __init__(self, file: str, works: Works, day: date) -> None:
        self.day = day
        self.header = b""
        self.lines_of_header = 0
        self.is_open = False
        self.met_general = False
        self.warnings: list[Problem] = []
        self.unmatched = 0
        self._file = file
        self._works = works
        self._problems: list[Problem] = []
        self._columns: dict[str, int] = {}
        self._choices: dict[tuple[str, ...], Mapping[Usage, Choice]] = {}
        self._general: dict[str, Mapping[Usage, Choice]] = {}
        self._with_general: dict[tuple[tuple[str, ...], int], Mapping[Usage, Choice]] = {}
        self._without_works: dict[str, int] = {}
        self._delimiter = ","
        self._width = 0
        self._count = 0
        self._usages: tuple[Usage, ...] = ()
        self._dated: tuple[str, ...] = ()
        self._cells_of: Callable[[Sequence[str]], tuple[str, ...]]

    def read(self, stream: ByteStream) -> Iterator[tuple[bytes, Records, list[Any]]]:
        """Yield each part of a whole file: its bytes, its records, and what is made of them.

        Raises WishesInvalid at the end, with every mistake.
        """
        try:
            waiting = self._read_first_lines(stream)
            line = self.lines_of_header
            for raw, records in () if self._problems else parts_in(stream, self._delimiter, waiting):
                yield raw, records, self._read_records(records, line)
                line += records.count
                if self._count > MAX_WORKS:
                    self._problem("P008", f"more than {MAX_WORKS:,} works", "put them into a database", line)
                    break
        except _TooMany:
            self._problems.append(Problem("P023", "there are more problems than these", "mend these first", self._file))
        self.raise_problems()

    def read_general(self, stream: ByteStream) -> None:
        """Read only what lines say of all works of a creator. Mistakes are left to `read`."""
        other = CatalogueReader(self._file, self._works, self.day)
        with suppress(_TooMany):
            waiting = other._read_first_lines(stream)
            if other._problems or not other._columns.keys() >= {"work", "creator"}:
                return
            line, number = other.lines_of_header, other._columns["work"]
            for _, records in parts_in(stream, other._delimiter, waiting):
                for row, end in zip(records.rows, records.lines, strict=False):
                    if len(row) > number and row[number].strip() == ALL_WORKS:
                        self._add_general(other, row, line + end)
                line += records.count

    def _add_general(self, other: "CatalogueReader", row: Sequence[str], line: int) -> None:
        row = [*row, *[""] * other._width]
        creator = text_in(row[other._columns["creator"]])
        cells = other._cells_of(row)
        said, before = other._choices.get(cells) or other._read_choices(cells, line), self._general.get(creator)
        if before is not None:
            said = choices_of(stricter(number_of(before), number_of(said)))
        if creator and len(self._general) <= MAX_GENERAL:
            self._general[creator] = said
            self._without_works[creator] = line

    def read_stretch(self, raw: bytes, line: int, *, is_last: bool) -> Iterator[tuple[bytes, Records, list[Any]]]:
        """Yield the same for bytes that begin behind a line of a file whose header was read."""
        try:
            for part, records in parts_in(io.BytesIO(raw), self._delimiter):
                self.is_open = self.is_open or bool(records.error) or not (records.ended or is_last)
                yield part, records, self._read_records(records, line)
                line += records.count
        except _TooMany:
            self._problems.append(Problem("P023", "there are more problems than these", "mend these first", self._file))

    def raise_problems(self) -> None:
        """Raise WishesInvalid with every mistake so far, if there is one."""
        if self._problems:
            raise WishesInvalid(self._problems)

    def note_general(self) -> None:
        """Note, when all has been read, for whose works nothing comes of what is said of all of them."""
        for creator, line in self._without_works.items():
            message = f"no line names a work of {shown(creator)}, so that for {ALL_WORKS} has no effect"
            self._note(message, "add the works of the creator", line)

    def forget_problems(self) -> None:
        """Begin anew with other parts of the same file."""
        self._problems, self.is_open = [], False

    def _read_first_lines(self, stream: ByteStream) -> bytes:
        """Read the header, and return what was read of the file behind it."""
        first, waiting = first_line(stream, b"")
        if first.lower().startswith(b"sep="):  # Excel's own way to name the separator
            self.header, self.lines_of_header = first, 1
            first, waiting = first_line(stream, waiting)
        while first and not first.strip(_BLANK) and self.lines_of_header < _MAX_BLANK_LINES:
            self.header, self.lines_of_header = self.header + first, self.lines_of_header + 1
            first, waiting = first_line(stream, waiting)
        self._delimiter = _delimiter(first.decode("utf-8", "replace"))
        while not (records := records_of(first, self._delimiter)).ended and len(first) < _MAX_HEADER:
            more, waiting = first_line(stream, waiting)
            if not more:
                break
            first += more
        self.header += first
        self._cannot_read(records, self.lines_of_header)
        if not self._problems:
            self._read_header(records.rows[0] if records.rows else [])
        self.lines_of_header += records.count
        return waiting

    def _cannot_read(self, records: Records, before: int) -> None:
        """Note why records behind a line of the file cannot be read, with the line on which the first such begins."""
        hint = "save it again as CSV; a quotation mark may be missing"
        if records.error:
            line = before + (records.lines[-1] if records.rows else 0) + 1
            self._problem("W006", f"cannot be read: {records.error}", hint, line)
        elif not records.ended:
            line = before + (records.lines[-2] if len(records.rows) > 1 else 0) + 1
            self._problem("W006", "a quotation mark is open to the end of the file", hint, line)

    def _read_header(self, header: Sequence[str]) -> None:
        known = {_key(column): column for column in COLUMNS}
        line = self.lines_of_header + 1
        self._width = len(header)
        for number, cell in enumerate(header):
            name = cell.strip()
            if not name or name.startswith("#"):
                continue
            column = known.get(_key(name))
            if column is None:
                hint = (
                    did_you_mean(_key(name), known)
                    or f"write #{printable(truncated(name, 60))} if it is only for people"
                )
                self._problem("W001", f"unknown column {shown(name)}", hint, line)
            elif column in self._columns:
                self._problem("W001", f"the column {column} is there twice", "take one away", line)
            else:
                self._columns[column] = number
        if not self._columns and any(header):
            self._problems.clear()
            message = f"the first line names no column of a catalogue: {shown(', '.join(filter(None, header)))}"
            hint = "take away what stands above the names of the columns, such as work,train-ai; save it as CSV"
            self._problem("W001", message, hint, line)
        if not self._problems and self._columns.keys().isdisjoint(_NAMING):
            self._problem("W001", "no column says which work a line is about", "add a column work, path or isrc", line)
        self._usages = tuple(usage for usage in WISHED_USAGES if usage in self._columns)
        self._dated = tuple(name for name in ("since", "set_at") if name in self._columns)
        if not self._problems and not self._usages:
            self._problem("W001", "no column is a usage", f"add a column such as {Usage.TRAIN_AI}", line)
        if not self._problems:
            self._cells_of = _picking([self._columns[name] for name in (*self._usages, *self._dated)])

    def _read_records(self, records: Records, before: int) -> list[Any]:
        """Return what is made of the records behind a line of the file."""
        columns, known, width = self._columns, self._choices, self._width
        cells_of = self._cells_of
        general, creators = self._general, columns.get("creator", -1)
        self.met_general = False
        plain = columns.get("work", -1) if "path" not in columns else -1
        codes = columns.get("isrc", -1)
        cuts_names, endings = self._works.cuts_names, self._works.endings
        last_characters = frozenset(ending[-1] for ending in endings)
        made: list[Any] = []
        for row, number in zip(records.rows, records.lines, strict=False):
            line = before + number
            if len(row) != width:
                if not any(map(str.strip, row)):
                    continue
                if len(row) > width and any(map(str.strip, row[width:])):
                    message = f"{len(row)} cells, and {width} columns"
                    self._problem("W006", message, "put text with a separator in quotation marks", line)
                    continue
                row = (row + [""] * width)[:width]
            cells = cells_of(row)
            choices = known.get(cells)
            if choices is None:
                choices = self._read_choices(cells, line)
            code = row[codes] if codes >= 0 else ""
            if code:
                read = isrc(code)
                if read is None and code.strip():
                    message = f"{shown(code)} is no ISRC"
                    self._problem("W003", message, "write it as in DE-A12-34-56789, or leave it out", line)
                code = read or code.strip()
            name = row[plain] if plain >= 0 else ""
            # Most lines of a long catalogue name their work plainly.
            if (
                not name or len(name) > MAX_NAME or "/" in name or name[0] <= ALL_WORKS or name[-1] == " "
                or not name.isprintable()
            ):  # fmt: skip
                if not any(map(str.strip, row)):
                    continue
                name = self._work(row, code, line)
                if name == ALL_WORKS and not self._is_work(row, line):
                    continue
            if general and (creator := text_in(row[creators])) in general:
                choices = self._merged(cells, choices, creator)
            ends_oddly = name[-1:] in last_characters and name.endswith(endings)
            if cuts_names or ends_oddly or name[:1] == "." or "%" in name or "E+" in name:
                self._note_unmatched(name, line)
            made.append(self._made(row, line, WorkWishes(name, choices, isrc=code)))
        self._cannot_read(records, before)
        self._count += len(made)
        return made

    def _note_unmatched(self, name: str, line: int) -> None:
        """Note a name that no path has."""
        ending = next(filter(name.endswith, self._works.endings), "")
        if _ROUNDED.fullmatch(name):
            hint = "give the column the format Text, and write it again"
            self._note(f"{shown(name)} is a long number that a spreadsheet has rounded", hint, line)
            return
        if _ENCODED.search(name):
            hint = "write the name decoded, as paths are compared"
        elif ending and name != ending:
            message = f"{shown(name)} ends with what stands behind the name in a pattern under works:"
            self._note(message, f"write {shown(name.removesuffix(ending))}, unless it is {shown(name + ending)}", line)
            return
        elif name and not self._works.can_name(name):
            hint = "no pattern under works: finds it in a path; name the work as it stands in its address"
        else:
            return
        self._note(f"no path has the name {shown(name)}, so the line has no effect", hint, line)

    def _note(self, message: str, hint: str, line: int) -> None:
        self.unmatched += 1
        if self.unmatched <= MAX_NAMED:
            self.warnings.append(Problem("W009", message, hint, self._file, line, warning=True))

    def _is_work(self, row: Sequence[str], line: int) -> bool:
        """Return True if a line about all works of a creator becomes one of its own. For subclasses."""
        self.met_general = True
        if "creator" not in self._columns or not text_in(row[self._columns["creator"]]):
            message = f"{ALL_WORKS} stands for all works of a creator, and the line names none"
            self._problem("W007", message, "fill in creator", line)
        elif len(self._general) > MAX_GENERAL:
            message = f"more than {MAX_GENERAL:,} creators say something of all their works"
            self._problem("P008", message, "put them into a database", line)
        return False

    def _merged(self, cells: tuple[str, ...], choices: Mapping[Usage, Choice], creator: str) -> Mapping[Usage, Choice]:
        """Return the choices of a line, and where it has none, those for all works of the creator."""
        self._without_works.pop(creator, None)
        general = self._general[creator]
        key = cells, id(general)
        merged = self._with_general.get(key)
        if merged is None:
            merged = {**general, **choices}
            if len(self._with_general) < _MAX_CHOICES:
                self._with_general[key] = merged
        return merged

    def _made(self, row: Sequence[str], line: int, wishes: WorkWishes) -> Any:
        """Return what is yielded for a line. For subclasses."""
        return wishes

    def _read_choices(self, cells: tuple[str, ...], line: int) -> Mapping[Usage, Choice]:
        """Return the choices in force on the day: what loosens holds from `since` on."""
        mistakes = len(self._problems)
        choices: dict[Usage, Choice] = {}
        for usage, cell in zip(self._usages, cells, strict=False):
            choice = choice_in(cell)
            if choice is None:
                message = f"{usage} says {shown(cell)}"
                self._problem("W002", message, "write allow, disallow or unset", line)
            elif choice is not Choice.UNSET:
                choices[usage] = choice
        dates = cells[len(self._usages) :]
        days = {name: self._day_of(name, cell, line) for name, cell in zip(self._dated, dates, strict=True)}
        if since := days.get("since"):
            choices = in_force((Wish("", usage, choice, since=since) for usage, choice in choices.items()), self.day)
        if len(self._choices) < _MAX_CHOICES and len(self._problems) == mistakes:
            self._choices[cells] = choices
        return choices

    def _day_of(self, column: str, cell: str, line: int) -> date | None:
        try:
            return day_in(cell)
        except ValueError:
            hint = "write it as 2027-01-31; in a spreadsheet, give the column the format Text"
            self._problem("W005", f"{column} is {shown(cell)}, which is no date", hint, line)
            return None

    def _work(self, row: Sequence[str], code: str, line: int) -> str:
        """Return the name of the work that a line is about, and an empty one if there is a mistake."""
        columns = self._columns
        name = text_in(row[columns["work"]]) if "work" in columns else ""
        path = row[columns["path"]].strip() if "path" in columns else ""
        hint = "name the work as it stands in its address, or write its path"
        if len(name) > MAX_NAME or "/" in name or CONTROL_CHARACTERS.search(name):
            self._problem("W004", f"{shown(name)} is no name of a work", hint, line)
        elif path:
            if "://" in path:
                path = re.split("[?#]", path, maxsplit=1)[0]
            of_path = self._works.work_of(normal_path(unquote(path)))
            if not of_path:
                message = f"no pattern under works: holds for the path {shown(path)}"
                self._problem("W004", message, "correct the path, or add a pattern", line)
            elif name and name != of_path:
                message = f"the path {shown(path)} is of the work {shown(of_path)}, not {shown(name)}"
                self._problem("W004", message, "leave one of the two out", line)
            return of_path
        elif not name and not code:
            self._problem("W004", "the line does not say which work it is about", "fill in work, path or isrc", line)
        return name or code

    def _problem(self, code: str, message: str, hint: str, line: int) -> None:
        if len(self._problems) == _MAX_PROBLEMS:
            raise _TooMany
        self._problems.append(Problem(code, message, hint, self._file, line))


class _TooMany(Exception):
    """Raised when more mistakes were found than are listed."""


def _picking(numbers: Sequence[int]) -> Callable[[Sequence[str]], tuple[str, ...]]:
    """Return a function from a row to its cells in some columns."""
    if len(numbers) == 1:
        only = numbers[0]
        return lambda row: (row[only],)
    return itemgetter(*numbers)


def _delimiter(header: str) -> str:
    """Return what stands between the cells of the first line."""
    return max(",;\t", key=header.count)


def _key(column: str) -> str:
    return column.strip().lower().replace("_", "-").replace(" ", "-")
