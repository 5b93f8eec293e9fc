"""Output of the commands: one-line errors, and facts about the terminal."""

import shutil
import sys
from typing import IO, Any

import click

from noai_guard.core.text import printable


class CannotRun(click.ClickException):
    """Raised if a command cannot do its work: one line on stderr (what is wrong; a hint), and an exit code."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # a class variable in click, which reads it of the instance

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"noai-guard: {printable(self.format_message())}", err=True)


def unwritable(error: OSError, file: object = None) -> CannotRun:
    """Return the error for a file that cannot be written. `file` is used if the OSError names none."""
    name = error.filename or file
    return CannotRun(f"{name} cannot be written: {error.strerror}; choose another place with --out")


def on_terminal() -> bool:
    """Return True if standard output is a terminal."""
    return sys.stdout.isatty()


def terminal_width() -> int:
    """Return the columns of the terminal; without one, more than any table has."""
    return shutil.get_terminal_size().columns if on_terminal() else 10_000
