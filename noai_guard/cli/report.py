"""noai-guard report: who came, what they claimed and could prove, what they were told, what they tried and got."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from noai_guard.cli.console import CannotRun
from noai_guard.cli.evidence import ledger_of
from noai_guard.cli.options import FileName, chosen_policy, event_places, events_option, policy_option, say_nobody
from noai_guard.cli.output_files import replace_file
from noai_guard.config import catalog_of, load_catalog
from noai_guard.core.policy import Policy
from noai_guard.core.text import printable
from noai_guard.record.event_sources import EventLines, event_lines
from noai_guard.record.public_counts import PublicCounts
from noai_guard.record.report import Report, make_report
from noai_guard.record.report_csv import as_csv
from noai_guard.record.report_page import as_html
from noai_guard.record.selection import Selection, Span, parse_facts
from noai_guard.record.shown_events import ShownEvents
from noai_guard.record.transparency import Transparency

_FORMATS = ("html", "csv", "json")


@click.command("report")
@click.option("--since", required=True, metavar="WHEN", help="First month, day or moment, in UTC: 2026-10.")
@click.option("--until", metavar="WHEN", help="Last month or day, included, or a moment.  [default: now]")
@click.option("--path", default="", metavar="PATTERN", help="Only requests for these paths: /artists/ines/**")
@click.option("--operator", default="", metavar="NAME", help="Only requests of this operator: OpenAI")
@events_option
@click.option("--format", "style", type=click.Choice(_FORMATS),
              help="For reading, spreadsheets, programs.  [default: by the name of --out, else html]")  # fmt: skip
@click.option("--out", type=FileName(), metavar="FILE", help="Where to write.  [default: standard output]")
@click.option("--show", metavar="REFERENCE", help="Print the events behind a figure, by its reference in the report.")
@click.option("--public", is_flag=True, help="Write the transparency page instead: for everybody, nothing personal.")
@policy_option
def command(
    since: str,
    until: str | None,
    path: str,
    operator: str,
    places: tuple[str, ...],
    style: str | None,
    out: str | None,
    show: str | None,
    public: bool,
    policy_file: str | None,
) -> None:
    """Count the events that the guard has written, and write a report: who came, what they claimed and could prove,
    what they had been told, what they tried and got; requests, works and bytes, month by month.

    A work is what works: of the policy names: parts, segments and repeats of one count once. People who listen are not
    counted, because no event is written of them unless they are refused.

    --public writes a page for the site's creators and everybody: refusals by operator and month, the policy in force
    and its history. There is no address, no user agent and no path of any visitor in it.

    Each row of the report has a reference. --show prints the events behind it, each with its file and line, and then
    the sums and the SHA-256 of those lines.

    \b
    Examples:
      noai-guard report --since 2026-10 --out october.html
      noai-guard report --since 2026-09 --until 2026-10 --path '/artists/ines/**' --out ines.csv
      noai-guard report --since 2026-10 --events /var/log/host1 --events /var/log/host2 --operator OpenAI
      noai-guard report --since 2026-10 --show 'operator=OpenAI, outcome=refused'
      noai-guard report --since 2026-01 --public --out public/transparency.html
    """
    span = Span.of(since, until, datetime.now(UTC))
    policy = chosen_policy(policy_file)
    events = event_lines(event_places(places, policy))
    if show is not None:
        _print_events(ShownEvents(events, Selection(span, path, operator, parse_facts(show))))
        return
    style = style or _format_of(out)
    if public:
        _write(out, _public_page(events, Selection(span, path, operator), policy, style))
        return
    site = policy.site
    report = make_report(events, Selection(span, path, operator), site.name or site.owner or site.url)
    _write(out, _written(report, style))
    for note in report.notes:
        click.echo(f"note: {printable(note)}", err=True)
    if operator and not report.totals.events:
        say_nobody(operator, load_catalog())


def _write(out: str | None, text: str) -> None:
    content = text.encode("utf-8", "replace")
    if out is None:
        click.echo(content, nl=False)
    else:
        replace_file(Path(out), content)
        click.echo(f"wrote {click.format_filename(out)}", err=True)


def _public_page(events: EventLines, selection: Selection, policy: Policy, style: str) -> str:
    if style == "csv":
        raise CannotRun("--public is a page or JSON; write --format html or json")
    counts = PublicCounts()
    for line in events:
        if line.record in selection:
            counts.add(line.record)
    page = Transparency(policy, counts.only(catalog_of(policy).operators), ledger_of(policy))
    return page.as_html() if style == "html" else json.dumps(page.as_json(), indent=1) + "\n"


def _format_of(out: str | None) -> str:
    ending = Path(out or "").suffix.removeprefix(".").lower()
    return ending if ending in _FORMATS else "html"


def _written(report: Report, style: str) -> str:
    if style == "html":
        return as_html(report)
    return as_csv(report) if style == "csv" else json.dumps(report.as_json(), indent=1) + "\n"


def _print_events(shown: ShownEvents) -> None:
    for line in shown:
        click.echo(line)
    figures = shown.figures
    click.echo(
        f"{figures.events:,} events: {figures.refused:,} refused, {figures.answered:,} got content "
        f"({figures.bytes_got:,} bytes); {figures.works_tried:,} works asked for, {figures.works_got:,} got; "
        f"SHA-256 of these lines: {shown.sha256}",
        err=True,
    )
    for hint in () if figures.events else shown.seen.hints():
        click.echo(f"note: {printable(hint)}", err=True)
