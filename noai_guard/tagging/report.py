"""What became of files, for programs: one JSON object or one line of CSV for each."""

import csv
import io
import json
from collections.abc import Iterable, Mapping

from noai_guard.core.spreadsheet_cells import safe_cell
from noai_guard.core.text import printable
from noai_guard.tagging.file import Result

COLUMNS = ("path", "outcome", "format", "reservation", "usage", "policy", "page", "owner", "mining", "was", "notes",
           "reason")  # fmt: skip


def json_line(result: Result) -> str:
    """Return a result as a JSON object on one line, in ASCII. Its path is exact: `os.fsencode` has the bytes of it."""
    return json.dumps(_record(result))


def csv_line(result: Result) -> str:
    """Return a result as a line of CSV without its end. No cell begins like a formula, whatever a file is called."""
    record = _record(result)
    was = "; ".join(f"{name}={value}" for name, value in result.was.items())
    cells = {**record, "was": was, "notes": "; ".join(result.notes)}
    return _line(str(cells[column]) for column in COLUMNS)


def csv_head() -> str:
    """Return the names of the columns of CSV as its first line."""
    return _line(COLUMNS)


def _record(result: Result) -> Mapping[str, object]:
    fields = result.fields
    return {
        "path": result.path,
        "outcome": str(result.outcome),
        "format": result.format,
        "reservation": fields.reservation,
        "usage": fields.usage,
        "policy": fields.policy,
        "page": fields.page,
        "owner": fields.owner,
        "mining": fields.mining,
        "was": dict(result.was),
        "notes": list(result.notes),
        "reason": result.reason,
    }


def _line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(safe_cell(printable(cell)) for cell in cells)
    return line.getvalue()
