"""ai.txt, trust.txt, and the pages that declarations link to. Codes A441 to A444."""

from collections.abc import Iterator

from noai_guard.audit.finding import Finding, read_rules
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.statements import trust_values
from noai_guard.declarations import ai_txt, tdmrep, trust_txt

RULES = read_rules("site_files")


def check(interpretation: Interpretation) -> Iterator[Finding]:
    observations = interpretation.observations
    for path in (tdmrep.PATH, ai_txt.PATH, trust_txt.PATH):
        result = observations.documents.get(path)
        if result and result.ok and result.is_html:
            yield RULES["page-for-missing-file"].at(result.requested_url)
            break
    if text := observations.text_file(ai_txt.PATH):
        rules = [line.partition("#")[0].lower() for line in text.text.splitlines()]
        is_spawning = any(line.startswith("user-agent") for line in rules)
        if is_spawning and not any(line.startswith("disallow:") and line[9:].strip() for line in rules):
            yield RULES["ai-txt-closes-nothing"].at(text.url)
    if trust := observations.text_file(trust_txt.PATH):
        for value in trust_values(trust):
            if value not in ("yes", "no"):
                yield RULES["trust-txt-value"].at(trust.url, f"datatrainingallowed={value}")
    for result in observations.policy_pages:
        if result.status >= 400:
            yield RULES["dead-link"].at(result.requested_url, result.failure)
