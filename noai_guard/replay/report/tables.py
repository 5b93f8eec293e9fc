"""The report for programs: JSON, and CSV for spreadsheets."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from noai_guard.core.text import printable
from noai_guard.replay.report.steps import steps
from noai_guard.replay.summary import Client, Group, Summary

COLUMNS = (
    "part", "operator", "agent", "usage", "before", "action", "rule", "client", "user_agent", "requests", "works",
    "bytes", "signals",
)  # fmt: skip
"""The columns of the CSV. `part` is one of refused, wronged, differences, spoofed and unclaimed."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}")
"""Beginnings of a cell that spreadsheets compute (OWASP, CSV Injection, read 2026-11-29)."""


def json_text(summary: Summary) -> str:
    """Return everything as one JSON object."""
    facts: dict[str, Any] = asdict(summary)
    facts["refused_requests"], facts["lines"], facts["bad"] = summary.refused_requests, summary.lines, summary.bad
    facts["period"], facts["steps"] = summary.period, tuple(steps(summary))
    return json.dumps(facts, indent=1) + "\n"


def csv_text(summary: Summary) -> str:
    """Return groups and clients as rows. No cell begins like a formula, and none holds a control character."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in _rows(summary):
        writer.writerow([_cell(row.get(column, "")) for column in COLUMNS])
    return output.getvalue()


def _rows(summary: Summary) -> Iterator[dict[str, Any]]:
    parts: dict[str, tuple[Group, ...] | tuple[Client, ...]] = {
        "refused": summary.refused,
        "wronged": summary.wronged,
        "differences": summary.differences,
        "spoofed": summary.spoofed,
        "unclaimed": summary.unclaimed,
    }
    for part, members in parts.items():
        for member in members:
            yield {"part": part, **asdict(member)}


def _cell(value: object) -> str:
    text = "; ".join(value) if isinstance(value, tuple) else str(value)
    return "'" + printable(text) if text.startswith(_FORMULA) else printable(text)
