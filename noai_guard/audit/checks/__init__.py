"""The checks, one module per group of rules; pure, and independent of each other.

To add a check, add a `Rule` and a few lines to the module of its group. To add a group, add a module with a
`RULE_GROUP`, and name it in `RULE_GROUPS`.
"""

from collections.abc import Iterable
from dataclasses import replace

from noai_guard.audit.checks import (
    contradictions,
    enforcement,
    headers,
    page,
    responses,
    robots_response,
    robots_rules,
    rsl,
    site_files,
    tdmrep,
)
from noai_guard.audit.finding import Finding, Rule
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.rule_group import RuleGroup

RULE_GROUPS: tuple[RuleGroup, ...] = (
    responses.RULE_GROUP,
    robots_response.RULE_GROUP,
    robots_rules.RULE_GROUP,
    headers.RULE_GROUP,
    page.RULE_GROUP,
    tdmrep.RULE_GROUP,
    rsl.RULE_GROUP,
    site_files.RULE_GROUP,
    contradictions.RULE_GROUP,
    enforcement.RULE_GROUP,
)

RULES: tuple[Rule, ...] = tuple(
    sorted((rule for group in RULE_GROUPS for rule in group.rules), key=lambda rule: rule.code)
)

_MAX_PER_RULE = 5


def findings(interpretation: Interpretation) -> tuple[Finding, ...]:
    """Return the findings, the worst first, then by code.

    At most five of one rule are kept; the last of them has the number of the others.
    """
    by_rule: dict[str, list[Finding]] = {}
    for finding in _all(interpretation):
        by_rule.setdefault(finding.rule.code, []).append(finding)
    kept: list[Finding] = []
    for of_rule in by_rule.values():
        unique = list(dict.fromkeys(of_rule))
        kept += unique[: _MAX_PER_RULE - 1]
        omitted = len(unique) - _MAX_PER_RULE
        if omitted >= 0:
            kept.append(replace(unique[_MAX_PER_RULE - 1], omitted=omitted))
    return tuple(sorted(kept, key=lambda finding: (finding.rule.severity.rank, finding.rule.code)))


def _all(interpretation: Interpretation) -> Iterable[Finding]:
    for group in RULE_GROUPS:
        yield from group.check(interpretation)
