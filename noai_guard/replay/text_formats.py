"""Formats of plain lines."""

import re
from collections.abc import Sequence
from dataclasses import replace

from noai_guard.replay.addresses import OF_A_LIST
from noai_guard.replay.log_format import (
    LogFormat,
    clf_seconds,
    iso_seconds,
    percent_decoded,
    without_backslashes,
    without_hashes,
)

PRODUCT = re.compile(r"Mozilla/|(?!HTTP/)[A-Za-z][\w.+-]*/[0-9.]+(?: |\Z)")
"""How most user agents begin."""

# Unrolled, because some engines recurse for each round of an alternative.
QUOTED = r'[^"\\]*(?:\\.[^"\\]*)*'
END = "(?:[ \t\r]|$)"
"""What stands behind a quoted text. Where it is anything else, a quote was not escaped: the user agent is not known."""

REQUEST = rf'"(?P<method>[^ "\\]+) (?P<target>(?:[^ "\\]|\\.)[^ "\\]*(?:\\.[^ "\\]*)*)(?: {QUOTED})?"'


def _clf_head(address: str) -> str:
    """Return the expression of a line up to its number of bytes, with that of an address, or of the first of a list."""
    return (
        rf'(?P<address>{address}),? [^ ]+ [^\["]+\[(?P<time>[^\]]+)\] '
        rf"{REQUEST} (?P<status>[0-9]{{3}}) (?P<bytes>[0-9]+|-)"
    )


_CLF_HEAD = _clf_head('[^ ,"]+')
_CLF_TAIL = rf' "(?P<referer>{QUOTED})" "(?P<user_agent>{QUOTED})"{END}'


def _with_lists(form: LogFormat, lines: Sequence[str]) -> LogFormat:
    """Return a format that says if lists of addresses stand where the client's should."""
    return replace(form, records=OF_A_LIST) if any("," in line.partition(" ")[0] for line in lines) else form


COMBINED = LogFormat(
    "combined", "combined (nginx, Apache, Traefik)", without_backslashes, clf_seconds,
    pattern=f"^{_CLF_HEAD}{_CLF_TAIL}", quoted=True, fit=_with_lists,
)  # fmt: skip
VHOST_COMBINED = replace(
    COMBINED,
    name="vhost_combined",
    title="vhost_combined (Apache)",
    pattern=r"^[^ ]+:[0-9]+ " + _clf_head('[^ ,"]*[.:][^ ,"]*') + _CLF_TAIL,
)
COMMON = replace(COMBINED, name="common", title="common (Apache)", pattern=f'^{_CLF_HEAD}[^"]*$', quoted=False)

_CAPTURED = re.compile(r" \{([^}]*)\} (?:\{[^}]*\} )?\"")


def _with_captures(form: LogFormat, lines: Sequence[str]) -> LogFormat:
    """Return HAProxy's format with the captured header that most often begins like a user agent."""
    counts: dict[tuple[int, int], int] = {}
    for line in lines:
        if match := _CAPTURED.search(line):
            pieces = match[1].split("|")
            for index, piece in enumerate(pieces):
                counts[index, len(pieces)] = counts.get((index, len(pieces)), 0) + bool(PRODUCT.match(piece))
    if not counts or not any(counts.values()):
        return replace(form, pattern=form.pattern.replace("?P<user_agent>", "?:"))
    index, number = max(counts, key=counts.__getitem__)
    group = r"\|".join("(?P<user_agent>[^}|]*)" if at == index else "[^}|]*" for at in range(number))
    return replace(form, pattern=form.pattern.replace("(?P<user_agent>[^}]*)", group))


_HAPROXY_CAPTURES = r"(?:\{(?P<user_agent>[^}]*)\} )?(?:\{[^}]*\} )?"
HAPROXY = LogFormat(
    "haproxy", "HAProxy httplog", without_hashes, clf_seconds,
    pattern=r"^(?:.*? )??(?P<address>[^ ]+):[0-9]+ \[(?P<time>[^\]]+)\] [^ ]+ [^ ]+ [-+/0-9]+ "
    r"(?P<status>-?[0-9]+) (?P<bytes>\+?[0-9]+) "
    r'[^ ]+ [^ ]+ [^ ]{4} [0-9/+]+ [0-9/]+ ' + _HAPROXY_CAPTURES + r'"(?P<method>[^ "]+) (?P<target>[^ "]+)',
    fit=_with_captures,
)  # fmt: skip

ALB = LogFormat(
    "alb", "AWS Application Load Balancer", without_backslashes, iso_seconds,
    pattern=r"^(?:http|https|h2|grpcs|ws|wss) (?P<time>[^ ]+) [^ ]+ (?P<address>[^ ]+):[0-9]+ [^ ]+ [^ ]+ [^ ]+ [^ ]+ "
    r"(?P<status>[0-9]{3}) [^ ]+ [0-9]+ (?P<bytes>[0-9]+) " + REQUEST + rf' "(?P<user_agent>{QUOTED})"{END}',
)  # fmt: skip

_CLOUDFRONT = {
    "date": r"(?P<date>[0-9]{4}-[0-9][0-9]-[0-9][0-9])",
    "time": r"[0-9][0-9]:[0-9][0-9]:[0-9][0-9]",
    "sc-bytes": r"(?P<bytes>[0-9]+|-)",
    "c-ip": r"(?P<address>[^\t]+)",
    "cs-method": r"(?P<method>[^\t]+)",
    "cs-uri-stem": r"(?P<target>[^\t]+)",
    "sc-status": r"(?P<status>[0-9]{3})",
    "cs(referer)": r"(?P<referer>[^\t]*)",
    "cs(user-agent)": r"(?P<user_agent>[^\t]*)",
}
_CLOUDFRONT_FIELDS = (
    "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent)"
)


def _cloudfront_pattern(fields: str) -> str:
    """Return the expression for the fields that a `#Fields:` line names; `date` and `time` are one where they meet."""
    names = fields.lower().split()
    pattern = r"\t".join(_CLOUDFRONT.get(name, r"[^\t]*") for name in names)
    return "^" + pattern.replace(
        _CLOUDFRONT["date"] + r"\t" + _CLOUDFRONT["time"],
        r"(?P<time>[0-9]{4}-[0-9][0-9]-[0-9][0-9]\t[0-9][0-9]:[0-9][0-9]:[0-9][0-9])",
    ).replace("(?P<date>", "(?:")


def _with_named_fields(form: LogFormat, lines: Sequence[str]) -> LogFormat:
    """Return CloudFront's format with the fields that the log names."""
    named = next((line.partition(":")[2] for line in lines if line.lower().startswith("#fields:")), "")
    return replace(form, pattern=_cloudfront_pattern(named)) if named.strip() else form


CLOUDFRONT = LogFormat(
    "cloudfront", "CloudFront (W3C)", percent_decoded, lambda text: iso_seconds(text.replace("\t", "T")),
    pattern=_cloudfront_pattern(_CLOUDFRONT_FIELDS), targets_as_sent=True, comment="#", fit=_with_named_fields,
)  # fmt: skip
