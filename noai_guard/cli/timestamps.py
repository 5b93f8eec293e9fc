"""Options of commands that have something timestamped (RFC 3161), or check a timestamp."""

from pathlib import Path

import click

from noai_guard.cli.console import CannotRun
from noai_guard.cli.options import FileName
from noai_guard.record.timestamps import Authorities, read_authorities

timestamp_option = click.option(
    "--timestamp", "authority", metavar="URL", default="", envvar="NOAI_TIMESTAMP",
    help="Have it timestamped by this authority (RFC 3161; NOAI_TIMESTAMP).",
)  # fmt: skip
"""Adds `--timestamp URL` to a command, as the argument `authority`."""

authorities_option = click.option(
    "--authority", "authorities", metavar="FILE", type=FileName(),
    help="Certificates (PEM) of the authorities whose timestamps are believed.",
)  # fmt: skip
"""Adds `--authority FILE` to a command, as the argument `authorities`: see `trusted_authorities`."""


def trusted_authorities(file: str | None) -> Authorities | None:
    """Return the certificates in a file that was named, None without one. Raises CannotRun if it holds none."""
    try:
        return read_authorities(Path(file)) if file else None
    except (OSError, ValueError) as error:
        raise CannotRun(f"{file} holds no certificates in PEM ({error}); name another file") from None
