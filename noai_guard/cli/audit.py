"""noai-guard audit: looks at a live site as crawlers do."""

import json
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from noai_guard.cli.console import CannotRun, on_terminal, table, terminal_width
from noai_guard.config import load_catalog, sample_user_agent
from noai_guard.core.text import printable, truncated
from noai_guard.errors import MissingExtra

if TYPE_CHECKING:
    from noai_guard.audit.finding import Finding, Rule, Severity
    from noai_guard.audit.interpretation import Interpretation
    from noai_guard.audit.probe.result import ProbeResult, Visit

_NEEDS = ("http_sf", "httpx2", "protego")
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
_WIDTH = 80
_LONGEST_FOUND = 240
_INDENT = 8
_MOST_SECONDS = 300
_MOST_REQUESTS = 60
"""More than an audit makes, redirects not counted."""


@click.command("audit")
@click.argument("url")
@click.option("--audio", default="", metavar="URL", help="A recording; found from the page when not given.")
@click.option("--format", "style", type=click.Choice(["text", "json", "sarif"]), default="text",
              help="text for people, json for programs, sarif for code hosts.")  # fmt: skip
@click.option("--fail-on", type=click.Choice(["error", "warning", "note", "never"]), default="error",
              show_default=True, help="Exit code 1 from this severity on.")  # fmt: skip
@click.option("--impersonate/--no-impersonate", default=True,
              help="Also ask under the names of browsers and crawlers.  [default: yes]")  # fmt: skip
@click.option("--delay", type=click.FloatRange(0, 60), default=0.2, show_default=True, metavar="SECONDS",
              help="Pause between requests.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(1, 300), default=20, show_default=True, metavar="SECONDS",
              help="The most that one answer may take.")  # fmt: skip
@click.pass_context
def command(
    ctx: click.Context,
    url: str,
    audio: str,
    style: str,
    fail_on: str,
    impersonate: bool,
    delay: float,
    timeout: float,
) -> None:
    """Look at the live site at URL as crawlers do, and say what is wrong with its declarations.

    Makes about 40 requests, one after the other: the page, one recording in several ways, robots.txt, other
    declarations; then what a browser, a podcast app, a link preview, Googlebot, GPTBot and ClaudeBot get, under their
    names. Sends no cookies and no credentials.

    Exit code 0 when nothing is found that --fail-on names, 1 when something is, 2 when the site cannot be reached.

    \b
    Examples:
      noai-guard audit https://music.example/
      noai-guard audit music.example --audio https://cdn.example/song.mp3
      noai-guard audit music.example --no-impersonate --fail-on warning
      noai-guard audit music.example --format sarif > audit.sarif
    """
    reading, found = _audited(_address(url), _address(audio) if audio else "", impersonate, delay, timeout)
    if style == "sarif":
        from noai_guard.audit.report import sarif

        click.echo(json.dumps(sarif.log(found), indent=2))
    elif style == "json":
        click.echo(json.dumps(as_facts(reading, found), indent=2))
    else:
        for line in _text(reading, found):
            click.echo(line)
    ctx.exit(int(any(_fails(finding.kind.severity, fail_on) for finding in found)))


def _audited(
    url: str, audio: str, impersonate: bool, delay: float, seconds: float
) -> "tuple[Interpretation, tuple[Finding, ...]]":
    if any(find_spec(module) is None for module in _NEEDS):
        raise MissingExtra("audit", "noai-guard audit")
    from noai_guard.audit import checks
    from noai_guard.audit.interpretation import Interpretation
    from noai_guard.audit.probe.fetch import Fetcher
    from noai_guard.audit.probe.result import VISITORS
    from noai_guard.audit.probe.survey import Unreachable, survey

    as_whom = VISITORS if impersonate else ()
    user_agents = {visitor.name: sample_user_agent(visitor.agent, visitor.source) for visitor in as_whom}
    if on_terminal():
        click.echo(f"Looking at {printable(url)}, one request at a time ...", err=True)
    try:
        with Fetcher(delay, seconds, most_seconds=_MOST_SECONDS + delay * _MOST_REQUESTS) as fetcher:
            reading = Interpretation(survey(fetcher, url, audio, user_agents), load_catalog())
    except Unreachable as error:
        raise CannotRun(str(error)) from error
    return reading, checks.findings(reading)


def _address(text: str) -> str:
    """A web address as typed, https where no scheme is. Raises CannotRun where it is none."""
    from noai_guard.audit.addresses import is_web_address

    url = text.strip() if "://" in text else f"https://{text.strip()}"
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise CannotRun("the address holds a user name or password, which an audit never sends; leave it out")
    if not is_web_address(url) or any(character.isspace() or not character.isprintable() for character in url):
        raise CannotRun(f"{text!r} is no web address; write https://music.example/ or a host name")
    parts = urlsplit(url)
    return parts._replace(path=parts.path or "/", fragment="").geturl()


def _fails(severity: "Severity", fail_on: str) -> bool:
    from noai_guard.audit.finding import Severity

    return fail_on != "never" and severity.rank <= Severity(fail_on).rank


def as_facts(reading: "Interpretation", found: "Sequence[Finding]") -> dict[str, Any]:
    """The audit as plain data, for `--format json`."""
    seen = reading.seen
    return {
        "url": seen.page.get.url,
        "audio": seen.audio.get.url if seen.audio else None,
        "requests": seen.requests,
        "findings": [
            {
                "code": finding.kind.code,
                "severity": finding.kind.severity,
                "title": finding.kind.title,
                "url": finding.url,
                "line": finding.line or None,
                "found": finding.found,
                "more": finding.more,
                "means": finding.kind.means,
                "fix": finding.kind.fix,
            }
            for finding in found
        ],
        "visitors": [
            {
                "name": visit.visitor.name,
                "role": visit.visitor.role,
                "robots_says": _robots_says(reading, visit),
                "page": visit.page.status,
                "audio": visit.audio.status if visit.audio else None,
                "robots_txt": visit.robots.status if visit.robots else None,
            }
            for visit in seen.visits
        ],
    }


def _robots_says(reading: "Interpretation", visit: "Visit") -> str | None:
    """Whether robots.txt lets a crawler fetch the page; None for people's clients, which it does not address."""
    if visit.robots is None:
        return None
    return "open" if reading.robots.google_allows(visit.visitor.agent, reading.seen.page.get.url) else "closed"


def _text(reading: "Interpretation", found: "Sequence[Finding]") -> Iterator[str]:
    width = min(terminal_width(), 100) if on_terminal() else _WIDTH
    severity = None
    for kind, alike in groupby(found, lambda finding: finding.kind):
        if kind.severity != severity:
            severity = kind.severity
            yield click.style(f"{severity.upper()}S", fg=_COLOURS[severity], bold=True)
        yield from _shown(kind, alike, width)
        yield ""
    if reading.seen.visits:
        yield click.style("WHO GETS WHAT", bold=True)
        yield from _visits(reading, width)
        yield ""
    yield _summary(reading, found)


def _shown(kind: "Rule", alike: "Iterable[Finding]", width: int) -> Iterator[str]:
    """What is so, each place with what was found there, what it means, and what to do."""
    indent = " " * _INDENT

    def wrapped(text: str, deeper: str = "") -> list[str]:
        return wrap(text, width, initial_indent=indent + deeper, subsequent_indent=indent + deeper,
                    break_on_hyphens=False)  # fmt: skip

    first, *rest = wrap(kind.title, width - _INDENT)
    yield f"  {click.style(kind.code, fg=_COLOURS[kind.severity], bold=True)}  {click.style(first, bold=True)}"
    yield from (f"{indent}{click.style(line, bold=True)}" for line in rest)
    for finding in alike:
        yield from wrapped(f"{printable(finding.url)}{f', line {finding.line}' if finding.line else ''}")
        yield from wrapped(truncated(printable(finding.found), _LONGEST_FOUND), "  ")
        if finding.more:
            yield from wrapped(f"and {finding.more} more like it")
    yield from wrapped(kind.means)
    yield from wrapped(f"Fix: {kind.fix}")


def _visits(reading: "Interpretation", width: int) -> Iterator[str]:
    rows = [("visitor", "robots.txt says", "page", "audio", "robots.txt")]
    for visit in reading.seen.visits:
        looks = [_status(look) for look in (visit.page, visit.audio, visit.robots)]
        rows.append((visit.visitor.name, _robots_says(reading, visit) or "-", looks[0], looks[1], looks[2]))
    yield from (f"  {line}" for line in table(rows, width - 2))


def _status(look: "ProbeResult | None") -> str:
    return "-" if look is None else str(look.status or "no answer")


def _summary(reading: "Interpretation", found: "Sequence[Finding]") -> str:
    counts = []
    for word, colour in _COLOURS.items():
        number = sum(finding.more + 1 for finding in found if finding.kind.severity == word)
        if number:
            counts.append(click.style(f"{number} {word}{'s' * (number != 1)}", fg=colour))
    what = ", ".join(counts) or click.style("nothing to say against it", fg="green")
    return f"{printable(reading.seen.page.get.url)}: {what} ({reading.seen.requests} requests)."
