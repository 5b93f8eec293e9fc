"""Exceptions that noai-guard raises.

NoAIGuardError
├── Invalid            a file has mistakes; holds one Problem for each
│   ├── PolicyInvalid      a noai.yaml
│   │   └── PolicyTooLong      what it says does not fit into a document
│   ├── CatalogInvalid     a rules/agents/*.yaml
│   ├── WishesInvalid      a catalogue of works and their creators' wishes
│   ├── LedgerInvalid      a ledger
│   ├── NoEventFiles       there is no event log
│   ├── SelectionInvalid   what was typed does not say which events are meant
│   └── LogsInvalid        logs that are to be replayed
├── CannotExpress      a target cannot express part of the policy
│   └── LimitExceeded      configuration is larger than what reads it allows
├── MissingExtra       an optional dependency is not installed (also an ImportError)
└── Unanswered         a backend did not answer a question; never leaves the middleware or a server
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file, with a hint what to type instead.

    `line` and `column` count from 1; 0 means the whole file. `code` is stable (docs/reference/problems.md).
    """

    code: str
    message: str
    hint: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    warning: bool = False

    def __str__(self) -> str:
        position = f"{self.file}:" if self.file else ""
        if self.line:
            position += f"{self.line}:{self.column}:" if self.column else f"{self.line}:"
        kind = " warning:" if self.warning else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{position}{kind} {self.code} {self.message}{hint}".strip()


class NoAIGuardError(Exception):
    """Base class of all exceptions that noai-guard raises."""


class Invalid(NoAIGuardError):
    """A file has mistakes; `problems` holds all of them, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column, p.code)))
        super().__init__("\n".join(map(str, self.problems)))


class PolicyInvalid(Invalid):
    """A policy file (noai.yaml) has mistakes."""


class PolicyTooLong(PolicyInvalid):
    """What a policy says does not fit into a document."""


class CatalogInvalid(Invalid):
    """A catalogue file (rules/agents/*.yaml) has mistakes."""


class WishesInvalid(Invalid):
    """A catalogue of works and their creators' wishes has mistakes."""


class LogsInvalid(Invalid):
    """Logs that are to be replayed cannot be read, or hold nothing."""


class CannotExpress(NoAIGuardError):
    """A declaration standard or a server cannot express part of the policy."""


class LimitExceeded(CannotExpress):
    """Configuration exceeds a documented limit of what reads it, and would be rejected or read in part."""

    code = "T001"

    def __init__(self, reader: str, limit: int, unit: str, actual: int, hint: str) -> None:
        """`unit` is what `limit` counts, such as "blocks of _headers"."""
        super().__init__(f"{self.code} {reader} takes at most {limit:,} {unit}; there are {actual:,}; {hint}")


class MissingExtra(NoAIGuardError, ImportError):
    """An optional dependency is not installed; the message is the command that installs it."""

    def __init__(self, extra: str, why: str) -> None:
        super().__init__(f"{why} needs an optional dependency: pip install 'noai-guard[{extra}]'")


class Unanswered(NoAIGuardError):
    """A backend did not answer a question in time, or failed."""
