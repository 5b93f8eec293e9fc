"""The report as one page of HTML, without script, that prints well."""

from collections.abc import Iterable, Sequence
from html import escape

from noai_guard.core.text import printable
from noai_guard.replay.report import words
from noai_guard.replay.report.steps import steps
from noai_guard.replay.summary import Client, Group, LogFacts, Summary
from noai_guard.resources import filled, text
from noai_guard.version import __version__

_MAX_ROWS = 200


def html(summary: Summary) -> str:
    """Return the page. What clients sent is escaped."""
    parts = [_groups(summary, "refused", summary.refused), _clients(summary, "wronged", summary.wronged)]
    if summary.against:
        parts.append(_groups(summary, "differences", summary.differences))
    parts.append(_groups(summary, "spoofed", summary.spoofed))
    if summary.works_known:
        parts.append(_clients(summary, "unclaimed", summary.unclaimed))
    next_steps = tuple(steps(summary))
    return filled(
        "replay/report/page.html",
        style=text("observability/status_page.css") + text("replay/report/page.css"),
        heading=escape(words.heading(summary)),
        basis=escape(words.basis(summary)),
        parts="\n".join(parts),
        logs=f"<h2>{words.TITLES['logs']}</h2>{_list(map(_log, summary.logs))}",
        steps=f"<h2>{words.TITLES['steps']}</h2>{_list(map(escape, next_steps))}" if next_steps else "",
        notes=f"<h2>{words.TITLES['notes']}</h2>{_list(map(escape, summary.notes))}",
        version=escape(__version__),
    )


def _titled(part: str, body: str) -> str:
    explanation = words.EXPLANATIONS.get(part, "") if body else words.EMPTY[part]
    soft = f'<p class="soft">{explanation}</p>' if explanation else ""
    return f'<section><h2 id="{part}">{words.TITLES[part]}</h2>{soft}{body}</section>'


def _groups(summary: Summary, part: str, groups: Sequence[Group]) -> str:
    is_compared = part == "differences"
    most = max((group.requests for group in groups), default=1) or 1
    rows = []
    for group in groups[:_MAX_ROWS]:
        bar = (
            '<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect class="refused" width="{100 * group.requests / most:.2f}" height="1"/></svg>'
        )
        operator = f' <span class="soft">{escape(group.operator)}</span>' if group.operator else ""
        actions = (group.before, group.action) if is_compared else (group.action,)
        cells = "".join(f'<td class="{escape(action)}">{escape(action)}</td>' for action in actions)
        rows.append(
            f'<tr><th scope="row">{escape(words.who(group))}{operator}{bar}</th><td>{escape(group.usage) or "-"}</td>'
            f"{cells}<td>{words.number(group.requests)}</td><td>{words.works(group.works, summary)}</td>"
            f"<td>{words.size(group.bytes)}</td></tr>"
        )
    columns = ("Who", "Usage", *(("Before", "Now") if is_compared else ("Action",)), "Requests", "Works", "Sent")
    return _titled(part, _table(columns, rows) + _more(len(groups)) if rows else "")


def _clients(summary: Summary, part: str, clients: Sequence[Client]) -> str:
    rows = []
    for client in clients[:_MAX_ROWS]:
        about = "; ".join(client.signals)
        if client.rule:
            about += f" (refused as {client.agent or client.usage}, by {client.rule})"
        rows.append(
            f'<tr><th scope="row"><code>{escape(printable(client.client))}</code><br>'
            f'<code class="soft">{escape(printable(client.user_agent)) or "no user agent"}</code>'
            f"{f'<br>{escape(about)}' if about else ''}</th><td>{words.number(client.requests)}</td>"
            f"<td>{words.works(client.works, summary)}</td><td>{words.size(client.bytes)}</td></tr>"
        )
    table = _table(("Client", "Requests", "Works", "Sent"), rows) + _more(len(clients))
    return _titled(part, table if rows else "")


def _log(log: LogFacts) -> str:
    facts = [escape(log.format) or "nothing in it", words.counted(log.lines, "line")]
    facts += [f"{words.number(log.bad)} could not be read"] if log.bad else []
    facts += [f"{words.number(log.empty)} without a request"] if log.empty else []
    facts += [escape(log.damage)] if log.damage else []
    samples = "".join(f"<pre>{escape(printable(sample))}</pre>" for sample in log.samples)
    return f"<code>{escape(printable(log.name))}</code>: {', '.join(facts)}{samples}"


def _table(columns: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _more(count: int) -> str:
    return f'<p class="soft">{count - _MAX_ROWS} more in the JSON.</p>' if count > _MAX_ROWS else ""


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"
