"""The checks, one module per group of rules; pure, and independent of each other.

To add a check, add three lines to the text file of its group and a few to the module. To add a group, add a text file
and a module with `RULES` and `check`, which does no I/O, and name the module in `_GROUPS`.
"""

from dataclasses import replace
from operator import attrgetter
from types import ModuleType

from noai_guard.audit.checks import (
    caching,
    contradictions,
    enforcement,
    file_tags,
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
from noai_guard.audit.readers.guarded import guarded

_GROUPS = (
    responses, robots_response, robots_rules, headers, page, tdmrep, rsl, site_files, file_tags, contradictions,
    enforcement, caching,
)  # fmt: skip

RULE_GROUPS: tuple[RuleGroup, ...] = tuple(module.RULES for module in _GROUPS)

RULES: tuple[Rule, ...] = tuple(sorted((rule for group in RULE_GROUPS for rule in group.rules), key=attrgetter("code")))

_MAX_PER_RULE = 5


def _findings_of(module: ModuleType, interpretation: Interpretation) -> list[Finding]:
    """Return the findings of one group. If a check fails at what a site sent, that is the finding."""

    def failure(error: Exception) -> list[Finding]:
        detail = f"{type(error).__name__}: {error}"
        return [responses.RULES["unreadable"].at(interpretation.observations.page.get.url, detail)]

    return guarded(lambda: list(module.check(interpretation)), failure)


def findings(interpretation: Interpretation, *, robots_only: bool = False) -> tuple[Finding, ...]:
    """Return the findings, the worst first, then by code; with `robots_only`, those about robots.txt alone.

    At most five of one rule are kept; the last of them has the number of the others.
    """
    by_rule: dict[Rule, dict[Finding, None]] = {}
    for module in (robots_response, robots_rules) if robots_only else _GROUPS:
        for finding in _findings_of(module, interpretation):
            by_rule.setdefault(finding.rule, {})[finding] = None
    kept: list[Finding] = []
    for rule in sorted(by_rule, key=lambda rule: (rule.severity.rank, rule.code)):
        unique = list(by_rule[rule])
        kept += unique[:_MAX_PER_RULE]
        kept[-1] = replace(kept[-1], omitted=max(0, len(unique) - _MAX_PER_RULE))
    return tuple(kept)
