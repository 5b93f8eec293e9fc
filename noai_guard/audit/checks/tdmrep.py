"""/.well-known/tdmrep.json. Codes A401 to A407."""

from collections.abc import Iterator

from noai_guard.audit.finding import Finding, read_rules
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.readers import tdmrep
from noai_guard.audit.readers.html import parsed_json
from noai_guard.core.web_addresses import is_web_address
from noai_guard.declarations.tdmrep import PATH

RULES = read_rules("tdmrep", example='[{"location": "/", "tdm-reservation": 1}]')


def check(interpretation: Interpretation) -> Iterator[Finding]:
    result = interpretation.observations.documents.get(PATH)
    if result is None or result.status in (404, 410) or (result.ok and result.is_html):
        return
    if not result.ok:
        yield RULES["unreachable"].at(result.requested_url, result.failure)
        return
    data = parsed_json(result.body)
    if not isinstance(data, list):
        yield RULES["not-json" if data is None else "not-an-array"].at(result.url, result.text[:80])
        return
    if result.media_type != "application/json":
        yield RULES["media-type"].at(result.url, result.content_type_line)
    entries = tdmrep.read_entries(result.body)
    for entry in entries:
        if entry.problem:
            yield RULES["wrong-entry"].at(result.url, entry.problem)
        elif entry.policy and (not entry.reserved or not is_web_address(entry.policy)):
            yield RULES["policy-unused"].at(result.url, f"{entry.location}: {entry.policy}")
    for entry, earlier in tdmrep.shadowed(entries):
        yield RULES["shadowed-entry"].at(result.url, f"{entry.location} stands behind {earlier.location}")
