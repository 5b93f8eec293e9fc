"""A report as one HTML file: for a screen, light or dark, and for paper. No script, nothing fetched."""

import base64
import shlex
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from html import escape

from noai_guard.core.text import listed, printable
from noai_guard.core.usage_words import USAGE_WORDS
from noai_guard.record.charts import bar, number, size, stacked_columns
from noai_guard.record.report import Report, Row
from noai_guard.record.selection import NOTHING, reference
from noai_guard.record.tally import OTHERS, Figures, Group
from noai_guard.resources import filled, text
from noai_guard.version import __version__

_MAX_ROWS = 60
_MAX_GROUPS = 60
_MAX_DAYS = 62
_MAX_WORKS = 25
_SHORT = 10

_STYLE = text("record/report.css")
OUTCOMES = {
    "refused": "Refused",
    "served": "Got content",
    "not-enforced": "Not enforced: got content",
    "declaration": "Read a declaration",
    "failed": "Site's own error",
}
"""Outcome -> its words, in the order of the stack in charts."""

_IDENTITIES = {"verified": "Proven", "unverified": "Not proven", "spoofed": "Proven false", "unclaimed": "No claim"}
_PROOFS = {
    "networks": "by its address",
    "reverse_dns": "by the name of its address",
    "signature": "by a signature",
}
_USAGES = {usage.value: words.meaning for usage, words in USAGE_WORDS.items()}
_UNNAMED = {"": "Programs that name no operator", "unknown": "Unknown programs", OTHERS: "All others"}


def as_html(report: Report) -> str:
    """Return the report as an HTML document."""
    totals, selection = report.totals, report.selection
    name = shown(report.site) if report.site else "This site"
    daily = len(report.days) <= _MAX_DAYS
    return filled(
        "record/report.html",
        style=_STYLE,
        style_hash=style_hash(_STYLE),
        title=f"Who came for AI: {name}, {escape(str(selection.span))}",
        heading="Who came for AI, and what they got",
        scope=_scope(report, name),
        summary=_summary(report),
        figures=_figures(totals, len(report.named_operators)),
        notes=_notes(report.notes),
        time_heading="Day by day" if daily else "Month by month",
        time_chart=_time_chart(report, daily),
        months=_table("Month by month", "Month", report.tables["months"], _fact("month"), totals),
        operators=_operators(report),
        operators_by_month=_operators_by_month(report),
        claims=_claims(report),
        told=_table(
            "Requests after the client had been told",
            "Operator, and what it had been told",
            report.tables["told"],
            _told,
        ),
        usages=_table("By what the program is for", "Known for", report.tables["usages"], _usage, totals),
        works=_works(report),
        show=escape(command(report)),
        files=_files(report),
        more_groups=_more_groups(report),
        groups=_groups(report.groups[:_MAX_GROUPS]),
        version=escape(__version__),
    )


def style_hash(style: str) -> str:
    """Return the source of a content security policy that allows exactly this style."""
    return f"sha256-{base64.b64encode(sha256(style.encode()).digest()).decode()}"


def shown(text: str) -> str:
    """Return text of a file as HTML, with what a page cannot show escaped."""
    return escape(printable(text))


def operator_name(name: str) -> str:
    """Return what a page calls an operator, as HTML."""
    return _UNNAMED.get(name) or shown(name)


def command(report: Report, show: str = "operator=OpenAI, outcome=refused") -> str:
    """Return the command that lists the events of a reference."""
    selection = report.selection
    span = selection.span
    words = ["noai-guard", "report", "--since", _moment(span.since), "--until", _moment(span.until)]
    words += ["--operator", selection.operator] if selection.operator else []
    words += ["--path", selection.path] if selection.path else []
    return f"{shlex.join(words)} --events FOLDER --show {shlex.quote(show)}"


def _moment(moment: object) -> str:
    return str(moment).replace(" ", "T").replace("+00:00", "Z")


def _scope(report: Report, name: str) -> str:
    selection = report.selection
    parts = [name, escape(str(selection.span))]
    parts += [f"only {shown(selection.operator)}"] if selection.operator else []
    parts += [f"only paths like <code>{shown(selection.path)}</code>"] if selection.path else []
    return " · ".join(parts)


def _summary(report: Report) -> str:
    totals = report.totals
    if not totals.events:
        return "No request was noted in this time: no program came that said who it is, and nobody was refused."
    named = len(report.named_operators)
    share = f"{100 * totals.refused / totals.events:.0f} %" if totals.refused != totals.events else "all"
    sentences = [
        f"{_many(totals.events, 'request')} noted, of {_many(named, 'named operator')}; "
        f"{number(totals.refused)} ({share}) refused."
    ]
    true_claims = [row for row in report.tables["claims"] if row.figures.works_got and not row.figures.spoofed]
    ai_claims = [row for row in true_claims if row.facts["operator"] in report.ai_operators]
    ai = [operator_name(operator) for operator in dict.fromkeys(row.facts["operator"] for row in ai_claims)]
    watching = "" if any(row.figures.served for row in ai_claims) else " (only while the site was just watching)"
    if totals.works_got:
        sentences.append(
            f"{_many(totals.works_got, 'work')} of {number(totals.works_tried)} asked for "
            f"{'was' if totals.works_got == 1 else 'were'} handed over at least once"
            + (f", to AI operators too{watching}: {listed(ai, 5)}." if ai else ", to none of the known AI operators.")
        )
    elif totals.works_tried:
        sentences.append(f"Of {_many(totals.works_tried, 'work')} asked for, none was handed over.")
    if totals.spoofed:
        sentences.append(f"{_many(totals.spoofed, 'request')} came under a name that was proven false.")
    if totals.not_enforced:
        sentences.append(
            f"{_many(totals.not_enforced, 'request')} would have been refused, but the site was only watching then."
        )
    return " ".join(sentences)


def _many(count: int, noun: str) -> str:
    return f"{number(count)} {noun}{'s' * (count != 1)}"


def _figures(totals: Figures, named: int) -> str:
    figures = {
        "Operators with a name": (number(named), ""),
        "Requests noted": (number(totals.events), ""),
        "Refused": (number(totals.refused), ""),
        "Got content": (number(totals.answered), _not_enforced(totals)),
        "Works got": (number(totals.works_got), f"of {number(totals.works_tried)} asked for"),
        "Bytes got": (size(totals.bytes_got), ""),
    }
    return "".join(
        f'<div><dt>{title}</dt><dd>{value}<span class="note">{note}</span></dd></div>'
        for title, (value, note) in figures.items()
    )


def _not_enforced(totals: Figures) -> str:
    return f"{number(totals.not_enforced)} of them not enforced" if totals.not_enforced else ""


def _notes(notes: Sequence[str]) -> str:
    return f'<div class="notes">{"".join(f"<p>{shown(note)}</p>" for note in notes)}</div>' if notes else ""


def _time_chart(report: Report, daily: bool) -> str:
    if daily:
        columns = [(day[5:], counts) for day, counts in sorted(report.days.items())]
        return stacked_columns("Requests of each day by outcome", columns, OUTCOMES) + _days(report)
    months = [(row.facts["month"], _outcomes(row.figures)) for row in report.tables["months"]]
    return stacked_columns("Requests of each month by outcome", months, OUTCOMES)


def _days(report: Report) -> str:
    """Return the figures of the chart as a table that is folded up."""
    rows = [
        f'<tr><th scope="row">{day}<code>day={day}</code></th>'
        + "".join(f"<td>{number(counts.get(outcome, 0))}</td>" for outcome in OUTCOMES)
        + "</tr>"
        for day, counts in sorted(report.days.items())
    ]
    table = grid("Requests of each day by outcome", ["Day", *OUTCOMES.values()], rows)
    return f"<details><summary>The figures of each day</summary>{table}</details>" if rows else ""


def _outcomes(figures: Figures) -> dict[str, int]:
    return {
        "refused": figures.refused,
        "served": figures.served,
        "not-enforced": figures.not_enforced,
        "declaration": figures.declarations,
        "failed": figures.failed,
    }


def _table(
    caption: str,
    first_column: str,
    rows: Sequence[Row],
    title: Callable[[Row], str],
    totals: Figures | None = None,
    bars: bool = True,
    works: bool = True,
    max_rows: int = _MAX_ROWS,
) -> str:
    """Return a table of figures. `title` gives the HTML of a row's first cell; `totals` is the last row if there are
    several. Without `works`, each row is a single one."""
    if not rows:
        return '<p class="soft">Nothing to show.</p>'
    every = [row.figures for row in rows]
    monitored, failed = any(each.not_enforced for each in every), any(each.failed for each in every)
    declarations = any(each.declarations for each in every)
    false_names = any(each.spoofed for each in every)
    columns: list[tuple[str, Callable[[Figures], str]]] = [
        ("Requests", lambda each: number(each.events)),
        ("Refused", lambda each: number(each.refused)),
        ("Got content", lambda each: number(each.answered)),
        *([("Got, not enforced", lambda each: number(each.not_enforced))] if monitored else []),
        *([("False name", lambda each: number(each.spoofed))] if false_names else []),
        *([("Read a declaration", lambda each: number(each.declarations))] if declarations else []),
        *([("Site's own error", lambda each: number(each.failed))] if failed else []),
        *([("Works asked for", lambda each: number(each.works_tried))] if works else []),
        *([("Works got", lambda each: number(each.works_got))] if works else []),
        ("Bytes got", lambda each: size(each.bytes_got)),
    ]
    longest = max(each.events for each in every)

    def line(first: str, figures: Figures) -> str:
        cells = "".join(f"<td>{value(figures)}</td>" for _, value in columns)
        return f'<tr><th scope="row">{first}</th>{cells}</tr>'

    body = [
        line(
            f"{title(row)}<code>{shown(row.reference)}</code>{bar(_outcomes(row.figures), longest) if bars else ''}",
            row.figures,
        )
        for row in rows[:max_rows]
    ]
    foot = f"<tfoot>{line('All', totals)}</tfoot>" if totals is not None and len(rows) > 1 else ""
    left = len(rows) - max_rows
    more = f'<p class="soft">{left:,} more rows are in the JSON.</p>' if left > 0 else ""
    headings = [first_column, *(heading for heading, _ in columns)]
    return grid(caption, headings, body, foot) + more


def grid(caption: str, headings: Sequence[str], body: Sequence[str], foot: str = "", last: str = "") -> str:
    """Return a table that scrolls where it is wider than the screen. A short one is not divided between pages."""
    short = " short" if len(body) <= _SHORT else ""
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    head += f'<th scope="col" class="last">{last}</th>' if last else ""
    return (
        f'<div class="wide{short}" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>{foot}</table></div>"
    )


def _fact(name: str) -> Callable[[Row], str]:
    return lambda row: shown(row.facts[name])


def _operators(report: Report) -> str:
    def title(row: Row) -> str:
        name = row.facts["operator"]
        return (
            operator_name(name)
            + (' <strong class="ai">AI</strong>' if name in report.ai_operators else "")
            + _not_of_operator(report.false_names.get(name))
        )

    return _table("By operator, the one with most requests first", "Operator", report.tables["operators"], title,
                  report.totals)  # fmt: skip


def _not_of_operator(figures: Figures | None) -> str:
    """Return what of a row is somebody else's under the operator's name, so that nobody reads its sums as theirs."""
    if figures is None:
        return ""
    works = f"{_many(figures.works_got, 'work')}, " if figures.works_got else ""
    got = f", which got {works}{size(figures.bytes_got)}" if figures.bytes_got else ", which got nothing"
    return f'<br><span class="false">Not of it: {_many(figures.events, "request")} under a false name{got}</span>'


def _operators_by_month(report: Report) -> str:
    if len(report.tables["months"]) < 2:
        return ""
    return _table(
        "By month and operator", "Month and operator", report.tables["operators_by_month"],
        lambda row: f"{shown(row.facts['month'])} {operator_name(row.facts['operator'])}",
    )  # fmt: skip


def _claims(report: Report) -> str:
    def title(row: Row) -> str:
        facts = row.facts
        claim = shown(facts["claim"]) or "no name"
        proof = f" {_PROOFS.get(facts['proof'], shown(facts['proof']))}" if facts["identity"] == "verified" else ""
        words = f"{_IDENTITIES.get(facts['identity'], shown(facts['identity']))}{proof}"
        kind = ' class="false"' if facts["identity"] == "spoofed" else ' class="soft"'
        return f"{operator_name(facts['operator'])}: {claim}<br><span{kind}>{words}</span>"

    caption = "By the name that was said, and whether it is true"
    return _table(caption, "Claim, and proof", report.tables["claims"], title, bars=False)


def _told(row: Row) -> str:
    name = row.facts["declaration"]
    kind = "" if name.startswith("/") else "the header field "
    told = f"{kind}{shown(name)}" if name else "nothing yet"
    return f'{operator_name(row.facts["operator"])}<br><span class="soft">{told}</span>'


def _usage(row: Row) -> str:
    usage = row.facts["usage"]
    return escape(_USAGES.get(usage, usage)) if usage else "No known usage"


def _works(report: Report) -> str:
    if not report.works:
        return ""

    def title(row: Row) -> str:
        work = row.facts["work"]
        names = report.operators_of_works[work]
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        return f'{shown(work)}<br><span class="soft">{", ".join(map(operator_name, names[:6]))}{more}</span>'

    caption = "Works, and who asked for them; first those of which most was taken"
    return _table(caption, "Work", report.works, title, bars=False, works=False, max_rows=_MAX_WORKS)


def _files(report: Report) -> str:
    rows = [
        f'<tr><th scope="row">{shown(file.name)}</th><td>{number(file.events)}</td><td>{number(file.bytes)}</td>'
        f'<td class="last"><code>{file.sha256}</code></td></tr>'
        for file in report.events.files
    ]
    return grid("Files of events", ["File", "Events", "Bytes"], rows, last="SHA-256")


def _more_groups(report: Report) -> str:
    more = len(report.groups) - _MAX_GROUPS
    return f"Here are the first {_MAX_GROUPS}; the other {more:,} are in the CSV and JSON." if more > 0 else ""


def _groups(groups: Sequence[Group]) -> str:
    rows = []
    for group in groups:
        facts: Mapping[str, str] = {name: value for name, value in group.facts.items() if value}
        rows.append(
            f'<tr><th scope="row"><code>{shown(reference(facts)) or NOTHING}</code></th><td>{number(group.events)}</td>'
            f"<td>{number(group.works_got)} of {number(group.works_tried)}</td><td>{size(group.bytes)}</td>"
            f'<td class="last">{shown(group.first)}<br>{shown(group.last)}<br>'
            f"<code>{group.sha256[:16]}…</code></td></tr>"
        )
    headings = ["Group", "Events", "Works got", "Bytes"]
    return grid("Groups of events", headings, rows, last="First and last event, SHA-256")
