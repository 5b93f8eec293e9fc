"""The result of an audit as one JSON object (docs/how-to/audit.md)."""

from collections.abc import Sequence
from typing import Any

from noai_guard.audit.finding import Finding
from noai_guard.audit.interpretation import Interpretation


def report(interpretation: Interpretation, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return everything that the text report says, in values that `json.dumps` takes."""
    observations = interpretation.observations
    return {
        "url": observations.page.get.url,
        "audio": observations.audio.get.url if observations.audio else None,
        "audio_tags": dict(tags.values) if (tags := interpretation.audio_tags) and not tags.problem else None,
        "requests": observations.requests,
        "findings": [
            {
                "code": finding.rule.code,
                "severity": finding.rule.severity,
                "title": finding.rule.title,
                "url": finding.url,
                "line": finding.line or None,
                "found": finding.detail,
                "more": finding.omitted,
                "means": finding.rule.explanation,
                "fix": finding.rule.fix,
            }
            for finding in findings
        ],
        "visitors": [
            {
                "name": responses.client.name,
                "role": responses.client.type,
                "robots_says": interpretation.robots_verdict(responses),
                "page": responses.page.status,
                "audio": responses.audio.status if responses.audio else None,
                "robots_txt": responses.robots.status if responses.robots else None,
            }
            for responses in observations.client_responses
        ],
    }
