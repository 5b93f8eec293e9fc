"""Everything noai-guard raises on purpose.

NoAIGuardError
├── Invalid            something written by a person is wrong; carries every Problem found
│   ├── PolicyInvalid      a noai.yaml
│   └── CatalogInvalid     a rules/agents/*.yaml
├── CannotExpress      a target cannot say part of the policy
├── MissingExtra       an optional dependency is not installed (also an ImportError)
└── Unanswered         a backend could not answer a question; never leaves a driver
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file, and what to type instead.

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
        where = f"{self.file}:" if self.file else ""
        if self.line:
            where += f"{self.line}:{self.column}:"
        kind = " warning:" if self.warning else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}{kind} {self.code} {self.message}{hint}".strip()


class NoAIGuardError(Exception):
    """The root: catch this to catch everything noai-guard raises on purpose."""


class Invalid(NoAIGuardError):
    """A file that a person wrote is wrong; `problems` holds everything that was found, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column, p.code)))
        super().__init__("\n".join(map(str, self.problems)))


class PolicyInvalid(Invalid):
    """A policy file (noai.yaml) is wrong."""


class CatalogInvalid(Invalid):
    """A catalogue file (rules/agents/*.yaml) is wrong."""


class CannotExpress(NoAIGuardError):
    """A declaration standard or a server cannot say part of the policy."""


class MissingExtra(NoAIGuardError, ImportError):
    """An optional dependency is not installed; the message is the command that installs it."""

    def __init__(self, extra: str, why: str) -> None:
        super().__init__(f"{why} needs an optional dependency: pip install 'noai-guard[{extra}]'")


class Unanswered(NoAIGuardError):
    """A backend could not answer a question in time or at all."""
