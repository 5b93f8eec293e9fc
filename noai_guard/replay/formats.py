"""The lines that servers write: where in each stand address, request, status, bytes, user agent.

A text format is one regular expression that means the same to Python and to the engine; a JSON format is a function
from a parsed object. What servers escape is undone for each distinct value only, by `unescape`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote_to_bytes

FIELDS = ("address", "time", "method", "target", "status", "bytes", "referer", "user_agent")
"""What is read of a line. All are text as it stands in the line, None where the format does not have it."""

Row = tuple[str | None, ...]
"""The values of FIELDS."""

MAX_SAMPLE_LINES = 400
"""Lines by which the format of a log is found."""


_KINDS = {
    "text": '"',
    "filled": '"[^"]',
    "time": '(?:"[^"]|[1-9])',
    "number": "[0-9]{1,15}[,}]",
    "texts": r'\["',
}
"""Kind of a value -> how it begins; a number whole."""


@dataclass(frozen=True, slots=True)
class Key:
    """Where a field stands in a JSON object, if it stands there as usual: the same that `row` makes of it.

    `texts` is a list of which the first counts. A line without the key has the `default`, or is unusual if `needed`.
    """

    path: tuple[str, ...]
    kind: str
    needed: bool = False
    default: str | None = None

    @property
    def patterns(self) -> Sequence[str]:
        """The keys of the path, each with the beginning of its value."""
        *outer, last = self.path
        return (*(rf'"{name}":\{{' for name in outer), f'"{last}":{_KINDS[self.kind]}')


@dataclass(frozen=True, slots=True)
class LogFormat:
    """A form of lines.

    `pattern` has named groups of FIELDS (text formats), `row` makes the values from a JSON object, `keys` says where
    they stand in most objects. `unescape` returns
    the bytes that the client sent from a value in the line (of a target only if not `targets_as_sent`), `seconds` the
    time in seconds since 1970. Lines that begin with `comment` are none, nor are JSON objects without the text `mark`:
    other messages of the server. `quoted`: fields stand between double quotes as in the combined format, and a block
    without escaped quotes can be split there. `records` says what the log holds, if not every request.
    """

    name: str
    title: str
    unescape: Callable[[str], bytes]
    seconds: Callable[[str], float]
    pattern: str = ""
    row: Callable[[Mapping[str, Any]], Row] | None = None
    keys: Mapping[str, Key] = field(default_factory=dict)
    targets_as_sent: bool = False
    comment: str = ""
    mark: str = ""
    quoted: bool = False
    records: str = ""

    def target(self, text: str) -> bytes:
        """Return a target as the client sent it."""
        return _raw(text) if self.targets_as_sent else self.unescape(text)

    def read(self, line: str) -> Row | None:
        """Return the fields of a line, or None if it is not of this format."""
        if self.row is not None:
            return _json_row(line, self.row)
        match = re.match(self.pattern, line)
        if match is None:
            return None
        groups = match.groupdict()
        return tuple(groups.get(name) for name in FIELDS)


def _json_row(line: str, row: Callable[[Mapping[str, Any]], Row]) -> Row | None:
    """Return the fields of a line that is a JSON object; None if it is not, or lacks what must be there."""
    try:
        values = row(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return None
    address, _, method, target, status, *_ = values
    return values if None not in (address, method, target, status) else None


_BACKSLASH = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"b": b"\b", b"a": b"\a", b"f": b"\f"}


def _raw(text: str) -> bytes:
    """Return the bytes of a value: blocks that are not UTF-8 are read as Latin-1, and so are all that are not ASCII."""
    return text.encode("latin-1", "replace")


def _without_backslashes(text: str) -> bytes:
    r"""Undo what nginx (`\xHH`) and Apache and Go (`\xhh`, `\"`, `\\`, `\n`) write for bytes they do not print."""
    raw = _raw(text)
    if b"\\" not in raw:
        return raw
    return _BACKSLASH.sub(lambda m: bytes([int(m[1], 16)]) if m[1] else _LETTERS.get(m[2], m[2]), raw)


_HASH = re.compile(rb"#([0-9A-Fa-f]{2})")


def _without_hashes(text: str) -> bytes:
    """Undo HAProxy's `#XX`, which it writes for bytes that it does not print, and for `"`, `#`, `{`, `|`, `}`."""
    return _HASH.sub(lambda m: bytes([int(m[1], 16)]), _raw(text))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _percent_decoded(text: str) -> bytes:
    """Undo CloudFront's percent-encoding, which older logs have twice (`%2520`)."""
    return unquote_to_bytes(text.replace("%25", "%"))


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLF_TIME = re.compile(
    r"([0-9]{2})/(\w{3})/([0-9]{4}):([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?: ([+-])([0-9]{2})([0-9]{2}))?"
)


def _clf_seconds(text: str) -> float:
    """Return the time that stands in text like `10/Oct/2026:13:55:36 -0700`; without a zone, UTC. Raises ValueError."""
    match = _CLF_TIME.search(text)
    if match is None or match[2] not in _MONTHS:
        raise ValueError(text)
    day, month, year, hour, minute, second, sign, hours, minutes = match.groups()
    moment = datetime(
        int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), min(int(second), 59), tzinfo=UTC
    )
    offset = (int(hours) * 3600 + int(minutes) * 60) * (-1 if sign == "-" else 1) if sign else 0
    return moment.timestamp() - offset


def _iso_seconds(text: str) -> float:
    """Return the time of an ISO 8601 text, or of seconds or nanoseconds since 1970. Raises ValueError."""
    try:
        number = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0 <= number < 1e20:
        raise ValueError(text)
    while number > 1e11:
        number /= 1000
    return number


# Unrolled, because some engines recurse for each round of an alternative.
_QUOTED = r'[^"\\]*(?:\\.[^"\\]*)*'
_REQUEST = rf'"(?P<method>[^ "\\]+) (?P<target>(?:[^ "\\]|\\.)[^ "\\]*(?:\\.[^ "\\]*)*)(?: {_QUOTED})?"'
_CLF_HEAD = (
    r'(?P<address>[^ ]+) [^ ]+ [^\["]+\[(?P<time>[^\]]+)\] ' + _REQUEST + r" (?P<status>[0-9]{3}) (?P<bytes>[0-9]+|-)"
)
_CLF_TAIL = rf' "(?P<referer>{_QUOTED})" "(?P<user_agent>{_QUOTED})"'

COMBINED = LogFormat(
    "combined", "combined (nginx, Apache, Traefik)", _without_backslashes, _clf_seconds,
    pattern=f"^{_CLF_HEAD}{_CLF_TAIL}", quoted=True,
)  # fmt: skip
VHOST_COMBINED = replace(
    COMBINED,
    name="vhost_combined",
    title="vhost_combined (Apache)",
    pattern=rf"^[^ ]+:[0-9]+ {_CLF_HEAD.replace('[^ ]+', '[^ ]*[.:][^ ]*', 1)}{_CLF_TAIL}",
)
COMMON = replace(COMBINED, name="common", title="common (Apache)", pattern=f"^{_CLF_HEAD}", quoted=False)

_HAPROXY_CAPTURES = r"(?:\{(?P<user_agent>[^}]*)\} )?(?:\{[^}]*\} )?"
HAPROXY = LogFormat(
    "haproxy", "HAProxy httplog", _without_hashes, _clf_seconds,
    pattern=r"^(?:.*? )??(?P<address>[^ ]+):[0-9]+ \[(?P<time>[^\]]+)\] [^ ]+ [^ ]+ [-+/0-9]+ "
    r"(?P<status>-?[0-9]+) (?P<bytes>\+?[0-9]+) "
    r'[^ ]+ [^ ]+ [^ ]{4} [0-9/+]+ [0-9/]+ ' + _HAPROXY_CAPTURES + r'"(?P<method>[^ "]+) (?P<target>[^ "]+)',
)  # fmt: skip

ALB = LogFormat(
    "alb", "AWS Application Load Balancer", _without_backslashes, _iso_seconds,
    pattern=r"^(?:http|https|h2|grpcs|ws|wss) (?P<time>[^ ]+) [^ ]+ (?P<address>[^ ]+):[0-9]+ [^ ]+ [^ ]+ [^ ]+ [^ ]+ "
    r"(?P<status>[0-9]{3}) [^ ]+ [0-9]+ (?P<bytes>[0-9]+) " + _REQUEST + rf' "(?P<user_agent>{_QUOTED})"',
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


CLOUDFRONT = LogFormat(
    "cloudfront", "CloudFront (W3C)", _percent_decoded, lambda text: _iso_seconds(text.replace("\t", "T")),
    pattern=_cloudfront_pattern(_CLOUDFRONT_FIELDS), targets_as_sent=True, comment="#",
)  # fmt: skip


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _first(values: Any) -> str:
    """Return what a header field holds, an empty text if it was not sent."""
    return str(values[0]) if values else ""


def _caddy(line: Mapping[str, Any]) -> Row:
    request = line["request"]
    headers = request.get("headers", {})
    return (
        request.get("client_ip") or request["remote_ip"], _text(line.get("ts")), request["method"], request["uri"],
        _text(line["status"]), _text(line.get("size")), _first(headers.get("Referer")),
        _first(headers.get("User-Agent")),
    )  # fmt: skip


_CADDY_KEYS = {
    "address": Key(("request", "client_ip"), "filled", needed=True),
    "time": Key(("ts",), "time", needed=True),
    "method": Key(("request", "method"), "text", needed=True),
    "target": Key(("request", "uri"), "text", needed=True),
    "status": Key(("status",), "number", needed=True),
    "bytes": Key(("size",), "number"),
    "referer": Key(("request", "headers", "Referer"), "texts", default=""),
    "user_agent": Key(("request", "headers", "User-Agent"), "texts", default=""),
}


def _traefik(line: Mapping[str, Any]) -> Row:
    return (
        line["ClientHost"], line.get("StartUTC") or line.get("time"), line["RequestMethod"], line["RequestPath"],
        _text(line["DownstreamStatus"]), _text(line.get("DownstreamContentSize")), line.get("request_Referer", ""),
        line.get("request_User-Agent"),
    )  # fmt: skip


def _traefik_with_agents(line: Mapping[str, Any]) -> Row:
    return (*_traefik(line)[:-1], line.get("request_User-Agent", ""))


_TRAEFIK_KEYS = {
    "address": Key(("ClientHost",), "text", needed=True),
    "time": Key(("StartUTC",), "time", needed=True),
    "method": Key(("RequestMethod",), "text", needed=True),
    "target": Key(("RequestPath",), "text", needed=True),
    "status": Key(("DownstreamStatus",), "number", needed=True),
    "bytes": Key(("DownstreamContentSize",), "number"),
    "referer": Key(("request_Referer",), "text", default=""),
    "user_agent": Key(("request_User-Agent",), "text"),
}


def _cloudflare(line: Mapping[str, Any]) -> Row:
    return (
        line["ClientIP"], _text(line.get("EdgeStartTimestamp") or line.get("EdgeEndTimestamp")),
        line["ClientRequestMethod"], line.get("ClientRequestURI") or line["ClientRequestPath"],
        _text(line["EdgeResponseStatus"]), _text(line.get("EdgeResponseBytes")), line.get("ClientRequestReferer", ""),
        (line["ClientRequestUserAgent"] or "") if "ClientRequestUserAgent" in line else None,
    )  # fmt: skip


_CLOUDFLARE_KEYS = {
    "address": Key(("ClientIP",), "text", needed=True),
    "time": Key(("EdgeStartTimestamp",), "time", needed=True),
    "method": Key(("ClientRequestMethod",), "text", needed=True),
    "target": Key(("ClientRequestURI",), "filled", needed=True),
    "status": Key(("EdgeResponseStatus",), "number", needed=True),
    "bytes": Key(("EdgeResponseBytes",), "number"),
    "referer": Key(("ClientRequestReferer",), "text", default=""),
    "user_agent": Key(("ClientRequestUserAgent",), "text"),
}


_PATH_CHARACTERS = "/!$&'()*+,:;=@~"


def _event(line: Mapping[str, Any]) -> Row:
    """Return the fields of a line of the event log (`noai_guard.record.event_record`)."""
    status, size = line.get("status"), line.get("bytes")
    line["identity"], line["action"]
    # The path of an event is decoded already.
    path = quote(line.get("path") or "/", safe=_PATH_CHARACTERS, errors="replace")
    return (
        line.get("client", ""), line["time"], line.get("method") or "GET", path,
        "0" if status is None else str(status), _text(size), "", line.get("user_agent", ""),
    )  # fmt: skip


TRAEFIK = LogFormat("traefik", "Traefik JSON", _utf8, _iso_seconds, row=_traefik, keys=_TRAEFIK_KEYS)

FORMATS: Sequence[LogFormat] = (
    VHOST_COMBINED,
    COMBINED,
    LogFormat("caddy", "Caddy JSON", _utf8, _iso_seconds, row=_caddy, keys=_CADDY_KEYS, mark='"request":'),
    HAPROXY,
    TRAEFIK,
    CLOUDFRONT,
    LogFormat("cloudflare", "Cloudflare Logpush", _utf8, _iso_seconds, row=_cloudflare, keys=_CLOUDFLARE_KEYS),
    ALB,
    LogFormat(
        "events", "events of noai-guard", _utf8, _iso_seconds, row=_event,
        records="an event log holds only requests that were noted when they came, and perhaps pseudonyms for addresses",
    ),
    COMMON,
)  # fmt: skip
"""All formats; of several that read a line equally well, the first counts."""

FORMAT_NAMES = tuple(each.name for each in FORMATS)


def format_named(name: str, lines: Sequence[str]) -> LogFormat:
    """Return the format with a name, as these lines have it."""
    return _fitted(next(each for each in FORMATS if each.name == name), lines)


def found_format(lines: Sequence[str]) -> LogFormat | None:
    """Return the format that reads most of the first lines of a log; None if none reads half of those with text."""
    best, most = None, 0
    for each in FORMATS:
        fitted = _fitted(each, lines)
        read = sum(fitted.read(line) is not None for line in lines if not is_comment(fitted, line))
        if read > most:
            best, most = fitted, read
    lines_with_text = sum(bool(line.strip()) and not line.startswith("#") for line in lines)
    return best if most * 2 >= lines_with_text else None


def is_comment(form: LogFormat, line: str) -> bool:
    """Return True if a line holds no request and is not meant to."""
    if form.mark and line.startswith("{"):
        return form.mark not in line
    return not line.strip() or bool(form.comment and line.startswith(form.comment))


def _fitted(form: LogFormat, lines: Sequence[str]) -> LogFormat:
    """Return a format as the first lines of a log have it: CloudFront names its fields, HAProxy and Traefik write
    the header fields that they are told to."""
    if form is CLOUDFRONT:
        named = next((line.partition(":")[2] for line in lines if line.lower().startswith("#fields:")), "")
        return replace(form, pattern=_cloudfront_pattern(named)) if named.strip() else form
    if form is TRAEFIK and any('"request_User-Agent"' in line for line in lines):
        # It writes header fields only if it is told to, and then those that were sent.
        sent = replace(form.keys["user_agent"], default="")
        return replace(form, row=_traefik_with_agents, keys={**form.keys, "user_agent": sent})
    if form is HAPROXY:
        return _with_captures(form, lines)
    return form


_PRODUCT = re.compile(r"[A-Za-z][\w.+-]*/[0-9.]+(?: |\Z)|Mozilla/")
_CAPTURED = re.compile(r" \{([^}]*)\} (?:\{[^}]*\} )?\"")


def _with_captures(form: LogFormat, lines: Sequence[str]) -> LogFormat:
    """Return HAProxy's format with the captured header that most often begins like a user agent."""
    counts: dict[tuple[int, int], int] = {}
    for line in lines:
        if match := _CAPTURED.search(line):
            pieces = match[1].split("|")
            for index, piece in enumerate(pieces):
                counts[index, len(pieces)] = counts.get((index, len(pieces)), 0) + bool(_PRODUCT.match(piece))
    if not counts or not any(counts.values()):
        return replace(form, pattern=form.pattern.replace("?P<user_agent>", "?:"))
    index, number = max(counts, key=counts.__getitem__)
    group = r"\|".join("(?P<user_agent>[^}|]*)" if at == index else "[^}|]*" for at in range(number))
    return replace(form, pattern=form.pattern.replace("(?P<user_agent>[^}]*)", group))
