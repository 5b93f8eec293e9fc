"""ai.txt, trust.txt, and the pages that declarations link to. Codes A441 to A444."""

from collections.abc import Iterator

from noai_guard.audit.finding import Finding, Rule, Severity
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.rule_group import RuleGroup
from noai_guard.audit.statements import trust_values
from noai_guard.declarations import ai_txt, tdmrep, trust_txt

_AI_TXT = Rule(
    "A441", Severity.WARNING,
    "ai.txt closes nothing",
    "Spawning's ai.txt is written like robots.txt; without Disallow lines it opens the site to training.",
    "User-Agent: * and below it Disallow: /",
)  # fmt: skip
_TRUST_TXT = Rule(
    "A442", Severity.WARNING,
    "trust.txt has another word than yes or no",
    "datatrainingallowed has two words; others say nothing.",
    "datatrainingallowed=no",
)  # fmt: skip
_DEAD_LINK = Rule(
    "A443", Severity.WARNING,
    "A declaration leads to a page that is not there",
    "Nobody can read the terms there, or ask for a licence.",
    "Serve the page, or correct the address.",
)  # fmt: skip
_PAGES_EVERYWHERE = Rule(
    "A444", Severity.NOTE,
    "Files that do not exist are answered with an HTML page and 200",
    "Readers of ai.txt, trust.txt or tdmrep.json get a page where they expect a file.",
    "Answer 404 for addresses that do not exist.",
)  # fmt: skip


def _check(interpretation: Interpretation) -> Iterator[Finding]:
    yield from _files(interpretation)
    for result in interpretation.observations.policy_pages:
        if result.status >= 400:
            yield _DEAD_LINK.at(result.requested_url, result.failure)


def _files(interpretation: Interpretation) -> Iterator[Finding]:
    documents = interpretation.observations.documents
    for path in (tdmrep.PATH, ai_txt.PATH, trust_txt.PATH):
        result = documents.get(path)
        if result and result.ok and result.is_html:
            yield _PAGES_EVERYWHERE.at(result.requested_url)
            break
    text = documents.get(ai_txt.PATH)
    if text and text.ok and not text.is_html:
        rules = [line.partition("#")[0].lower() for line in text.text.splitlines()]
        is_spawning = any(line.startswith("user-agent") for line in rules)
        if is_spawning and not any(line.startswith("disallow:") and line[9:].strip() for line in rules):
            yield _AI_TXT.at(text.url)
    trust = documents.get(trust_txt.PATH)
    if trust and trust.ok and not trust.is_html:
        for value in trust_values(trust):
            if value not in ("yes", "no"):
                yield _TRUST_TXT.at(trust.url, f"datatrainingallowed={value}")


RULE_GROUP = RuleGroup("Small files and links", (_AI_TXT, _TRUST_TXT, _DEAD_LINK, _PAGES_EVERYWHERE), _check)
