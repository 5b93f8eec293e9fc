"""Enforcement: what each client gets, compared with what robots.txt says to it. Codes A601 to A614."""

import re
from collections.abc import Iterator

from noai_guard.audit.finding import Finding, Rule, Severity
from noai_guard.audit.interpretation import Interpretation, is_html_page
from noai_guard.audit.probe.result import ClientResponses, ClientType, Observations, ProbeResult
from noai_guard.audit.readers.html import read_page
from noai_guard.audit.rule_group import RuleGroup
from noai_guard.audit.statements import missing_headers

_ONLY_DECLARED = Rule(
    "A601", Severity.WARNING,
    "The reservation is declared, not enforced",
    "The site says no to training and serves crawlers for training all the same. That is a request, which those who "
    "ignore declarations ignore.",
    "Refuse them with 403: app.add_middleware(NoAIMiddleware), or rules in the server in front.",
)  # fmt: skip
_DISGUISED = Rule(
    "A602", Severity.ERROR,
    "A refusal is sent with 200",
    "A crawler takes the page for content: it stores it under the recording's address and comes again. Proxies that "
    "ask for a verdict read 200 as let in.",
    "Refuse with 403.",
)  # fmt: skip
_ROBOTS_REFUSED = Rule(
    "A603", Severity.ERROR,
    "A crawler is refused robots.txt",
    "It does not learn that it is unwelcome: 4xx for robots.txt means that everything may be fetched (RFC 9309); 5xx "
    "and no answer mean that it should try again.",
    "Exempt /robots.txt from every refusal and bot check.",
)  # fmt: skip
_PERSON_REFUSED = Rule(
    "A604", Severity.ERROR,
    "People's software is refused",
    "A browser, podcast app or link preview gets an error although others are served.",
    "Refuse crawlers by name, never everything that is not a browser.",
)  # fmt: skip
_SEARCH_REFUSED = Rule(
    "A605", Severity.NOTE,
    "Googlebot's name is refused",
    "The audit only borrows the name. A site that checks addresses refuses the audit and serves the real one; a site "
    "that does not drops out of the search.",
    "Check in the site's search console whether Google can fetch it.",
)  # fmt: skip
_CHALLENGED = Rule(
    "A606", Severity.ERROR,
    "A player gets an HTML page instead of audio",
    "Players and podcast apps run no scripts: a challenge page ends in an error, or a download of the page.",
    "Exempt audio and feeds from challenges.",
)  # fmt: skip
_CACHEABLE = Rule(
    "A607", Severity.WARNING,
    "A refusal may be cached and served to others",
    "It says how long it is fresh, or has a status that caches keep, and does not vary by User-Agent: a shared cache "
    "may hand it to a listener.",
    "Cache-Control: no-store with every refusal.",
)  # fmt: skip
_NO_CACHE_CONTROL = Rule(
    "A608", Severity.NOTE,
    "A refusal does not say that it must not be cached",
    "Some CDNs cache errors for a while on their own.",
    "Cache-Control: no-store with every refusal.",
)  # fmt: skip
_ALLOWED_BY_ROBOTS = Rule(
    "A609", Severity.WARNING,
    "robots.txt allows a crawler that the server refuses",
    "The declaration differs from the enforcement: an obedient crawler comes, is refused and comes again.",
    "Name the crawler in robots.txt with Disallow: /.",
)  # fmt: skip
_DOCUMENT_REFUSED = Rule(
    "A610", Severity.WARNING,
    "A refused crawler cannot read the declarations",
    "Files such as tdmrep.json and the licence are for clients that are refused: they must be able to read the terms.",
    "Exempt /.well-known/, the licence and policy pages from refusals.",
)  # fmt: skip
_NO_USER_AGENT_REFUSED = Rule(
    "A611", Severity.WARNING,
    "Clients without a user agent cannot read the declarations",
    "Simple readers of robots.txt and tdmrep.json send no User-Agent line.",
    "Exempt /robots.txt, /.well-known/ and the licence from checks of the user agent.",
)  # fmt: skip
_CLOAKED = Rule(
    "A612", Severity.WARNING,
    "Crawlers get fewer declarations than a browser",
    "The clients that the headers are meant for do not get them.",
    "Send the declaring headers to every client.",
)  # fmt: skip
_SERVER_ERROR = Rule(
    "A613", Severity.WARNING,
    "A crawler is refused with a server error, or without an answer",
    "It assumes that the server is broken and tries again; nothing tells it that it is unwelcome.",
    "Refuse with 403.",
)  # fmt: skip
_CHALLENGE_FOR_MEDIA = Rule(
    "A614", Severity.NOTE,
    "A request for audio is refused with an HTML page",
    "A program that requests a range of audio cannot use it; such a challenge also hits unknown players.",
    "Answer refused requests for media with a short text.",
)  # fmt: skip

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


def _check(interpretation: Interpretation) -> Iterator[Finding]:
    observations = interpretation.observations
    people = [responses for responses in observations.client_responses if responses.client.type is ClientType.PERSON]
    if not people:
        return
    person = next((responses for responses in people if responses.page.ok), people[0])
    for responses in observations.client_responses:
        if responses.client.type is ClientType.PERSON:
            yield from _for_person(observations, responses)
        elif responses.client.type is ClientType.SEARCH:
            yield from _for_search(observations, responses)
        else:
            yield from _for_ai(interpretation, responses, person)
        if responses.robots is not None and responses.robots.refuses and not observations.robots.refuses:
            yield _ROBOTS_REFUSED.at(responses.robots.requested_url, _described(responses, responses.robots))
    for result in observations.without_user_agent:
        if result.refuses:
            yield _NO_USER_AGENT_REFUSED.at(result.requested_url, result.failure)
    for resource, result_of in ((observations.page, _page_of), (observations.audio, _audio_of)):
        served = [
            responses.client.name
            for responses in observations.client_responses
            if responses.client.type is ClientType.AI and _is_served(result_of(responses), result_of(person))
        ]
        if resource and served and interpretation.reserves_training(resource):
            yield _ONLY_DECLARED.at(resource.get.requested_url, f"served: {', '.join(served)}")


def _described(responses: ClientResponses, result: ProbeResult) -> str:
    return f"{responses.client.name}: {result.failure}"


def _for_person(observations: Observations, responses: ClientResponses) -> Iterator[Finding]:
    for resource, result_of in ((observations.page, _page_of), (observations.audio, _audio_of)):
        result = result_of(responses)
        if resource is None or result is None:
            continue
        others = [result_of(other) for other in observations.client_responses]
        if result.refuses and (resource.get.ok or any(other and other.ok for other in others)):
            yield _PERSON_REFUSED.at(result.requested_url, _described(responses, result))
    anyone_gets_audio = any(
        other.audio and other.audio.ok and not is_html_page(other.audio) for other in observations.client_responses
    )
    if anyone_gets_audio and responses.audio and responses.audio.ok and is_html_page(responses.audio):
        yield _CHALLENGED.at(responses.audio.requested_url, _described(responses, responses.audio))


def _for_search(observations: Observations, responses: ClientResponses) -> Iterator[Finding]:
    if responses.page.refuses and observations.page.get.ok:
        yield _SEARCH_REFUSED.at(responses.page.requested_url, _described(responses, responses.page))


def _for_ai(interpretation: Interpretation, responses: ClientResponses, person: ClientResponses) -> Iterator[Finding]:
    for result, expected in ((responses.page, person.page), (responses.audio, person.audio)):
        if result is None or expected is None or not expected.ok:
            continue
        if is_disguised(result, expected):
            yield _DISGUISED.at(result.requested_url, _described(responses, result))
            yield from _caching(responses, result)
        elif result.refuses:
            if result.status == 0 or result.status >= 500:
                yield _SERVER_ERROR.at(result.requested_url, _described(responses, result))
            else:
                yield from _caching(responses, result)
            if _robots_allow(interpretation, responses, result):
                yield _ALLOWED_BY_ROBOTS.at(result.requested_url, _described(responses, result))
            if result is responses.audio and result.is_html:
                yield _CHALLENGE_FOR_MEDIA.at(result.requested_url, _described(responses, result))
        elif result.ok and (missing := missing_headers(result, expected)):
            yield _CLOAKED.at(result.requested_url, f"{responses.client.name}: {missing}")
    for document in responses.documents:
        if document.refuses:
            yield _DOCUMENT_REFUSED.at(document.requested_url, _described(responses, document))


def _robots_allow(interpretation: Interpretation, responses: ClientResponses, result: ProbeResult) -> bool:
    """Return True if robots.txt allows the client to fetch what the server refuses."""
    robots_result, robots = interpretation.observations.robots, interpretation.robots
    if result is responses.audio and interpretation.observations.audio_robots:
        robots_result, robots = interpretation.observations.audio_robots, interpretation.audio_robots
    return 200 <= robots_result.status < 500 and robots.google_allows(responses.client.agent, result.requested_url)


def is_disguised(result: ProbeResult, expected: ProbeResult) -> bool:
    """Return True if a response with 2xx is a refusal.

    That is a page instead of audio, a much shorter page with another title, or a page with words of a refusal that
    the expected one does not have.
    """
    if not result.ok or result.body == expected.body:
        return False
    if is_html_page(result) and not is_html_page(expected):
        return True
    if not is_html_page(expected) or result.media_type == "text/markdown":
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
        yield _CACHEABLE.at(result.requested_url, f"{responses.client.name}: {detail}")
    elif not control:
        yield _NO_CACHE_CONTROL.at(result.requested_url, _described(responses, result))


def _page_of(responses: ClientResponses) -> ProbeResult | None:
    return responses.page


def _audio_of(responses: ClientResponses) -> ProbeResult | None:
    return responses.audio


def _is_served(result: ProbeResult | None, expected: ProbeResult | None) -> bool:
    """Return True if a client gets what people's software gets."""
    return result is not None and expected is not None and result.ok and not is_disguised(result, expected)


RULE_GROUP = RuleGroup(
    "Who gets what",
    (
        _ONLY_DECLARED, _DISGUISED, _ROBOTS_REFUSED, _PERSON_REFUSED, _SEARCH_REFUSED, _CHALLENGED, _CACHEABLE,
        _NO_CACHE_CONTROL, _ALLOWED_BY_ROBOTS, _DOCUMENT_REFUSED, _NO_USER_AGENT_REFUSED, _CLOAKED, _SERVER_ERROR,
        _CHALLENGE_FOR_MEDIA,
    ),
    _check,
)  # fmt: skip
