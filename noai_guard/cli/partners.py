"""noai-guard partners: the licensed partners of a policy, and keys for them."""

import hashlib
import secrets
import time

import click

from noai_guard.cli.console import on_terminal, terminal_width
from noai_guard.cli.options import chosen_policy, name_policy, policy_option
from noai_guard.core.partners import Partner
from noai_guard.core.text import listed, table

_KEY_BYTES = 32
_PREFIX = "noai_"
"""Makes a key that was published by mistake findable."""


@click.group("partners", invoke_without_command=True)
@policy_option
@click.pass_context
def command(ctx: click.Context, policy_file: str | None) -> None:
    """List the licensed partners of the policy, and what is granted to each.

    \b
    Examples:
      noai-guard partners
      noai-guard partners key
    """
    if ctx.invoked_subcommand is not None:
        return
    now = time.time()
    rows = [
        (
            partner.name,
            listed(sorted(partner.usages)),
            listed(partner.paths.patterns),
            _time(partner, now),
            " and ".join(partner.proofs),
        )
        for partner in chosen_policy(policy_file).partners
    ]
    if not rows:
        click.echo("the policy names no partners")
    elif on_terminal():
        header, *lines = table([("name", "usages", "paths", "grant", "proof"), *rows], terminal_width())
        click.secho(header, bold=True)
        for line in lines:
            click.echo(line)
    else:
        for row in rows:
            click.echo("\t".join(row))
    name_policy(policy_file)


def _time(partner: Partner, now: float) -> str:
    if now < partner.starts:
        return f"begins on {partner.begins}"
    if now >= partner.ends:
        return f"ended on {partner.until}"
    return f"until {partner.until}" if partner.until else "without an end"


@command.command("key")
def key() -> None:
    """Make an API key for a partner: 256 random bits.

    The key goes to the partner, by a way that nobody else reads; it is shown once and kept nowhere. Its SHA-256 goes
    into the policy.
    """
    made = _PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    click.echo(f"key, for the partner:      {made}")
    click.echo(f"SHA-256, for noai.yaml:    {hashlib.sha256(made.encode()).hexdigest()}")
    click.echo("", err=True)
    click.echo("The partner sends it with each request: Authorization: Bearer KEY", err=True)
    click.echo("The policy holds: partners: [{name: ..., proof: {api_key: SHA-256}, usages: ...}]", err=True)
