"""The option `--policy`, the same for every command that uses a policy."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from noai_guard.core.policy import Policy

Command = TypeVar("Command", bound=Callable[..., Any])


def policy_option(command: Command) -> Command:
    """Add `--policy FILE` to a command, as the argument `policy_file`."""
    return click.option(
        "--policy",
        "policy_file",
        metavar="FILE",
        type=click.Path(),
        help="The site's noai.yaml; the packaged no-ai stance if not given.",
    )(command)


def chosen_policy(file: str | None) -> Policy:
    """Return the policy in a file, or the packaged no-ai stance. Raises PolicyInvalid with every problem."""
    from noai_guard.config import load_policy, load_stance

    return load_stance() if file is None else load_policy(file)
