"""Enforcement: what each client gets, compared with what robots.txt says to it. Codes A601 to A614."""

import re
from collections.abc import Iterator
from operator import attrgetter

from noai_guard.audit.finding import Finding, read_rules
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import ClientResponses, ClientType, Observations, ProbeResult
from noai_guard.audit.readers.html import read_page
from noai_guard.audit.statements import missing_headers

RULES = read_rules("enforcement")

_REFUSAL_WORDS = re.compile(
    r"\b(?:denied|forbidden|not (?:allowed|welcome)|unauthori[sz]ed|blocked|captcha|just a moment|attention required|"
    r"are you (?:a )?human|verify(?:ing)? (?:that )?you are|checking your browser|unusual traffic|"
    r"(?:bot|security) (?:check|verification))\b",
    re.IGNORECASE,
)
_CACHEABLE_BY_DEFAULT = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
"""Status codes that are cacheable by default (RFC 9110, 15.1), without 206, which is no refusal."""

_MAX_SHORT_PAGE = 4096
"""Bytes of a page that is searched for words of a refusal as a whole."""

_PARTS = (attrgetter("page"), attrgetter("audio"))
"""The requests that the audit makes for each client."""


def check(interpretation: Interpretation) -> Iterator[Finding]:
    observations = interpretation.observations
    people = [responses for responses in observations.client_responses if responses.client.type is ClientType.PERSON]
    if not people:
        return
    person = next((responses for responses in people if responses.page.ok), people[0])
    for responses in observations.client_responses:
        if responses.client.type is ClientType.PERSON:
            yield from _for_person(observations, responses)
        elif responses.client.type is ClientType.SEARCH:
            if responses.page.refuses and observations.page.get.ok:
                yield _finding("search-refused", responses, responses.page)
        else:
            yield from _for_ai(interpretation, responses, person)
        if responses.robots and responses.robots.refuses and not observations.robots.refuses:
            yield _finding("robots-refused", responses, responses.robots)
    for result in observations.without_user_agent:
        if result.refuses:
            yield RULES["no-user-agent-refused"].at(result.requested_url, result.failure)
    for part in _PARTS:
        resource, expected = part(observations), part(person)
        served = [
            responses.client.name
            for responses in observations.client_responses
            if responses.client.type is ClientType.AI
            and expected
            and (result := part(responses))
            and result.ok
            and not is_disguised(result, expected)
        ]
        if resource and served and interpretation.reserves_training(resource):
            yield RULES["only-declared"].at(resource.get.requested_url, f"served: {', '.join(served)}")


def _finding(name: str, responses: ClientResponses, result: ProbeResult, detail: str = "") -> Finding:
    return RULES[name].at(result.requested_url, f"{responses.client.name}: {detail or result.failure}")


def _for_person(observations: Observations, responses: ClientResponses) -> Iterator[Finding]:
    for part in _PARTS:
        resource, result = part(observations), part(responses)
        others = [part(other) for other in observations.client_responses]
        if resource and result and result.refuses and (resource.get.ok or any(other and other.ok for other in others)):
            yield _finding("person-refused", responses, result)
    recordings = [other.audio for other in observations.client_responses if other.audio and other.audio.ok]
    audio = responses.audio
    if audio and audio.ok and audio.has_html_body and not all(recording.has_html_body for recording in recordings):
        yield _finding("challenged", responses, audio)


def _for_ai(interpretation: Interpretation, responses: ClientResponses, person: ClientResponses) -> Iterator[Finding]:
    for part in _PARTS:
        result: ProbeResult | None = part(responses)
        expected: ProbeResult | None = part(person)
        if result is None or expected is None or not expected.ok:
            continue
        if is_disguised(result, expected):
            yield _finding("disguised", responses, result)
            yield from _caching(responses, result)
        elif result.refuses:
            if result.status == 0 or result.status >= 500:
                yield _finding("server-error", responses, result)
            else:
                yield from _caching(responses, result)
            robots_result, robots = interpretation.robots_of(part(interpretation.observations))
            is_allowed = robots.google_allows(responses.client.agent, result.requested_url)
            if is_allowed and 200 <= robots_result.status < 500:
                yield _finding("allowed-by-robots", responses, result)
            if result is responses.audio and result.is_html:
                yield _finding("challenge-for-media", responses, result)
        elif result.ok and (missing := missing_headers(result, expected)):
            yield _finding("cloaked", responses, result, missing)
    for document in responses.documents:
        if document.refuses:
            yield _finding("document-refused", responses, document)


def is_disguised(result: ProbeResult, expected: ProbeResult) -> bool:
    """Return True if a response with 2xx is a refusal.

    That is a page instead of audio, a much shorter page with another title, or a page with words of a refusal that
    the expected one does not have.
    """
    if not result.ok or result.body == expected.body:
        return False
    if result.has_html_body and not expected.has_html_body:
        return True
    if not expected.has_html_body or result.media_type == "text/markdown":
        return False
    title, expected_title = (read_page(page.text, page.url).title.strip() for page in (result, expected))
    is_other_page = title != expected_title and len(result.body) * 2 < len(expected.body)
    return is_other_page or (_has_refusal_words(result, title) and not _has_refusal_words(expected, expected_title))


def _has_refusal_words(result: ProbeResult, title: str) -> bool:
    """Search the title of a page, and the text of a short one."""
    return bool(_REFUSAL_WORDS.search(f"{title} {result.text if len(result.body) < _MAX_SHORT_PAGE else ''}"))


def _caching(responses: ClientResponses, result: ProbeResult) -> Iterator[Finding]:
    control = ", ".join(result.values("cache-control")).lower()
    vary = {name.strip().lower() for line in result.values("vary") for name in line.split(",")}
    if re.search(r"no-store|no-cache|private", control) or vary & {"user-agent", "*"}:
        return
    is_fresh = bool(re.search(r"public|(?:max-age|s-maxage)=0*[1-9]", control) or result.values("expires"))
    if is_fresh or (not control and result.status in _CACHEABLE_BY_DEFAULT):
        detail = f"Cache-Control: {control}" if control else f"HTTP {result.status} without Cache-Control"
        yield _finding("cacheable", responses, result, detail)
    elif not control:
        yield _finding("no-cache-control", responses, result)
