"""noai-guard refresh: fetch the networks that operators publish, and the feeds of the policy."""

import time

import click

from noai_guard.cli.console import CannotRun
from noai_guard.cli.options import chosen_policy, name_policy, policy_option
from noai_guard.config import load_catalog, welcome_user_agents
from noai_guard.config.refreshed import Refreshed, read_refreshed, write_refreshed
from noai_guard.core.text import printable
from noai_guard.refresh import refresh

_COLOURS = {"kept": "red", "changed": "yellow", "new": "yellow", "same": "green"}


@click.command("refresh")
@click.option("--dry-run", is_flag=True, help="Show what would change and whom it would newly refuse; write nothing.")
@policy_option
@click.pass_context
def command(ctx: click.Context, dry_run: bool, policy_file: str | None) -> None:
    """Fetch the networks that operators publish and the feeds that the policy names, and keep them in its folder.

    Each list is fetched over https, with limits on time, size and redirects, and never from this machine or its own
    network. A list that cannot be fetched, read or believed leaves the last good one in place. A running guard takes
    the new lists over by itself.

    Exit code 0 if every list was fetched, 1 if one was not, 2 if nothing could be done.

    \b
    Examples:
      noai-guard refresh --dry-run
      noai-guard refresh --policy /etc/noai-guard/noai.yaml
    """
    policy = chosen_policy(policy_file)
    folder = policy.refresh.folder
    if not folder:
        hint = "write refresh: {folder: lists} into noai.yaml"
        raise CannotRun(f"the policy does not say where lists are kept; {hint}")
    try:
        before = read_refreshed(folder)
    except ValueError as error:
        click.secho(f"warning: {error}", fg="yellow", err=True)
        before = Refreshed()
    done = refresh(policy, load_catalog(), before, time.time(), welcome_user_agents())
    for outcome in done.outcomes:
        result = click.style(f"{outcome.result:<8}", fg=_COLOURS[outcome.result])
        click.echo(f"{result} {outcome.address}  {printable(outcome.detail)}")
    for note in done.notes:
        click.echo(f"note: {printable(note)}")
    if done.newly_refused:
        when = "would be refused" if dry_run else "are refused"
        click.echo(f"{when} from now on: {printable(', '.join(done.newly_refused))}")
    else:
        click.echo("nobody is newly refused")
    if not dry_run:
        try:
            write_refreshed(folder, done.refreshed)
        except OSError as error:
            raise CannotRun(f"{folder} cannot be written: {error.strerror}; name another folder") from None
    name_policy(policy_file)
    ctx.exit(int(done.failed))
