"""Answers that did not come, or are errors. Codes A001 to A004."""

from collections.abc import Iterator

from noai_guard.audit.finding import Finding, Rule, RuleGroup, Severity
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import OWN_NAME

_NO_ANSWER = Rule(
    "A001", Severity.WARNING,
    "A request got no answer",
    "What it would have shown was not looked at.",
    "Ask again; a server that ends connections or is slow does so to crawlers too.",
)  # fmt: skip
_PAGE_FAILS = Rule(
    "A002", Severity.WARNING,
    "The page is answered with an error",
    "What was looked at is an error page, so most findings are about that.",
    "Name a page that exists, or let the audit in.",
)  # fmt: skip
_AUDIT_REFUSED = Rule(
    "A003", Severity.NOTE,
    "The audit is refused under its own name",
    "The site was looked at under the name of a browser instead.",
    "Nothing, if this is meant.",
)  # fmt: skip

_MOVED = Rule(
    "A004", Severity.NOTE,
    "The page was reached by redirects",
    "All that follows is about the address where they end. What stands before it may declare something else.",
    "Look at the other host too when it serves pages of its own.",
)  # fmt: skip


def _check(reading: Interpretation) -> Iterator[Finding]:
    seen = reading.seen
    for look in seen.looks():
        if look.status == 0 and look is not seen.robots and look is not seen.audio_robots:
            yield _NO_ANSWER.at(look.asked, f"{look.method}: {look.problem}")
    if seen.page.get.hops:
        way = " then ".join(f"{hop.status} {hop.location}" for hop in seen.page.get.hops)
        yield _MOVED.at(seen.page.get.asked, way)
    if not seen.page.get.ok:
        yield _PAGE_FAILS.at(seen.page.get.url, f"HTTP {seen.page.get.status}")
    elif seen.page.get.client != OWN_NAME:
        yield _AUDIT_REFUSED.at(seen.page.get.url)


FAMILY = RuleGroup("Answers", (_NO_ANSWER, _PAGE_FAILS, _AUDIT_REFUSED, _MOVED), _check)
