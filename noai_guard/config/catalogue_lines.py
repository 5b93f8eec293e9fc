"""Everything that stands in a catalogue of works, line by line, for a database."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from noai_guard.config.catalogue_cells import choice_in, day_in, shown, text_in
from noai_guard.config.catalogue_reader import CatalogueReader
from noai_guard.core.model import Usage
from noai_guard.core.text import CONTROL_CHARACTERS
from noai_guard.core.wishes import Choice, WorkWishes
from noai_guard.core.works import MAX_NAME, Works


@dataclass(frozen=True, slots=True)
class CatalogueLine:
    """What one line says, with every choice in it: `since` is the day from which those that loosen hold."""

    work: str
    choices: Mapping[Usage, Choice]
    creator: str = ""
    title: str = ""
    isrc: str = ""
    set_by: str = ""
    since: date | None = None


class CatalogueLineReader(CatalogueReader):
    """Reads everything in a file, for a database."""

    def __init__(self, file: str, works: Works, creator: str) -> None:
        super().__init__(file, works, date.max)
        self._creator = creator

    def _is_work(self, row: Sequence[str], line: int) -> bool:
        return True

    def _made(self, row: Sequence[str], line: int, wishes: WorkWishes) -> CatalogueLine:
        facts = {name: self._fact(row, name, line) for name in ("creator", "title", "set_by")}
        facts["creator"] = facts["creator"] or self._creator
        if not facts["creator"]:
            self._problem("W007", "the line does not say whose work it is", "fill in creator, or use --creator", line)
        choices = {
            usage: choice_in(cell) or Choice.UNSET
            for usage in self._usages
            if (cell := text_in(row[self._columns[usage]])) and cell != "-"
        }
        since = None
        if "since" in self._columns:
            with suppress(ValueError):  # which was noted as a mistake
                since = day_in(row[self._columns["since"]])
        return CatalogueLine(wishes.work, choices, isrc=wishes.isrc, since=since, **facts)

    def _fact(self, row: Sequence[str], column: str, line: int) -> str:
        text = text_in(row[self._columns[column]]) if column in self._columns else ""
        if len(text) > MAX_NAME or CONTROL_CHARACTERS.search(text):
            message = f"{column} is {shown(text)}"
            self._problem("W008", message, f"write at most {MAX_NAME} characters, in one line", line)
        return text
