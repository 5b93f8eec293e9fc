"""The events behind a figure of a report, as they stand in their files."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from noai_guard.core.text import printable
from noai_guard.record.event_sources import EventLines, place_of
from noai_guard.record.selection import SeenValues, Selection
from noai_guard.record.tally import Figures, Tally


@dataclass(slots=True)
class ShownEvents:
    """The events of a selection. Iterate first: `figures` and `sha256` (of their lines, each with a line feed) are of
    what was shown."""

    events: EventLines
    selection: Selection
    figures: Figures = field(default_factory=Figures)
    sha256: str = ""
    seen: SeenValues = field(init=False)
    """What the facts of the selection are in all events that belong to its span, paths and operator."""

    def __post_init__(self) -> None:
        self.seen = SeenValues(self.selection.facts)

    def __iter__(self) -> Iterator[str]:
        """Yield `FILE:LINE: the line`, made fit for a terminal."""
        lines, wider = hashlib.sha256(), replace(self.selection, facts=())
        with Tally() as tally:
            for line in self.events:
                if line.record not in wider:
                    continue
                self.seen.add(line.record)
                if line.record in self.selection:
                    tally.add(line)
                    lines.update(line.line + b"\n")
                    yield f"{printable(place_of(line))}: {printable(line.line.decode('utf-8', 'replace'))}"
            tally.finish()
            self.figures, self.sha256 = tally.totals(), lines.hexdigest()
