"""robots.txt as an answer: what its status, type, size and form make of it. Codes A101 to A109."""

from collections.abc import Iterator

from noai_guard.audit.addresses import origin_of
from noai_guard.audit.finding import Finding, Rule, RuleGroup, Severity
from noai_guard.audit.interpretation import Interpretation, is_page
from noai_guard.audit.probe.result import ProbeResult
from noai_guard.declarations.robots_txt import MAX_BYTES

_REFUSED = Rule(
    "A101", Severity.ERROR,
    "robots.txt is answered with a refusal (4xx)",
    "RFC 9309: when robots.txt answers 400 to 499, a crawler may fetch everything. Whatever the file says is not read.",
    "Serve /robots.txt to everybody with 200, before any login, firewall or bot check.",
)  # fmt: skip
_MISSING = Rule(
    "A102", Severity.WARNING,
    "There is no robots.txt",
    "Without one every crawler may fetch everything. It is the declaration that most AI crawlers say they obey.",
    "Publish a robots.txt; noai-guard build writes one.",
)  # fmt: skip
_FAILS = Rule(
    "A103", Severity.ERROR,
    "robots.txt cannot be fetched (5xx, or no answer)",
    "RFC 9309: crawlers must then assume that everything is closed. Search engines stop visiting, and drop the site "
    "when it lasts.",
    "Serve /robots.txt as a plain file that needs no application behind it.",
)  # fmt: skip
_REDIRECTS = Rule(
    "A104", Severity.ERROR,
    "robots.txt redirects without end",
    "Crawlers follow five redirects and then take the file for missing, so everything is open.",
    "Serve /robots.txt at its own address, without redirects.",
)  # fmt: skip
_ELSEWHERE = Rule(
    "A105", Severity.NOTE,
    "robots.txt redirects to another host",
    "Its rules then hold for the host that was asked. Some crawlers do not follow redirects to other hosts.",
    "Serve a robots.txt on each host itself.",
)  # fmt: skip
_TYPE = Rule(
    "A106", Severity.WARNING,
    "robots.txt is not text/plain",
    "RFC 9309 asks for text/plain; some crawlers discard other types.",
    "Send Content-Type: text/plain; charset=utf-8.",
)  # fmt: skip
_SIZE = Rule(
    "A107", Severity.ERROR,
    "robots.txt is larger than 500 KiB",
    "Crawlers need to read only the first 500 KiB (RFC 9309, 2.5); what stands behind does not count.",
    "Shorten it: several User-agent lines may share one group, and /* patterns replace lists of files.",
)  # fmt: skip
_MARK = Rule(
    "A108", Severity.WARNING,
    "robots.txt begins with a byte-order mark",
    "Several parsers read the mark as part of the first line, so the first group is lost.",
    "Save the file as UTF-8 without a byte-order mark.",
)  # fmt: skip
_PAGE = Rule(
    "A109", Severity.ERROR,
    "robots.txt is an HTML page",
    "It has no rules, so everything may be crawled. Often an application answers every unknown address with a page.",
    "Serve the text file itself at /robots.txt.",
)  # fmt: skip


def _check(reading: Interpretation) -> Iterator[Finding]:
    seen = reading.seen
    for look in (seen.robots, seen.audio_robots):
        if look is not None:
            yield from _of_status(look)
            if look.ok:
                yield from _of_form(look)


def _of_status(look: ProbeResult) -> Iterator[Finding]:
    if look.status in (404, 410):
        yield _MISSING.at(look.asked, f"HTTP {look.status}")
    elif 400 <= look.status < 500:
        yield _REFUSED.at(look.asked, f"HTTP {look.status}")
    elif 300 <= look.status < 400:
        yield _REDIRECTS.at(look.asked, f"{len(look.hops)} redirects, the last to {look.hops[-1].location}"
                            if look.hops else f"HTTP {look.status}")  # fmt: skip
    elif not look.ok:
        yield _FAILS.at(look.asked, f"HTTP {look.status}" if look.status else look.problem)
    if look.ok and origin_of(look.asked).partition("://")[2] != origin_of(look.url).partition("://")[2]:
        yield _ELSEWHERE.at(look.asked, f"leads to {look.url}")


def _of_form(look: ProbeResult) -> Iterator[Finding]:
    if is_page(look):
        yield _PAGE.at(look.url, look.text[:80])
        return
    if look.media_type != "text/plain":
        yield _TYPE.at(look.url, f"Content-Type: {look.first('content-type') or 'not sent'}")
    if len(look.body) > MAX_BYTES:
        yield _SIZE.at(look.url)
    if look.body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        yield _MARK.at(look.url, line=1)


FAMILY = RuleGroup(
    "robots.txt as an answer",
    (_REFUSED, _MISSING, _FAILS, _REDIRECTS, _ELSEWHERE, _TYPE, _SIZE, _MARK, _PAGE),
    _check,
)
