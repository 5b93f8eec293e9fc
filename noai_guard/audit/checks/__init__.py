"""The checks, one module per family; pure, and no family knows another.

To add a check: a `Kind` and a few lines in its family's module. To add a family: one module with a `FAMILY`, and one
word in `FAMILIES`.
"""

from collections.abc import Iterable
from dataclasses import replace

from noai_guard.audit.checks import (
    answers,
    contradictions,
    enforcement,
    headers,
    page,
    robots_answer,
    robots_groups,
    rsl,
    site_files,
    tdmrep,
)
from noai_guard.audit.finding import Finding, Rule, RuleGroup
from noai_guard.audit.interpretation import Interpretation

FAMILIES: tuple[RuleGroup, ...] = (
    answers.FAMILY,
    robots_answer.FAMILY,
    robots_groups.FAMILY,
    headers.FAMILY,
    page.FAMILY,
    tdmrep.FAMILY,
    rsl.FAMILY,
    site_files.FAMILY,
    contradictions.FAMILY,
    enforcement.FAMILY,
)

KINDS: tuple[Rule, ...] = tuple(
    sorted((kind for family in FAMILIES for kind in family.kinds), key=lambda kind: kind.code)
)

_MOST_ALIKE = 5
"""How many findings of one kind are told one by one."""


def findings(reading: Interpretation) -> tuple[Finding, ...]:
    """Every finding, the worst first, then by code. Of many of one kind the first few, the last with their number."""
    by_kind: dict[str, list[Finding]] = {}
    for finding in _all(reading):
        by_kind.setdefault(finding.kind.code, []).append(finding)
    kept: list[Finding] = []
    for alike in by_kind.values():
        alike = list(dict.fromkeys(alike))
        more = len(alike) - _MOST_ALIKE
        kept += alike[: _MOST_ALIKE - 1]
        if more >= 0:
            kept.append(replace(alike[_MOST_ALIKE - 1], more=more))
    return tuple(sorted(kept, key=lambda finding: (finding.kind.severity.rank, finding.kind.code)))


def _all(reading: Interpretation) -> Iterable[Finding]:
    for family in FAMILIES:
        yield from family.check(reading)
