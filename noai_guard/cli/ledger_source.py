"""The ledger that a command means, and how it is read."""

from datetime import UTC, datetime

import click

from noai_guard.cli.console import CannotRun
from noai_guard.cli.options import FileName, chosen_policy
from noai_guard.core.policy import LedgerPolicy
from noai_guard.errors import Problem
from noai_guard.record import ledger_files
from noai_guard.record.ledger import Ledger, LedgerInvalid
from noai_guard.record.ledger_keys import is_installed
from noai_guard.record.verification import chain_problems

FOLDER = "noai-ledger"

ledger_option = click.option(
    "--ledger", "source", metavar="PATH", type=FileName(),
    help="The folder of the ledger, or its public copy.  [default: as the policy says, else noai-ledger]",
)  # fmt: skip
"""Adds `--ledger PATH` to a command, as the argument `source`."""


def current_time() -> datetime:
    """Return the time in UTC, to the second, as entries have it."""
    return datetime.now(UTC).replace(microsecond=0)


def settings_of(policy_file: str | None) -> LedgerPolicy | None:
    """Return what a policy file says of its ledger; None without a file, or a ledger in it."""
    return chosen_policy(policy_file).ledger if policy_file is not None else None


def source_of(source: str | None, settings: LedgerPolicy | None) -> str:
    """Return where the ledger is that is meant: as was typed, else as the policy says, else here."""
    return source or (settings.folder if settings else FOLDER)


def read_ledger(path: str) -> Ledger:
    """Return the ledger in a folder or file. Raises CannotRun, with what to type."""
    try:
        return ledger_files.read_ledger(path)
    except LedgerInvalid as error:
        raise CannotRun(lines_of(error.problems)) from None


def lines_of(problems: tuple[Problem, ...]) -> str:
    """Return the first problems, on one line."""
    return "; ".join(map(str, problems[:5]))


def warn_if_damaged(ledger: Ledger, settings: LedgerPolicy | None) -> int:
    """Say on standard error if the chain is not whole. Return the exit code."""
    if not is_installed():
        click.echo("note: the signatures were not checked: pip install 'noai-guard[record]'", err=True)
        return 0
    problems = tuple(chain_problems(ledger, settings.key if settings else "", current_time()))
    if problems:
        click.echo("note: this ledger was damaged or tampered with; noai-guard ledger verify says where", err=True)
    return int(bool(problems))


def counted(entries: int) -> str:
    """Return the number of entries in words: 1 entry, 2 entries."""
    return f"{entries} {'entry' if entries == 1 else 'entries'}"
