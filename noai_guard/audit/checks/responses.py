"""Responses that are missing or errors. Codes A001 to A004."""

from collections.abc import Iterator

from noai_guard.audit.finding import Finding, Rule, Severity
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import AUDITOR_NAME
from noai_guard.audit.rule_group import RuleGroup

_NO_ANSWER = Rule(
    "A001", Severity.WARNING,
    "A request got no answer",
    "What its response would have shown is not part of this audit.",
    "Run the audit again. A server that is slow or closes connections does so for crawlers too.",
)  # fmt: skip
_PAGE_FAILS = Rule(
    "A002", Severity.WARNING,
    "The page is answered with an error",
    "The audit saw an error page, so most findings are about that page.",
    "Name a page that exists, or allow the user agent noai-guard-audit.",
)  # fmt: skip
_AUDIT_REFUSED = Rule(
    "A003", Severity.NOTE,
    "The audit is refused under its own name",
    "The site was requested under the name of a browser instead.",
    "Nothing, if this is intended.",
)  # fmt: skip

_MOVED = Rule(
    "A004", Severity.NOTE,
    "The page was reached by redirects",
    "All other findings are about the final address. The first one may declare something else.",
    "Audit the other host too if it serves pages of its own.",
)  # fmt: skip


def _check(interpretation: Interpretation) -> Iterator[Finding]:
    observations = interpretation.observations
    page = observations.page.get
    for result in observations.results():
        if result.status == 0 and result is not observations.robots and result is not observations.audio_robots:
            yield _NO_ANSWER.at(result.requested_url, f"{result.method}: {result.problem}")
    if page.redirects:
        steps = " then ".join(f"{redirect.status} {redirect.location}" for redirect in page.redirects)
        yield _MOVED.at(page.requested_url, steps)
    if not page.ok:
        yield _PAGE_FAILS.at(page.url, f"HTTP {page.status}")
    elif page.client != AUDITOR_NAME:
        yield _AUDIT_REFUSED.at(page.url)


RULE_GROUP = RuleGroup("Answers", (_NO_ANSWER, _PAGE_FAILS, _AUDIT_REFUSED, _MOVED), _check)
