"""How the commands speak: one-line errors, tables that fit, text from strangers made harmless."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import IO, Any

import click

from noai_guard.core.text import printable, truncated

_NARROWEST = 8


class CannotRun(click.ClickException):
    """The command cannot do its work. One line on stderr (what, then a hint), exit code 2."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"noai-guard: {printable(self.format_message())}", err=True)


def unwritable(error: OSError, file: object = None) -> CannotRun:
    """What to say of a file that cannot be written."""
    name = error.filename or file
    return CannotRun(f"{name} cannot be written: {error.strerror}; choose another place with --out")


def on_terminal() -> bool:
    return sys.stdout.isatty()


def terminal_width() -> int:
    """Columns of the terminal; where there is none, more than any table has."""
    return shutil.get_terminal_size().columns if on_terminal() else 10_000


def table(rows: Sequence[Sequence[str]], width: int, gap: int = 2) -> Iterator[str]:
    """Rows as aligned lines no wider than `width` where that is possible: the widest columns are cut."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) + gap * (len(widths) - 1) > width and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    for row in rows:
        cells = (truncated(counts, size).ljust(size) for counts, size in zip(row, widths, strict=True))
        yield (" " * gap).join(cells).rstrip()
