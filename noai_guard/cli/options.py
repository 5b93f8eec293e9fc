"""Options and types of values that several commands share."""

import os
import sys
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from noai_guard.cli.console import CannotRun
from noai_guard.config import load_policy, load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.policy import Policy
from noai_guard.core.text import did_you_mean, printable
from noai_guard.socket_address import SocketAddress

DEFAULT_POLICY = "noai.yaml"
"""The policy of a site in the folder where a command runs."""


class FileName(click.Path):
    """Name of a file or folder. Never empty: a shell makes that of a variable that is not set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty; name a file or folder", param, ctx)
        return super().convert(value, param, ctx)


def _file_here(ctx: click.Context, param: click.Parameter, file: str | None) -> str | None:
    # lexists: a link that leads nowhere is a mistake to be reported, not a site without a policy.
    return DEFAULT_POLICY if file is None and os.path.lexists(DEFAULT_POLICY) else file


policy_option = click.option(
    "--policy", "policy_file", metavar="FILE", type=FileName(), callback=_file_here,
    help="The site's policy.  [default: noai.yaml where it is here, else the packaged no-ai stance]",
)  # fmt: skip
"""Adds `--policy FILE` to a command, as the argument `policy_file`: None stands for the packaged stance."""


def is_given(ctx: click.Context, option: str) -> bool:
    """Return True if the option was typed."""
    return ctx.get_parameter_source(option) is ParameterSource.COMMANDLINE


events_option = click.option(
    "--events", "places", type=FileName(), multiple=True, metavar="DIR|FILE",
    help="Where the events are; may be repeated.  [default: the folder that the policy names]",
)  # fmt: skip
"""Adds `--events` to a command, as the argument `places`, for `event_places`."""


def event_places(places: Sequence[str], policy: Policy) -> Sequence[str]:
    """Return where the events are: the places that were typed, else the folder that the policy names.

    Raises CannotRun if there is neither.
    """
    if places:
        return places
    if policy.events is None:
        raise CannotRun(
            "the policy keeps no event log; name the folder of one by --events, or write events: {} into noai.yaml"
        )
    return [policy.events.folder]


def say_nobody(operator: str, catalog: Catalog) -> None:
    """Say on standard error that no event is of an operator, and whose name was probably meant."""
    agent = catalog.agent(operator)
    if operator.casefold() in (each.casefold() for each in catalog.operators):
        hint = "the operator is known, and nothing of it was noted in this time and under these paths"
    elif agent is not None and agent.operator:
        hint = f"{agent.name} is a program of {agent.operator}: write --operator {agent.operator!r}"
    else:
        hint = did_you_mean(operator, catalog.operators) or "noai-guard agents lists operators"
    click.echo(f"note: no event is of {printable(operator)!r}; {hint}", err=True)


def policy_name(file: str | None) -> str:
    """Return what a command's output calls its policy."""
    return "no-ai (packaged)" if file is None else printable(file)


def chosen_policy(file: str | None) -> Policy:
    """Return the policy in a file, or the packaged no-ai stance. Raises PolicyInvalid with every problem."""
    return load_stance() if file is None else load_policy(file)


def name_policy(file: str | None) -> None:
    """Print on standard error which policy the output is about, where standard output is for programs.

    The last thing that a command does, so that a mistake stays one line, and a reader who goes away is told nothing.
    """
    sys.stdout.flush()
    click.echo(f"policy: {policy_name(file)}", err=True)


class _SocketAddressType(click.ParamType[SocketAddress]):
    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> SocketAddress:
        try:
            return value if isinstance(value, SocketAddress) else SocketAddress.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SOCKET_ADDRESS = _SocketAddressType()
"""`HOST:PORT`, `[IPv6]:PORT` or `unix:/path`."""
