"""Everything about a creator's works as files: JSON for programs, CSV for spreadsheets."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from noai_guard.stores.wish_table import Row

COLUMNS = ("creator", "work", "isrc", "title", "usage", "choice", "set_by", "set_at", "since")
"""The columns of the CSV form: those of the table."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def facts_of(row: Row) -> dict[str, str]:
    """Return a row as texts, by column."""
    return {
        "creator": row.creator, "work": row.work, "isrc": row.isrc, "title": row.title, "usage": row.usage or "",
        "choice": row.choice, "set_by": row.set_by, "set_at": row.set_at.isoformat(timespec="seconds"),
        "since": row.since.isoformat(),
    }  # fmt: skip


def safe_cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: one that begins like a formula gets an apostrophe before it.

    So does one that begins with apostrophes before that, so that `original_cell` can give every text back.
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def original_cell(text: str) -> str:
    """Return the text of which `safe_cell` made a cell."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text


def csv_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of a CSV file (RFC 4180) with its header."""
    line = io.StringIO()
    writer = csv.writer(line)
    for cells in chain([COLUMNS], (map(safe_cell, facts_of(row).values()) for row in rows)):
        writer.writerow(cells)
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def json_lines(facts: Mapping[str, Any], rows: Iterable[Row]) -> Iterator[str]:
    """Yield a JSON object with some facts and, as its last member `history`, the rows, one at a time."""
    head = json.dumps(facts, ensure_ascii=False, indent=1)
    yield f'{head.removesuffix("}").rstrip()},\n "history": ['
    separator = "\n  "
    for row in rows:
        yield separator + json.dumps(facts_of(row), ensure_ascii=False)
        separator = ",\n  "
    yield "\n ]\n}\n"
