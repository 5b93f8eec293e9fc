"""noai-guard events: show the event log, and remove what is older than the policy keeps."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from noai_guard.cli.console import CannotRun, on_terminal
from noai_guard.cli.options import FileName, chosen_policy, name_policy, policy_option
from noai_guard.core.event_settings import EventSettings, days_in
from noai_guard.core.text import printable
from noai_guard.record.event_files import EventLine, ReadProblems, read_events
from noai_guard.record.event_record import EventRecord
from noai_guard.record.retention import Pruned, prune


@click.group("events")
def command() -> None:
    """Show the event log, and remove what is older than the policy keeps.

    \b
    Examples:
      noai-guard events show
      noai-guard events prune
    """


@command.command("show")
@click.argument("paths", nargs=-1, type=FileName(), metavar="[FILE|FOLDER]...")
@click.option("--refused", is_flag=True, help="Only requests that were refused.")
@click.option("--operator", metavar="NAME", help="Only agents of this operator.")
@click.option("--json", "as_json", is_flag=True, help="Lines as they stand in the files, on a terminal too.")
@policy_option
@click.pass_context
def show(
    ctx: click.Context,
    paths: tuple[str, ...],
    refused: bool,
    operator: str | None,
    as_json: bool,
    policy_file: str | None,
) -> None:
    """Print events: a short line each on a terminal, else the lines of the files.

    Without an argument, those in the folder of the policy. Files may be compressed. What cannot be read is counted on
    standard error.

    Exit code 0 if everything could be read, 1 if not.

    \b
    Examples:
      noai-guard events show --refused --operator OpenAI
      noai-guard events show noai-events | jq -r .path | sort | uniq -c
    """
    if not paths:
        paths = (_settings(policy_file).folder,)
        name_policy(policy_file)
    problems = ReadProblems()
    number = 0
    for event in _chosen(read_events(paths, problems), refused, operator):
        number += 1
        click.echo(_short(event.record) if on_terminal() and not as_json else event.line)
    _report(problems)
    if not number and not problems:
        places = printable(", ".join(map(str, paths)))
        click.echo(f"note: {places}: no such events; a server writes them with events: in its policy", err=True)
    ctx.exit(1 if problems else 0)


def _chosen(events: Iterator[EventLine], refused: bool, operator: str | None) -> Iterator[EventLine]:
    for event in events:
        is_of_operator = operator is None or event.record.operator.lower() == operator.lower()
        if is_of_operator and (event.record.refused or not refused):
            yield event


def _short(record: EventRecord) -> str:
    who = f"{record.claim or 'a client'} ({record.identity}{f', {record.proof}' if record.proof else ''})"
    action = f"{record.action}{'' if record.enforced else ' (monitor only)'}"
    request = f"{record.method} {record.path} {record.status or '-'}"
    return printable(f"{record.time:%Y-%m-%d %H:%M:%S} {action}: {who} {request}, rule {record.rule}")


def _report(problems: ReadProblems) -> None:
    for problem in problems.named:
        click.secho(f"warning: {printable(problem)}", fg="yellow", err=True)
    if problems:
        click.echo(
            f"{problems.bad_lines} bad lines, {problems.torn_files} torn files, "
            f"{problems.unreadable_files} unreadable files",
            err=True,
        )


def _days(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    days = days_in(value) if value is not None else None
    if value is not None and days is None:
        raise click.BadParameter("write 90 days, 6 weeks, 12 months or 2 years")
    return days


@command.command("prune")
@click.option("--keep", metavar="TIME", callback=_days, help="How long events are kept.  [default: as the policy says]")
@click.option(
    "--strip-addresses", "strip", metavar="TIME", callback=_days,
    help="Take addresses and pseudonyms out of events older than this.",
)  # fmt: skip
@policy_option
@click.pass_context
def prune_command(ctx: click.Context, keep: int | None, strip: int | None, policy_file: str | None) -> None:
    """Remove events that are older than the policy keeps them, and keys of pseudonyms of days that are over.

    Whole days are removed (UTC). Files of processes that have ended are compressed; one that is written to is left
    alone. Meant to run each day, from cron or a timer.

    Exit code 0 if all was done, 1 if lines could not be read, 2 if nothing could be done.

    \b
    Examples:
      noai-guard events prune --policy /etc/noai-guard/noai.yaml
      noai-guard events prune --keep "24 months" --strip-addresses "30 days"
    """
    settings = _settings(policy_file)
    folder = Path(settings.folder)
    if not folder.is_dir():
        raise CannotRun(f"{folder}: there is no such folder; it is made when a server writes the first event")
    today = datetime.now(UTC).date()
    try:
        done = prune(folder, keep or settings.keep, today=today, strip=strip, keep_keys=settings.keep_keys)
    except OSError as error:
        raise CannotRun(f"{error.filename or folder}: {error.strerror or error}") from None
    _say(done)
    name_policy(policy_file)
    ctx.exit(1 if done.problems else 0)


def _say(done: Pruned) -> None:
    for what, files in (
        ("removed", done.removed),
        ("without addresses now", done.stripped),
        ("compressed", done.sealed),
        ("key destroyed", done.keys),
        ("in use, left alone", done.in_use),
    ):
        for file in files:
            click.echo(f"{what}: {printable(str(file))}")
    _report(done.problems)
    if not (done.removed or done.stripped or done.sealed or done.keys):
        click.echo("nothing is old enough")


def _settings(policy_file: str | None) -> EventSettings:
    settings = chosen_policy(policy_file).events
    if settings is None:
        raise CannotRun("the policy keeps no event log; write events: {keep: 12 months} into noai.yaml")
    return settings
