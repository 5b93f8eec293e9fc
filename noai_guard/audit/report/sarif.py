"""Findings as SARIF 2.1.0 (OASIS, 2020), which code hosts and editors show."""

from collections.abc import Sequence
from typing import Any

from noai_guard.audit.checks import KINDS
from noai_guard.audit.finding import Finding, Rule
from noai_guard.core.site_addresses import ascii_uri
from noai_guard.version import __version__

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def log(findings: Sequence[Finding]) -> dict[str, Any]:
    """A SARIF log of one run: every kind of finding as a rule, every finding as a result at its address."""
    places = {kind.code: place for place, kind in enumerate(KINDS)}
    driver = {"name": "noai-guard", "semanticVersion": __version__, "rules": [_rule(kind) for kind in KINDS]}
    results = [_result(finding, places[finding.kind.code]) for finding in findings]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _rule(kind: Rule) -> dict[str, Any]:
    return {
        "id": kind.code,
        "shortDescription": {"text": kind.title},
        "fullDescription": {"text": kind.means},
        "help": {"text": kind.fix},
        "defaultConfiguration": {"level": kind.severity.value},
    }


def _result(finding: Finding, place: int) -> dict[str, Any]:
    where: dict[str, Any] = {"artifactLocation": {"uri": ascii_uri(finding.url)}}
    if finding.line:
        where["region"] = {"startLine": finding.line}
    more = f" (and {finding.more} more like it)" if finding.more else ""
    found = f": {finding.found}" if finding.found else ""
    return {
        "ruleId": finding.kind.code,
        "ruleIndex": place,
        "level": finding.kind.severity.value,
        "message": {"text": f"{finding.kind.title}{found}{more}. {finding.kind.fix}"},
        "locations": [{"physicalLocation": where}],
    }
