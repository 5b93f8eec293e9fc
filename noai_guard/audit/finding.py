"""Rules, which never change, and findings, which say where a rule is broken."""

from dataclasses import dataclass
from enum import StrEnum

from noai_guard import resources

_MAX_DETAIL = 500


class Severity(StrEnum):
    """Severity of a finding, the worst first, in the words of SARIF's levels.

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
    """One thing that can be wrong. `code` is stable (docs/reference/findings.md), `name` is for the checks.

    `title` states the fact, `explanation` its consequence, `fix` what to do or to write. None of them quotes a site.
    """

    code: str
    name: str
    severity: Severity
    title: str
    explanation: str
    fix: str

    def at(self, url: str, detail: str = "", line: int = 0) -> "Finding":
        """Return the finding that this rule is broken at an address."""
        return Finding(self, url, detail[:_MAX_DETAIL], line)


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules about one subject, which are looked up by name."""

    title: str
    rules: tuple[Rule, ...]

    def __getitem__(self, name: str) -> Rule:
        return next(rule for rule in self.rules if rule.name == name)


def read_rules(module: str, **values: str) -> RuleGroup:
    """Return the rules in `checks/<module>.txt`, with `values` for its placeholders.

    The file has the title of the group, then three lines for each rule: `code name (severity): title`, the explanation
    and the fix.
    """
    title, *paragraphs = resources.filled(f"audit/checks/{module}.txt", **values).rstrip().split("\n\n")
    rules = []
    for paragraph in paragraphs:
        heading, explanation, fix = paragraph.split("\n")
        code, name, severity, heading = heading.split(" ", 3)
        rules.append(Rule(code, name, Severity(severity.strip("():")), heading, explanation, fix.removeprefix("Fix: ")))
    return RuleGroup(title, tuple(rules))


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule, and where.

    `detail` may quote the site: escape it before showing it. `line` counts from 1; 0 stands for the whole response.
    `omitted` is the number of like findings that are left out.
    """

    rule: Rule
    url: str
    detail: str = ""
    line: int = 0
    omitted: int = 0
