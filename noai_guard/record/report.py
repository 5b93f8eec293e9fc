"""A report: who came, what they claimed and could prove, what they were told, what they tried and got."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from noai_guard.core.model import NAMED_AI, Identity
from noai_guard.record.event_files import EventLine
from noai_guard.record.event_sources import EventLines
from noai_guard.record.selection import Selection, reference
from noai_guard.record.tally import MAX_GROUPS, OTHERS, Figures, Group, Tally
from noai_guard.version import __version__

MAX_WORKS = 100
"""Works that are named, those of which most was taken; all are counted."""

TABLES: Mapping[str, tuple[str, ...]] = {
    "months": ("month",),
    "operators": ("operator",),
    "operators_by_month": ("month", "operator"),
    "identities": ("operator", "identity"),
    "claims": ("operator", "claim", "identity", "proof"),
    "told": ("operator", "declaration"),
    "usages": ("usage",),
    "outcomes": ("outcome",),
}
"""Table -> the facts in which the events of each row agree."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: in which facts its events agree, and their figures. `reference` finds the events again."""

    facts: Mapping[str, str]
    figures: Figures

    @property
    def reference(self) -> str:
        """The words behind `--show` that print the events of this row."""
        return reference({"told" if name == "declaration" else name: value for name, value in self.facts.items()})


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report says. `ai_operators` ran at least one agent that came for AI."""

    site: str
    selection: Selection
    totals: Figures
    tables: Mapping[str, Sequence[Row]]
    days: Mapping[str, Mapping[str, int]]
    works: Sequence[Row]
    operators_of_works: Mapping[str, Sequence[str]]
    ai_operators: frozenset[str]
    groups: Sequence[Group]
    events: EventLines

    @property
    def named_operators(self) -> Sequence[Row]:
        """The rows of the operators that have a name."""
        return [row for row in self.tables["operators"] if row.facts["operator"] not in ("", "unknown", OTHERS)]

    @property
    def false_names(self) -> Mapping[str, Figures]:
        """The figures of requests under a name that was proven false, by the operator whose name it was."""
        rows = (row for row in self.tables["identities"] if row.facts["identity"] == Identity.SPOOFED)
        return {row.facts["operator"]: row.figures for row in rows}

    @property
    def notes(self) -> Sequence[str]:
        """Sentences about what the figures leave out."""
        notes = self.events.notes
        if any(group.facts["operator"] == OTHERS for group in self.groups):
            notes.append(
                f"Events beyond the first {MAX_GROUPS:,} groups are counted together, as {OTHERS}: choose a shorter "
                "span, or an operator, to see them apart."
            )
        if self.totals.events and not self.totals.works_tried:
            notes.append("No event names a work: the policy in force had no works: that name them by their paths.")
        return notes

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        selection = self.selection
        return {
            "format": "noai-guard report 1",
            "version": __version__,
            "site": self.site,
            "since": selection.span.since.isoformat(),
            "until": selection.span.until.isoformat(),
            "path": selection.path,
            "operator": selection.operator,
            "totals": asdict(self.totals),
            "ai_operators": sorted(self.ai_operators),
            **{name: [_row(row) for row in rows] for name, rows in self.tables.items()},
            "days": [{"day": day, **counts, "show": f"day={day}"} for day, counts in sorted(self.days.items())],
            "works": [{**_row(row), "operators": self.operators_of_works[row.facts["work"]]} for row in self.works],
            "groups": [_group(group) for group in self.groups],
            "files": [
                {
                    "name": file.name,
                    "bytes": file.bytes,
                    "sha256": file.sha256,
                    "lines": file.lines,
                    "events": file.events,
                }
                for file in self.events.files
            ],
            "notes": self.notes,
        }


def _row(row: Row) -> dict[str, Any]:
    return {**row.facts, **asdict(row.figures), "show": row.reference}


def _group(group: Group) -> dict[str, Any]:
    return {
        **group.facts,
        "events": group.events,
        "works_tried": group.works_tried,
        "works_got": group.works_got,
        "bytes": group.bytes,
        "first": group.first,
        "last": group.last,
        "sha256": group.sha256,
        "show": reference(group.facts),
    }


def make_report(
    events: EventLines,
    selection: Selection,
    site: str = "",
    on_event: Callable[[EventLine], object] = lambda line: None,
) -> Report:
    """Count the selected events and return the report of them. `on_event` gets each one, in the order of reading."""
    with Tally() as tally:
        for line in events:
            if line.record in selection:
                tally.add(line)
                on_event(line)
        tally.finish()
        tables = {name: _rows(tally, facts) for name, facts in TABLES.items()}
        works = [Row({"work": work}, figures) for work, figures in tally.works(MAX_WORKS).items()]
        return Report(
            site=site,
            selection=selection,
            totals=tally.totals(),
            tables=tables,
            days=tally.days,
            works=works,
            operators_of_works={row.facts["work"]: tally.operators_of(row.facts["work"]) for row in works},
            ai_operators=frozenset(
                group.facts["operator"] for group in tally.groups if group.facts["usage"] in NAMED_AI
            ),
            groups=tally.groups,
            events=events,
        )


def _rows(tally: Tally, facts: tuple[str, ...]) -> Sequence[Row]:
    """Return the rows of a table: months in their order, then those with most events first; rows of one first fact stay
    together."""
    counted = tally.by(*facts)
    weights: Counter[str] = Counter()
    for values, figures in counted.items():
        weights[values[0]] += figures.events

    def rank(values: tuple[str, ...]) -> tuple[object, ...]:
        first = 0 if facts[0] == "month" else -weights[values[0]]
        return first, values[0], -counted[values].events, values

    return [Row(dict(zip(facts, values, strict=True)), counted[values]) for values in sorted(counted, key=rank)]
