"""robots.txt as a response: status, type, size and form. Codes A101 to A109."""

from collections.abc import Iterator

from noai_guard.audit.finding import Finding, read_rules
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import ProbeResult
from noai_guard.core.web_addresses import origin_of
from noai_guard.declarations.shared.robots_file import MAX_BYTES

RULES = read_rules("robots_response")


def check(interpretation: Interpretation) -> Iterator[Finding]:
    for result, _ in interpretation.robots_files:
        yield from _status(result)
        if result.ok and result.has_html_body:
            yield RULES["html"].at(result.url, result.text[:80])
        elif result.ok:
            if result.media_type != "text/plain":
                yield RULES["media-type"].at(result.url, result.content_type_line)
            if len(result.body) > MAX_BYTES:
                yield RULES["too-large"].at(result.url)
            if result.body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
                yield RULES["byte-order-mark"].at(result.url, line=1)


def _status(result: ProbeResult) -> Iterator[Finding]:
    if result.status in (404, 410):
        yield RULES["missing"].at(result.requested_url, f"HTTP {result.status}")
    elif 400 <= result.status < 500:
        yield RULES["refused"].at(result.requested_url, f"HTTP {result.status}")
    elif 300 <= result.status < 400:
        count = len(result.redirects)
        detail = f"{count} redirects, the last to {result.redirects[-1].location}" if count else result.failure
        yield RULES["redirect-loop"].at(result.requested_url, detail)
    elif not result.ok:
        yield RULES["unreachable"].at(result.requested_url, result.failure)
    hosts = {origin_of(url).partition("://")[2] for url in (result.requested_url, result.url)}
    if result.ok and len(hosts) > 1:
        yield RULES["redirect-to-other-host"].at(result.requested_url, f"leads to {result.url}")
