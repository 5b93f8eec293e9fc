"""A form of log lines: where in a line stand address, request, status, bytes, user agent.

A text format is one regular expression that means the same to Python and to the engine; a JSON format is a function
from a parsed object. What servers escape is undone for each distinct value only, by `unescape`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_to_bytes

FIELDS = ("address", "time", "method", "target", "status", "bytes", "referer", "user_agent")
"""What is read of a line. All are text as it stands in the line, None where the format does not have it."""

Row = tuple[str | None, ...]
"""The values of FIELDS."""

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
    without escaped quotes can be split there. `fit` returns the form as the first lines of a log have it; `records`
    says what the log holds, if not every request.
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
    fit: "Callable[[LogFormat, Sequence[str]], LogFormat] | None" = None
    records: str = ""

    def fitted(self, lines: Sequence[str]) -> "LogFormat":
        """Return the form as the first lines of a log have it."""
        return self if self.fit is None else self.fit(self, lines)

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


_ESCAPED_BYTE = re.compile(r"(?<!\\)((?:\\\\)*)\\x([0-9A-Fa-f]{2})")


def json_object(line: str) -> Any:
    """Return the object of a line, also behind the prefix of a log daemon. Raises ValueError and RecursionError.

    nginx without `escape=json` writes `\\x22` for a quote, which is no JSON.
    """
    text = line[max(line.find("{"), 0) :]
    try:
        return json.loads(text)
    except ValueError:
        if r"\x" not in text:
            raise
        return json.loads(_ESCAPED_BYTE.sub(r"\1\\u00\2", text))


def _json_row(line: str, row: Callable[[Mapping[str, Any]], Row]) -> Row | None:
    """Return the fields of a line that holds a JSON object; None if it does not, or lacks what must be there."""
    try:
        values = row(json_object(line))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return None
    address, _, method, target, status, *_ = values
    return values if None not in (address, method, target, status) else None


_BACKSLASH = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"b": b"\b", b"a": b"\a", b"f": b"\f"}


def _raw(text: str) -> bytes:
    """Return the bytes of a value: blocks that are not UTF-8 are read as Latin-1, and so are all that are not ASCII."""
    return text.encode("latin-1", "replace")


def without_backslashes(text: str) -> bytes:
    r"""Undo what nginx (`\xHH`) and Apache and Go (`\xhh`, `\"`, `\\`, `\n`) write for bytes they do not print."""
    raw = _raw(text)
    if b"\\" not in raw:
        return raw
    return _BACKSLASH.sub(lambda m: bytes([int(m[1], 16)]) if m[1] else _LETTERS.get(m[2], m[2]), raw)


_HASH = re.compile(rb"#([0-9A-Fa-f]{2})")


def without_hashes(text: str) -> bytes:
    """Undo HAProxy's `#XX`, which it writes for bytes that it does not print, and for `"`, `#`, `{`, `|`, `}`."""
    return _HASH.sub(lambda m: bytes([int(m[1], 16)]), _raw(text))


def utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def percent_decoded(text: str) -> bytes:
    """Undo CloudFront's percent-encoding, which older logs have twice (`%2520`)."""
    return unquote_to_bytes(text.replace("%25", "%"))


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLF_TIME = re.compile(
    r"([0-9]{2})/(\w{3})/([0-9]{4}):([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?: ([+-])([0-9]{2})([0-9]{2}))?"
)


_OTHER_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
    r"|(?<![0-9])[0-9]{10}(?:[.][0-9]+)?(?![0-9])"
)


def clf_seconds(text: str) -> float:
    """Return the time that stands in text like `10/Oct/2026:13:55:36 -0700`, or else as in `iso_seconds`; without a
    zone, UTC. Raises ValueError."""
    match = _CLF_TIME.search(text)
    if match is None or match[2] not in _MONTHS:
        other = _OTHER_TIME.search(text)
        return iso_seconds(other[0] if other else text)
    day, month, year, hour, minute, second, sign, hours, minutes = match.groups()
    moment = datetime(
        int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), min(int(second), 59), tzinfo=UTC
    )
    offset = (int(hours) * 3600 + int(minutes) * 60) * (-1 if sign == "-" else 1) if sign else 0
    return moment.timestamp() - offset


def iso_seconds(text: str) -> float:
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
