"""All formats of logs, and which one a log has."""

from collections.abc import Sequence

from noai_guard.replay.addresses import likelihood
from noai_guard.replay.json_formats import CADDY, CLOUDFLARE, EVENTS, TRAEFIK
from noai_guard.replay.log_format import LogFormat, Row
from noai_guard.replay.named_keys import JSON
from noai_guard.replay.orders import in_its_own_order
from noai_guard.replay.text_formats import ALB, CLOUDFRONT, COMBINED, COMMON, HAPROXY, VHOST_COMBINED

MAX_SAMPLE_LINES = 400
"""Lines by which the format of a log is found."""

FORMATS: Sequence[LogFormat] = (
    VHOST_COMBINED, COMBINED, CADDY, HAPROXY, TRAEFIK, CLOUDFRONT, CLOUDFLARE, ALB, EVENTS, JSON, COMMON,
)  # fmt: skip
"""All formats; of several that read as many lines, the first counts."""

FORMAT_NAMES = tuple(each.name for each in FORMATS)

_MARGIN = 1.05
"""How much more a later format must find: a few odd lines decide nothing."""


def format_named(name: str, lines: Sequence[str]) -> LogFormat:
    """Return the format with a name, as these lines have it."""
    return next(each for each in FORMATS if each.name == name).fitted(lines)


def found_format(lines: Sequence[str]) -> LogFormat | None:
    """Return the format that finds most in the first lines of a log; None if none reads half of those with text."""
    own = in_its_own_order(lines)
    best, most, read = None, 0.0, 0
    for form in (*FORMATS, *([own] if own is not None else ())):
        fitted = form.fitted(lines)
        rows = [row for line in lines if not is_comment(fitted, line) and (row := fitted.read(line)) is not None]
        found = sum(map(_found, rows))
        if found > most * _MARGIN:
            best, most, read = fitted, found, len(rows)
    lines_with_text = sum(bool(line.strip()) and not line.startswith("#") for line in lines)
    return best if read * 2 >= lines_with_text else None


def _found(row: Row) -> int:
    """Return how much a format finds in a line: the request, the address of the client, the user agent."""
    address, *_, user_agent = row
    return 1 + likelihood(address or "") + (user_agent is not None)


def is_comment(form: LogFormat, line: str) -> bool:
    """Return True if a line holds no request and is not meant to."""
    if form.mark and "{" in line:
        return form.mark not in line
    return not line.strip() or bool(form.comment and line.startswith(form.comment))
