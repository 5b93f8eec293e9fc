"""What a cell of a catalogue says, as people and spreadsheets write it."""

import re
from datetime import date, datetime

from noai_guard.core.spreadsheet_cells import original_cell
from noai_guard.core.text import printable, truncated
from noai_guard.core.wishes import Choice

CHOICES = {
    **dict.fromkeys(("allow", "allowed", "yes", "y", "true", "1", "on"), Choice.ALLOW),
    **dict.fromkeys(("disallow", "disallowed", "deny", "denied", "no", "n", "false", "0", "off"), Choice.DISALLOW),
    **dict.fromkeys(("unset", "", "-"), Choice.UNSET),
}
"""The words for each choice, in lower case."""

# Zero-width characters and marks of direction, which come with text that is copied from mail and web pages.
_UNSEEN = "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"

# As spreadsheets write dates in countries where 1/2/2027 is not read in two ways, with the time if there is one.
_TIME = r"(?: \d{1,2}:\d\d(?::\d\d)?)?"
_DAY_FIRST = re.compile(rf"(\d{{1,2}})\.(\d{{1,2}})\.(\d{{4}}){_TIME}", re.ASCII)
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})\2(\d{{1,2}}){_TIME}", re.ASCII)


def text_in(cell: str) -> str:
    """Return the text of a cell without what is not seen around it."""
    text = cell.strip()
    if not text.isprintable():
        text = text.strip(_UNSEEN).strip()
    return original_cell(text)


def choice_in(cell: str) -> Choice | None:
    """Return the choice in a cell, None if it is none."""
    return CHOICES.get(text_in(cell).lower())


def day_in(cell: str) -> date | None:
    """Return the day in a cell, None if it is empty. Raises ValueError."""
    text = text_in(cell)
    if not text:
        return None
    if match := _DAY_FIRST.fullmatch(text):
        day, month, year = match.groups()
    elif match := _YEAR_FIRST.fullmatch(text):
        year, _, month, day = match.groups()
    else:
        return datetime.fromisoformat(text).date()
    return date(int(year), int(month), int(day))


def shown(text: str) -> str:
    """Return a text for a message."""
    return repr(printable(truncated(text, 60)))
