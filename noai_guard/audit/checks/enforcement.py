"""What each visitor really got, beside what robots.txt told it. Codes A601 to A614."""

import re
from collections.abc import Callable, Iterator

from noai_guard.audit.finding import Finding, Rule, RuleGroup, Severity
from noai_guard.audit.interpretation import Interpretation, is_page
from noai_guard.audit.probe.result import ProbeResult, Role, Visit
from noai_guard.audit.readers.html import read_page
from noai_guard.audit.statements import lacking

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
    "It does not learn that it is unwelcome: 4xx for robots.txt means that everything may be fetched (RFC 9309), 5xx "
    "and no answer that it should ask again.",
    "Exempt /robots.txt from every refusal and bot check.",
)  # fmt: skip
_PERSON_REFUSED = Rule(
    "A604", Severity.ERROR,
    "People's software is refused",
    "A browser, podcast app or link preview gets an error where others are served.",
    "Refuse by name of the crawler, never everything that is no browser.",
)  # fmt: skip
_SEARCH_REFUSED = Rule(
    "A605", Severity.NOTE,
    "Googlebot's name is refused",
    "The audit only borrows the name. A site that checks addresses refuses the audit and serves the real one; a site "
    "that does not drops out of the search.",
    "Look into the site's search console whether Google can fetch it.",
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
_SILENT_ON_CACHING = Rule(
    "A608", Severity.NOTE,
    "A refusal does not say that it must not be cached",
    "Some CDNs keep errors for a while on their own account.",
    "Cache-Control: no-store with every refusal.",
)  # fmt: skip
_SAID_OPEN = Rule(
    "A609", Severity.WARNING,
    "robots.txt invites whom the server refuses",
    "What is said differs from what is done: an obedient crawler comes, is refused and comes again.",
    "Name the crawler in robots.txt with Disallow: /.",
)  # fmt: skip
_DOCUMENT_REFUSED = Rule(
    "A610", Severity.WARNING,
    "A refused crawler cannot read the declarations",
    "Files such as tdmrep.json and the licence are for those who are not let in; who cannot read them can say so.",
    "Exempt /.well-known/, the licence and policy pages from refusals.",
)  # fmt: skip
_UNNAMED_REFUSED = Rule(
    "A611", Severity.WARNING,
    "Clients without a user agent cannot read the declarations",
    "Simple readers of robots.txt and tdmrep.json send no User-Agent line.",
    "Exempt /robots.txt, /.well-known/ and the licence from checks of the user agent.",
)  # fmt: skip
_CLOAKED = Rule(
    "A612", Severity.WARNING,
    "Crawlers get fewer declarations than a browser",
    "Those whom the lines are meant for do not get them.",
    "Send the declaring header lines to everybody.",
)  # fmt: skip
_CUT_OFF = Rule(
    "A613", Severity.WARNING,
    "A crawler is refused with a server error, or without an answer",
    "It takes the server for broken and tries again; nothing tells it that it is unwelcome.",
    "Refuse with 403.",
)  # fmt: skip
_CHALLENGE_FOR_MEDIA = Rule(
    "A614", Severity.NOTE,
    "A request for audio is refused with an HTML page",
    "A program that asks for a range of audio cannot use it; a challenge there also meets players that are not known.",
    "Answer requests for media with a short text, whoever asks.",
)  # fmt: skip

_REFUSAL_WORDS = re.compile(
    r"\b(?:denied|forbidden|not (?:allowed|welcome)|unauthori[sz]ed|blocked|captcha|just a moment|attention required|"
    r"are you (?:a )?human|verify(?:ing)? (?:that )?you are|checking your browser|unusual traffic|"
    r"(?:bot|security) (?:check|verification))\b",
    re.IGNORECASE,
)
_KEPT_BY_CACHES = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
"""Status codes that are cacheable by default (RFC 9110, 15.1; 206 is left out, it is no refusal)."""


def _check(reading: Interpretation) -> Iterator[Finding]:
    people = [visit for visit in reading.seen.visits if visit.visitor.role is Role.PERSON]
    if not people:
        return
    usual = next((visit for visit in people if visit.page.ok), people[0])
    for visit in reading.seen.visits:
        if visit.visitor.role is Role.PERSON:
            yield from _of_person(reading, visit)
        elif visit.visitor.role is Role.SEARCH:
            yield from _of_search(reading, visit)
        else:
            yield from _of_ai(reading, visit, usual)
        if visit.robots is not None and visit.robots.refuses and not reading.seen.robots.refuses:
            yield _ROBOTS_REFUSED.at(visit.robots.asked, _got(visit, visit.robots))
    for look in reading.seen.unnamed:
        if look.refuses:
            yield _UNNAMED_REFUSED.at(look.asked, f"HTTP {look.status}" if look.status else look.problem)
    for resource, of in ((reading.seen.page, _page_of), (reading.seen.audio, _audio_of)):
        served = [visit.visitor.name for visit in reading.seen.visits if _is_served(visit, usual, of)]
        if resource and served and reading.says_no_of(resource):
            yield _ONLY_DECLARED.at(resource.get.asked, f"served: {', '.join(served)}")


def _got(visit: Visit, look: ProbeResult) -> str:
    return f"{visit.visitor.name}: " + (f"HTTP {look.status}" if look.status else look.problem)


def _of_person(reading: Interpretation, visit: Visit) -> Iterator[Finding]:
    everyones = [(reading.seen.page.get, visit.page)]
    if reading.seen.audio and visit.audio:
        everyones.append((reading.seen.audio.get, visit.audio))
    for usual, look in everyones:
        others = [other.page if look is visit.page else other.audio for other in reading.seen.visits]
        someone_is_served = usual.ok or any(other and other.ok for other in others)
        if look.refuses and someone_is_served:
            yield _PERSON_REFUSED.at(look.asked, _got(visit, look))
    someone_hears = any(other.audio and other.audio.ok and not is_page(other.audio) for other in reading.seen.visits)
    if someone_hears and visit.audio and visit.audio.ok and is_page(visit.audio):
        yield _CHALLENGED.at(visit.audio.asked, _got(visit, visit.audio))


def _of_search(reading: Interpretation, visit: Visit) -> Iterator[Finding]:
    if visit.page.refuses and reading.seen.page.get.ok:
        yield _SEARCH_REFUSED.at(visit.page.asked, _got(visit, visit.page))


def _of_ai(reading: Interpretation, visit: Visit, person: Visit) -> Iterator[Finding]:
    for look, usual in _pairs(visit, person):
        if not usual.ok:
            continue
        if is_disguised(look, usual):
            yield _DISGUISED.at(look.asked, _got(visit, look))
            yield from _caching(visit, look)
        elif look.refuses:
            if look.status == 0 or look.status >= 500:
                yield _CUT_OFF.at(look.asked, _got(visit, look))
            else:
                yield from _caching(visit, look)
            if _invited(reading, visit, look):
                yield _SAID_OPEN.at(look.asked, _got(visit, look))
            if look is visit.audio and look.is_html:
                yield _CHALLENGE_FOR_MEDIA.at(look.asked, _got(visit, look))
        elif look.ok and (found := lacking(look, usual)):
            yield _CLOAKED.at(look.asked, f"{visit.visitor.name}: {found}")
    for document in visit.documents:
        if document.refuses:
            yield _DOCUMENT_REFUSED.at(document.asked, _got(visit, document))


def _pairs(visit: Visit, person: Visit) -> Iterator[tuple[ProbeResult, ProbeResult]]:
    """What a visitor got beside what a person's client got."""
    yield visit.page, person.page
    if visit.audio and person.audio:
        yield visit.audio, person.audio


def _invited(reading: Interpretation, visit: Visit, look: ProbeResult) -> bool:
    """Whether robots.txt lets the visitor fetch what the server refuses."""
    answer = reading.seen.robots
    robots = reading.robots
    if look is visit.audio and reading.seen.audio_robots:
        answer, robots = reading.seen.audio_robots, reading.audio_robots
    return 200 <= answer.status < 500 and robots.google_allows(visit.visitor.agent, look.asked)


def is_disguised(look: ProbeResult, usual: ProbeResult) -> bool:
    """Whether an answer with 2xx is a refusal.

    It is when a page comes for audio, a much shorter page with another title, or one with words of a refusal that
    the usual one has not.
    """
    if not look.ok or look.body == usual.body:
        return False
    if is_page(look) and not is_page(usual):
        return True
    if not is_page(usual) or look.media_type == "text/markdown":
        return False
    title, usual_title = (read_page(answer.text, answer.url).title.strip() for answer in (look, usual))
    is_other_page = title != usual_title and len(look.body) * 2 < len(usual.body)
    return is_other_page or bool(_words(look, title) and not _words(usual, usual_title))


def _words(look: ProbeResult, title: str) -> str:
    """The words of a refusal in the title of a page, or in the text of a short answer."""
    said = f"{title} {look.text if len(look.body) < 4096 else ''}"
    found = _REFUSAL_WORDS.search(said)
    return found[0] if found else ""


def _caching(visit: Visit, look: ProbeResult) -> Iterator[Finding]:
    control = ", ".join(look.values("cache-control")).lower()
    varies = {word.strip().lower() for line in look.values("vary") for word in line.split(",")}
    if re.search(r"no-store|no-cache|private", control) or varies & {"user-agent", "*"}:
        return
    is_fresh = bool(re.search(r"public|(?:max-age|s-maxage)=0*[1-9]", control) or look.values("expires"))
    if is_fresh or (not control and look.status in _KEPT_BY_CACHES):
        found = f"Cache-Control: {control}" if control else f"HTTP {look.status} without Cache-Control"
        yield _CACHEABLE.at(look.asked, f"{visit.visitor.name}: {found}")
    elif not control:
        yield _SILENT_ON_CACHING.at(look.asked, _got(visit, look))


def _page_of(visit: Visit) -> ProbeResult | None:
    return visit.page


def _audio_of(visit: Visit) -> ProbeResult | None:
    return visit.audio


def _is_served(visit: Visit, person: Visit, of: Callable[[Visit], ProbeResult | None]) -> bool:
    """Whether an AI crawler got what a person's client got."""
    look, usual = of(visit), of(person)
    if visit.visitor.role is not Role.AI or look is None or usual is None:
        return False
    return look.ok and not is_disguised(look, usual)


FAMILY = RuleGroup(
    "Who gets what",
    (
        _ONLY_DECLARED, _DISGUISED, _ROBOTS_REFUSED, _PERSON_REFUSED, _SEARCH_REFUSED, _CHALLENGED, _CACHEABLE,
        _SILENT_ON_CACHING, _SAID_OPEN, _DOCUMENT_REFUSED, _UNNAMED_REFUSED, _CLOAKED, _CUT_OFF, _CHALLENGE_FOR_MEDIA,
    ),
    _check,
)  # fmt: skip
