"""A report as CSV: one row for each group of events, fit for a spreadsheet."""

import csv
import io
import re
from collections.abc import Sequence

from noai_guard.core.text import printable
from noai_guard.record.report import Report
from noai_guard.record.selection import FACTS, reference

COLUMNS = (*FACTS, "events", "works_tried", "works_got", "bytes", "first", "last", "sha256", "show")

_BEGINS_FORMULA = re.compile(r" *[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""In full width too, which spreadsheets in Japanese take for the same."""


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
    """Return the values of a row, so that no spreadsheet takes text for a formula: an apostrophe stands before it
    (OWASP, CSV injection). Control characters are escaped."""
    return [_cell(value) if isinstance(value, str) else value for value in values]


def _cell(text: str) -> str:
    shown = printable(text)
    return f"'{shown}" if _BEGINS_FORMULA.match(text) else shown
