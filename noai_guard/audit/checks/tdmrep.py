"""/.well-known/tdmrep.json. Codes A401 to A407."""

from collections.abc import Iterator

from noai_guard.audit.addresses import is_web_address
from noai_guard.audit.finding import Finding, Rule, Severity
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import ProbeResult
from noai_guard.audit.readers import tdmrep
from noai_guard.audit.rule_group import RuleGroup
from noai_guard.declarations.tdmrep import PATH

_EXAMPLE = '[{"location": "/", "tdm-reservation": 1}]'

_NOT_JSON = Rule(
    "A401", Severity.ERROR,
    "tdmrep.json is not JSON",
    "A file that does not parse reserves nothing.",
    _EXAMPLE,
)  # fmt: skip
_NOT_AN_ARRAY = Rule(
    "A402", Severity.ERROR,
    "tdmrep.json is not an array",
    "TDMRep wants an array of entries, even of a single one; anything else reserves nothing.",
    _EXAMPLE,
)  # fmt: skip
_ENTRY = Rule(
    "A403", Severity.ERROR,
    "An entry of tdmrep.json is wrong",
    'It needs a location that begins with / and a tdm-reservation of 1 or 0, a number ("1" in quotes is none). Such an '
    "entry counts as not said.",
    _EXAMPLE,
)  # fmt: skip
_SHADOWED = Rule(
    "A404", Severity.ERROR,
    "An entry of tdmrep.json is never reached",
    "The first entry that matches counts, not the longest as in robots.txt. An earlier entry matches wherever this one "
    "does and says the opposite.",
    'Put special locations before general ones, and "/" last.',
)  # fmt: skip
_TYPE = Rule(
    "A405", Severity.WARNING,
    "tdmrep.json is not sent as JSON",
    "Readers that look at the media type discard it.",
    "Content-Type: application/json",
)  # fmt: skip
_POLICY = Rule(
    "A406", Severity.WARNING,
    "A tdm-policy of tdmrep.json is not used",
    "It must be an absolute address, and is ignored beside a reservation of 0.",
    '"tdm-policy": "https://your.site/tdm-policy.json"',
)  # fmt: skip
_UNREADABLE = Rule(
    "A407", Severity.WARNING,
    "tdmrep.json cannot be fetched",
    "It is neither there nor missing (404); readers take it for nothing reserved.",
    "Serve it with 200, or answer 404 when there is none.",
)  # fmt: skip


def _check(interpretation: Interpretation) -> Iterator[Finding]:
    result = interpretation.observations.documents.get(PATH)
    if result is None or result.status in (404, 410) or (result.ok and result.is_html):
        return
    if not result.ok:
        yield _UNREADABLE.at(result.requested_url, result.failure)
        return
    entries = tdmrep.read_entries(result.body)
    if isinstance(entries, str):
        yield (_NOT_AN_ARRAY if entries == tdmrep.NOT_AN_ARRAY else _NOT_JSON).at(result.url, result.text[:80])
        return
    if result.media_type != "application/json":
        yield _TYPE.at(result.url, f"Content-Type: {result.first('content-type') or 'not sent'}")
    yield from _entries(result, entries)


def _entries(result: ProbeResult, entries: tuple[tdmrep.Entry, ...]) -> Iterator[Finding]:
    for entry in entries:
        if entry.problem:
            yield _ENTRY.at(result.url, entry.problem)
        elif entry.policy and (not entry.reserved or not is_web_address(entry.policy)):
            yield _POLICY.at(result.url, f"{entry.location}: {entry.policy}")
    for entry, earlier in tdmrep.shadowed(entries):
        yield _SHADOWED.at(result.url, f"{entry.location} stands behind {earlier.location}")


RULE_GROUP = RuleGroup(
    "TDMRep file", (_NOT_JSON, _NOT_AN_ARRAY, _ENTRY, _SHADOWED, _TYPE, _POLICY, _UNREADABLE), _check
)  # fmt: skip
