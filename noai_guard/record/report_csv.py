"""A report as CSV: one row for each group of events, fit for a spreadsheet."""

import csv
import io
from collections.abc import Sequence

from noai_guard.core.spreadsheet_cells import safe_cell
from noai_guard.core.text import printable
from noai_guard.record.report import Report
from noai_guard.record.selection import FACTS, reference

COLUMNS = (*FACTS, "events", "works_tried", "works_got", "bytes", "first", "last", "sha256", "show")


def as_csv(report: Report) -> str:
    """Return the groups of a report. Events and bytes of rows may be added up; works may not, since one work may be in
    several rows."""
    output = io.StringIO()
    writer = csv.writer(output)
    writer.writerow(COLUMNS)
    for group in report.groups:
        show = reference(group.facts)
        figures = (group.events, group.works_tried, group.works_got, group.bytes)
        writer.writerow(cells([*group.facts.values(), *figures, group.first, group.last, group.sha256, show]))
    return output.getvalue()


def cells(values: Sequence[object]) -> list[object]:
    """Return the values of a row for a spreadsheet: no text is a formula, and control characters are escaped."""
    return [safe_cell(printable(value)) if isinstance(value, str) else value for value in values]
