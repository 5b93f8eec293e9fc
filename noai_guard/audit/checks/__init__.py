"""The checks, one module per group of rules; pure, and independent of each other.

To add a check, add three lines to the text file of its group and a few to the module. To add a group, add a text file
and a module with `RULES` and `check`, which does no I/O, and name the module in `_GROUPS`.
"""

from dataclasses import replace
from operator import attrgetter

from noai_guard.audit.checks import (
    caching,
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
from noai_guard.audit.finding import Finding, Rule, RuleGroup
from noai_guard.audit.interpretation import Interpretation

_GROUPS = (
    responses, robots_response, robots_rules, headers, page, tdmrep, rsl, site_files, contradictions, enforcement,
    caching,
)  # fmt: skip

RULE_GROUPS: tuple[RuleGroup, ...] = tuple(module.RULES for module in _GROUPS)

RULES: tuple[Rule, ...] = tuple(sorted((rule for group in RULE_GROUPS for rule in group.rules), key=attrgetter("code")))

_MAX_PER_RULE = 5


def findings(interpretation: Interpretation) -> tuple[Finding, ...]:
    """Return the findings, the worst first, then by code.

    At most five of one rule are kept; the last of them has the number of the others.
    """
    by_rule: dict[Rule, dict[Finding, None]] = {}
    for module in _GROUPS:
        for finding in module.check(interpretation):
            by_rule.setdefault(finding.rule, {})[finding] = None
    kept: list[Finding] = []
    for rule in sorted(by_rule, key=lambda rule: (rule.severity.rank, rule.code)):
        unique = list(by_rule[rule])
        kept += unique[:_MAX_PER_RULE]
        kept[-1] = replace(kept[-1], omitted=max(0, len(unique) - _MAX_PER_RULE))
    return tuple(kept)
