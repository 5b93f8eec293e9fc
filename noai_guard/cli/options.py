"""Options and types of values that several commands share."""

from typing import Any

import click

from noai_guard.config import load_policy, load_stance
from noai_guard.core.policy import Policy
from noai_guard.socket_address import SocketAddress

policy_option = click.option(
    "--policy", "policy_file", metavar="FILE", type=click.Path(),
    help="The site's noai.yaml; the packaged no-ai stance if not given.",
)  # fmt: skip
"""Adds `--policy FILE` to a command, as the argument `policy_file`."""


def chosen_policy(file: str | None) -> Policy:
    """Return the policy in a file, or the packaged no-ai stance. Raises PolicyInvalid with every problem."""
    return load_stance() if file is None else load_policy(file)


class _SocketAddressType(click.ParamType[SocketAddress]):
    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> SocketAddress:
        try:
            return value if isinstance(value, SocketAddress) else SocketAddress.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SOCKET_ADDRESS = _SocketAddressType()
"""`HOST:PORT`, `[IPv6]:PORT` or `unix:/path`."""
