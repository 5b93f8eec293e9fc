"""What an audit finds: kinds of findings, which never change, and findings, which say where."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from noai_guard.audit.interpretation import Interpretation

_LONGEST_FOUND = 500


class Severity(StrEnum):
    """How bad a finding is, the worst first; the words are SARIF's levels.

    error: the reservation is not read, is contradicted, or people are turned away. warning: some read it otherwise,
    or it covers less than it seems to. note: worth knowing.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that can be wrong. `code` is stable (docs/reference/findings.md).

    `title` is what is so, `means` what follows from it, `fix` what to do or to write; nothing in them is of a site.
    """

    code: str
    severity: Severity
    title: str
    means: str
    fix: str

    def at(self, url: str, found: str = "", line: int = 0) -> "Finding":
        return Finding(self, url, found[:_LONGEST_FOUND], line)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, where, and what was seen there (the site's own text: to be shown with care).

    `line` counts from 1; 0 means the whole answer. `more` is how many like it were left out.
    """

    kind: Rule
    url: str
    found: str = ""
    line: int = 0
    more: int = 0


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """A family of checks: every kind of finding that `check` can make, and the check. `check` does no I/O."""

    title: str
    kinds: tuple[Rule, ...]
    check: Callable[[Interpretation], Iterable[Finding]]
