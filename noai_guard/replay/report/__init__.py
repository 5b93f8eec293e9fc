"""Reports of a replay: for terminals, as a page, as JSON and as CSV."""

from collections.abc import Callable, Mapping

from noai_guard.replay.report import page, tables, terminal
from noai_guard.replay.summary import Summary

FORMS: Mapping[str, Callable[[Summary], str]] = {
    "text": terminal.text,
    "html": page.html,
    "json": tables.json_text,
    "csv": tables.csv_text,
}
"""Name of a form -> function from a summary to text, which ends in a line feed."""
