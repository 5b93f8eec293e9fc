"""Everything about a creator's works as files: JSON for programs, CSV for spreadsheets."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from noai_guard.core.spreadsheet_cells import safe_cell
from noai_guard.stores.wish_table import Row

COLUMNS = ("creator", "work", "isrc", "title", "usage", "choice", "set_by", "set_at", "since")
"""The columns of the CSV form: those of the table."""


def facts_of(row: Row) -> dict[str, str]:
    """Return a row as texts, by column."""
    return {
        "creator": row.creator, "work": row.work, "isrc": row.isrc, "title": row.title, "usage": row.usage or "",
        "choice": row.choice, "set_by": row.set_by, "set_at": row.set_at.isoformat(timespec="seconds"),
        "since": row.since.isoformat(),
    }  # fmt: skip


def csv_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of a CSV file of rows."""
    return table_lines(COLUMNS, (facts_of(row).values() for row in rows))


def table_lines(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a CSV file (RFC 4180) with its header, of which no spreadsheet runs anything."""
    line = io.StringIO()
    writer = csv.writer(line)
    for cells in chain([columns], rows):
        writer.writerow(map(safe_cell, cells))
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def json_lines(facts: Mapping[str, Any], lists: Mapping[str, Iterable[Any]]) -> Iterator[str]:
    """Yield a JSON object with some facts and, as its last members, lists whose items are taken one at a time."""
    yield json.dumps(facts, ensure_ascii=False, indent=1).removesuffix("}").rstrip()
    for name, items in lists.items():
        yield f',\n "{name}": ['
        separator = "\n  "
        for item in items:
            yield separator + json.dumps(item, ensure_ascii=False)
            separator = ",\n  "
        yield "\n ]"
    yield "\n}\n"
