"""The report for a terminal."""

from collections.abc import Iterator, Sequence

from noai_guard.core.text import printable, table, truncated
from noai_guard.replay.report import words
from noai_guard.replay.report.steps import steps
from noai_guard.replay.summary import Client, Group, Summary

_MAX_ROWS = 25
_WIDTH = 118


def text(summary: Summary) -> str:
    """Return the report as lines of plain text. What clients sent is escaped."""
    return "".join(f"{line}\n" for line in _lines(summary))


def _lines(summary: Summary) -> Iterator[str]:
    yield words.heading(summary)
    yield words.basis(summary)
    yield from _groups(summary, "refused", summary.refused)
    yield from _clients(summary, "wronged", summary.wronged)
    if summary.against:
        yield from _groups(summary, "differences", summary.differences)
    yield from _groups(summary, "spoofed", summary.spoofed)
    if summary.works_known:
        yield from _clients(summary, "unclaimed", summary.unclaimed)
    yield from _logs(summary)
    yield from ("", words.TITLES["notes"])
    yield from (f"  {note}" for note in summary.notes)
    if next_steps := tuple(steps(summary)):
        yield from ("", words.TITLES["steps"])
        yield from (f"  {step}" for step in next_steps)


def _title(part: str, is_empty: bool) -> Iterator[str]:
    yield ""
    yield words.TITLES[part]
    if is_empty:
        yield f"  {words.EMPTY[part]}"
    elif part in words.EXPLANATIONS:
        yield f"  {words.EXPLANATIONS[part]}"


def _groups(summary: Summary, part: str, groups: Sequence[Group]) -> Iterator[str]:
    yield from _title(part, not groups)
    if not groups:
        return
    is_compared = part == "differences"
    head = ("operator", "agent", "usage", *(("before", "now") if is_compared else ("action",)))
    rows: list[tuple[str, ...]] = [(*head, "requests", "works", "sent")]
    for group in groups[:_MAX_ROWS]:
        actions = (group.before, group.action) if is_compared else (group.action,)
        counts = (words.number(group.requests), words.works(group.works, summary), words.size(group.bytes))
        rows.append((group.operator or "-", words.who(group), group.usage or "-", *actions, *counts))
    yield from (f"  {line}" for line in table(rows, _WIDTH))
    yield from _more(len(groups))


def _clients(summary: Summary, part: str, clients: Sequence[Client]) -> Iterator[str]:
    yield from _title(part, not clients)
    for client in clients[:_MAX_ROWS]:
        as_whom = f", refused as {client.agent or client.usage} ({client.rule})" if client.rule else ""
        yield (
            f"  {printable(client.client)}: {words.counted(client.requests, 'request')}, "
            f"{words.works(client.works, summary)} {'work' if client.works == 1 else 'works'}, "
            f"{words.size(client.bytes)}{as_whom}"
        )
        yield f"    {truncated(printable(client.user_agent), _WIDTH - 4) or '(no user agent)'}"
        if client.signals:
            yield f"    {', '.join(client.signals)}"
    yield from _more(len(clients))


def _more(count: int) -> Iterator[str]:
    if count > _MAX_ROWS:
        yield f"  and {count - _MAX_ROWS} more: --format json has them"


def _logs(summary: Summary) -> Iterator[str]:
    yield from ("", words.TITLES["logs"])
    for log in summary.logs:
        parts = [log.format or "nothing", words.counted(log.lines, "line")]
        parts += [f"{words.number(log.bad)} could not be read"] if log.bad else []
        parts += [f"{words.number(log.empty)} without a request"] if log.empty else []
        parts += [log.damage] if log.damage else []
        yield f"  {printable(log.name)}: {', '.join(parts)}"
        yield from (f"    {truncated(printable(sample), _WIDTH - 4)}" for sample in log.samples)
