"""Responses that are missing or errors. Codes A001 to A005."""

from collections.abc import Iterator

from noai_guard.audit.finding import Finding, read_rules
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import AUDITOR_NAME

RULES = read_rules("responses")


def check(interpretation: Interpretation) -> Iterator[Finding]:
    observations = interpretation.observations
    page = observations.page.get
    for result in observations.results():
        if result.status == 0:
            yield RULES["no-response"].at(result.requested_url, f"{result.method}: {result.problem}")
    if interpretation.page.problem:
        yield RULES["unreadable"].at(page.url, interpretation.page.problem)
    for result, robots in interpretation.robots_files:
        if robots.problem:
            yield RULES["unreadable"].at(result.url, robots.problem)
    if page.redirects:
        steps = " then ".join(f"{redirect.status} {redirect.location}" for redirect in page.redirects)
        yield RULES["redirected"].at(page.requested_url, steps)
    if not page.ok:
        yield RULES["page-fails"].at(page.url, f"HTTP {page.status}")
    elif page.client != AUDITOR_NAME:
        yield RULES["audit-refused"].at(page.url)
