"""The result of an audit as lines of text, with colours that `click.echo` removes where there is no terminal."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from textwrap import wrap

import click

from noai_guard.audit.finding import Finding, Rule, Severity
from noai_guard.audit.interpretation import Interpretation
from noai_guard.core.text import printable, table, truncated

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_MAX_DETAIL = 240
_INDENT = 8


def report(interpretation: Interpretation, findings: Sequence[Finding], width: int) -> Iterator[str]:
    """Yield the findings by severity, the responses to each client, and a summary, in lines of at most `width`."""
    severity = None
    for rule, of_rule in groupby(findings, lambda finding: finding.rule):
        if rule.severity != severity:
            severity = rule.severity
            yield click.style(f"{severity.upper()}S", fg=_COLOURS[severity], bold=True)
        yield from _of_rule(rule, of_rule, width)
        yield ""
    if interpretation.observations.client_responses:
        rows: list[tuple[str, ...]] = [("visitor", "robots.txt says", "page", "audio", "robots.txt")]
        for each in interpretation.observations.client_responses:
            results = (each.page, each.audio, each.robots)
            statuses = [str(result.status or "no answer") if result else "-" for result in results]
            rows.append((each.client.name, interpretation.robots_verdict(each) or "-", *statuses))
        yield click.style("WHO GETS WHAT", bold=True)
        yield from (f"  {line}" for line in table(rows, width - 2))
        yield ""
    yield _summary(interpretation, findings)


def _of_rule(rule: Rule, findings: Iterable[Finding], width: int) -> Iterator[str]:
    indent = " " * _INDENT

    def wrapped(text: str, more_indent: str = "") -> list[str]:
        margin = indent + more_indent
        return wrap(text, width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)

    first, *rest = wrap(rule.title, width - _INDENT)
    yield f"  {click.style(rule.code, fg=_COLOURS[rule.severity], bold=True)}  {click.style(first, bold=True)}"
    yield from (f"{indent}{click.style(line, bold=True)}" for line in rest)
    for finding in findings:
        yield from wrapped(f"{printable(finding.url)}{f', line {finding.line}' if finding.line else ''}")
        yield from wrapped(truncated(printable(finding.detail), _MAX_DETAIL), "  ")
        if finding.omitted:
            yield from wrapped(f"and {finding.omitted} more like it")
    yield from wrapped(rule.explanation)
    yield from wrapped(f"Fix: {rule.fix}")


def _summary(interpretation: Interpretation, findings: Sequence[Finding]) -> str:
    counts = []
    for severity, colour in _COLOURS.items():
        count = sum(finding.omitted + 1 for finding in findings if finding.rule.severity is severity)
        if count:
            counts.append(click.style(f"{count} {severity}{'s' * (count != 1)}", fg=colour))
    outcome = ", ".join(counts) or click.style("nothing to say against it", fg="green")
    observations = interpretation.observations
    return f"{printable(observations.page.get.url)}: {outcome} ({observations.requests} requests)."
