"""robots.txt as a response: status, type, size and form. Codes A101 to A109."""

from collections.abc import Iterator

from noai_guard.audit.addresses import origin_of
from noai_guard.audit.finding import Finding, Rule, Severity
from noai_guard.audit.interpretation import Interpretation, is_html_page
from noai_guard.audit.probe.result import ProbeResult
from noai_guard.audit.rule_group import RuleGroup
from noai_guard.declarations.shared.robots_file import MAX_BYTES

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
_OTHER_HOST = Rule(
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
_BYTE_ORDER_MARK = Rule(
    "A108", Severity.WARNING,
    "robots.txt begins with a byte-order mark",
    "Several parsers read the mark as part of the first line, so the first group is lost.",
    "Save the file as UTF-8 without a byte-order mark.",
)  # fmt: skip
_HTML = Rule(
    "A109", Severity.ERROR,
    "robots.txt is an HTML page",
    "It has no rules, so everything may be crawled. Often an application answers every unknown address with a page.",
    "Serve the text file itself at /robots.txt.",
)  # fmt: skip


def _check(interpretation: Interpretation) -> Iterator[Finding]:
    observations = interpretation.observations
    for result in (observations.robots, observations.audio_robots):
        if result is not None:
            yield from _status(result)
            if result.ok:
                yield from _form(result)


def _status(result: ProbeResult) -> Iterator[Finding]:
    if result.status in (404, 410):
        yield _MISSING.at(result.requested_url, f"HTTP {result.status}")
    elif 400 <= result.status < 500:
        yield _REFUSED.at(result.requested_url, f"HTTP {result.status}")
    elif 300 <= result.status < 400:
        count = len(result.redirects)
        detail = f"{count} redirects, the last to {result.redirects[-1].location}" if count else result.failure
        yield _REDIRECTS.at(result.requested_url, detail)
    elif not result.ok:
        yield _FAILS.at(result.requested_url, result.failure)
    hosts = {origin_of(url).partition("://")[2] for url in (result.requested_url, result.url)}
    if result.ok and len(hosts) > 1:
        yield _OTHER_HOST.at(result.requested_url, f"leads to {result.url}")


def _form(result: ProbeResult) -> Iterator[Finding]:
    if is_html_page(result):
        yield _HTML.at(result.url, result.text[:80])
        return
    if result.media_type != "text/plain":
        yield _TYPE.at(result.url, f"Content-Type: {result.first('content-type') or 'not sent'}")
    if len(result.body) > MAX_BYTES:
        yield _SIZE.at(result.url)
    if result.body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        yield _BYTE_ORDER_MARK.at(result.url, line=1)


RULE_GROUP = RuleGroup(
    "robots.txt as an answer",
    (_REFUSED, _MISSING, _FAILS, _REDIRECTS, _OTHER_HOST, _TYPE, _SIZE, _BYTE_ORDER_MARK, _HTML),
    _check,
)
