"""Findings as SARIF 2.1.0 (OASIS, 2020), which code hosts and editors show."""

from collections.abc import Sequence
from typing import Any

from noai_guard.audit.checks import RULES
from noai_guard.audit.finding import Finding
from noai_guard.core.site_addresses import ascii_uri
from noai_guard.version import __version__

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def log(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return a SARIF log of one run: every rule, and every finding as a result at its address."""
    indexes = {rule.code: index for index, rule in enumerate(RULES)}
    rules = [
        {
            "id": rule.code,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.explanation},
            "help": {"text": rule.fix},
            "defaultConfiguration": {"level": rule.severity.value},
        }
        for rule in RULES
    ]
    driver = {"name": "noai-guard", "semanticVersion": __version__, "rules": rules}
    results = [_result(finding, indexes[finding.rule.code]) for finding in findings]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(finding: Finding, rule_index: int) -> dict[str, Any]:
    location: dict[str, Any] = {"artifactLocation": {"uri": ascii_uri(finding.url)}}
    if finding.line:
        location["region"] = {"startLine": finding.line}
    omitted = f" (and {finding.omitted} more like it)" if finding.omitted else ""
    detail = f": {finding.detail}" if finding.detail else ""
    return {
        "ruleId": finding.rule.code,
        "ruleIndex": rule_index,
        "level": finding.rule.severity.value,
        "message": {"text": f"{finding.rule.title}{detail}{omitted}. {finding.rule.fix}"},
        "locations": [{"physicalLocation": location}],
    }
