"""A robots.txt, read line by line so that nothing of it is lost: for merging with ours, and for the audit.

Lines are read as Google's parser reads them (google/robotstxt at 22b355f), which forgives more than RFC 9309 asks for.
"""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal
from urllib.parse import quote

MAX_BYTES = 500 * 1024
"""Bytes of a robots.txt that every parser must read (RFC 9309, 2.5)."""

READ_BY_GOOGLE = re.compile(r"[A-Za-z_-]*")
"""The part of a name that Google's parser reads: what RFC 9309 allows, without digits, dots and blanks."""

Kind = Literal["agent", "allow", "disallow", "site", "other", ""]

_KINDS: tuple[tuple[tuple[str, ...], Kind], ...] = (
    (("user-agent", "useragent", "user agent"), "agent"),
    (("allow",), "allow"),
    (("disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw"), "disallow"),
    (("sitemap", "site-map", "host"), "site"),
)
"""The beginnings of keys that Google's parser knows, with the misspellings that it forgives."""

_MAX_LINE = 2083 * 8 - 1
"""Bytes of a line that Google's parser reads."""

_SPACE = " \t\n\v\f\r"

_LINE_END = r"\r\n|\r|\n"

_BYTE_ORDER_MARKS = (
    (BOM_UTF32_LE, "utf-32"), (BOM_UTF32_BE, "utf-32"), (BOM_UTF16_LE, "utf-16"), (BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
"""Longest first: the mark of UTF-32 (little-endian) begins with that of UTF-16."""

_SAMPLE = 2048


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `number` counts from 1 and does not count in comparisons; `key` is in lower case.

    `kind` is what Google's parser takes the line for: "site" is about the whole site, "other" is a key that it does
    not know, and "" is no directive at all.
    """

    number: int = field(compare=False)
    text: str
    kind: Kind
    key: str
    value: str

    @property
    def is_rule(self) -> bool:
        """True for Allow and Disallow."""
        return self.kind in ("allow", "disallow")

    def __str__(self) -> str:
        return f"{self.key.title()}: {self.value}"


def split_lines(body: bytes, errors: str) -> list[str]:
    """Decode at most `MAX_BYTES` of a file without its byte-order mark, and split it into lines without their ends.

    `errors` says what becomes of bytes that are not UTF-8, as in `bytes.decode`.
    """
    return re.split(_LINE_END, body[:MAX_BYTES].removeprefix(BOM_UTF8).decode("utf-8", errors))


def lines_of(body: bytes) -> list[str]:
    """Return the whole lines in the first `MAX_BYTES` of a file in any usual encoding, as text that is valid UTF-8.

    UTF-16 and UTF-32 are told by their mark, or by their NUL bytes. A line that is not UTF-8 is Windows-1252, which
    includes Latin-1. A rule in one is there twice: parsers compare paths byte by byte (`/caf%E9`), and whoever wrote
    the rule meant the characters (`/café`).
    """
    data = body[:MAX_BYTES]
    encoding = _wide_encoding(data)
    if encoding:
        lines = re.split(_LINE_END, data.decode(encoding, "replace").removeprefix("\ufeff"))
    else:
        raw_lines = re.split(_LINE_END.encode("ascii"), data.removeprefix(BOM_UTF8))
        lines = [text for raw in raw_lines for text in _texts(raw)]
    if len(body) >= MAX_BYTES:
        lines.pop()
    return lines


def _wide_encoding(data: bytes) -> str | None:
    """Return the encoding of a file whose characters have two or four bytes each, None for all others."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return encoding
    sample = data[:_SAMPLE]
    nuls = [sample[offset::4].count(0) * 4 for offset in range(4)]
    # Most of a robots.txt is ASCII, whose high bytes are NUL here; no text in UTF-8 has any.
    most, few = len(sample) // 2, len(sample) // 4
    first, second, third, fourth = (count > most for count in nuls)
    if len(sample) < 4 or all(count <= few for count in nuls):
        return None
    if second and third and fourth and nuls[0] <= few:
        return "utf-32-le"
    if first and second and third and nuls[3] <= few:
        return "utf-32-be"
    if second and fourth and max(nuls[0], nuls[2]) <= few:
        return "utf-16-le"
    if first and third and max(nuls[1], nuls[3]) <= few:
        return "utf-16-be"
    return None


def _texts(raw: bytes) -> Iterator[str]:
    """Yield a line of an 8-bit encoding as text; a rule that is not UTF-8 as its bytes and as its characters."""
    try:
        yield raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
        as_bytes = re.sub(rb"[\x80-\xff]", lambda byte: b"%%%02X" % ord(byte[0]), raw).decode("ascii")
        if b"/" in raw and (line := parse_line(text)).is_rule and parse_line(as_bytes).value != line.value:
            yield as_bytes
        yield text


def is_robots(body: bytes) -> bool:
    """Return True if a file holds a line that hardly any other text does: it names a crawler, or a sitemap's address.

    A page (its first character is `<`) has to hold a rule for a crawler.
    """
    texts = lines_of(body)
    lines = parse_lines(texts)
    names_crawler = any(line.kind == "agent" and google_name(line.value) for line in lines)
    if is_page(texts):
        return names_crawler and any(line.is_rule for line in lines)
    return names_crawler or any(line.key.startswith(("sitemap", "site-map")) and "://" in line.value for line in lines)


def is_page(lines: Iterable[str]) -> bool:
    """Return True if the text is HTML or XML, by its first character."""
    return next((text for line in lines if (text := line.strip())), "").startswith("<")


def parse_line(text: str, number: int = 0) -> Line:
    """Parse a line: up to NUL or #, `key: value`, or just two words."""
    content = text[:_MAX_LINE].partition("\0")[0].partition("#")[0].strip(_SPACE)
    key, colon, value = content.partition(":")
    if not colon:
        words = re.split(r"[ \t]+", content, maxsplit=2)
        key, value = words if len(words) == 2 else ("", "")
    key, value = key.strip(_SPACE).lower(), value.strip(_SPACE)
    if not key:
        return Line(number, text, "", "", "")
    kind: Kind = next((kind for beginnings, kind in _KINDS if key.startswith(beginnings)), "other")
    return Line(number, text, kind, key, value)


def parse_lines(lines: Iterable[str]) -> list[Line]:
    """Parse all lines, numbered from 1."""
    return [parse_line(text, number) for number, text in enumerate(lines, 1)]


@dataclass(slots=True)
class Group:
    """User-agent lines, and the other directives up to the next group."""

    agents: list[Line] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    @property
    def first_rule(self) -> Line | None:
        """The first Allow or Disallow line, if there is one."""
        return next((line for line in self.lines if line.is_rule), None)


def groups_of(lines: Iterable[Line], *, as_google: bool) -> list[Group]:
    """Form groups of lines.

    A User-agent line begins a group after any other directive (RFC 9309), or, for Google's parser, only after an
    Allow or Disallow line: it reads a group without such a line as one with the group that follows.
    """
    groups: list[Group] = []
    takes_names = False
    for line in lines:
        if line.kind == "agent":
            if not takes_names:
                groups.append(Group())
                takes_names = True
            groups[-1].agents.append(line)
        elif line.kind and groups:
            groups[-1].lines.append(line)
            takes_names = takes_names and as_google and not line.is_rule
    return groups


def names_of(group: Group) -> frozenset[str]:
    """Return the names of a group, in lower case."""
    return frozenset(agent.value.lower() for agent in group.agents)


def lines_for_all(groups: Iterable[Group], key: str) -> list[Line]:
    """Return the lines of a key in the groups for `*`."""
    return [line for group in groups if "*" in names_of(group) for line in group.lines if line.key == key]


def google_name(value: str) -> str:
    """Return the name that Google's parser reads in a User-agent line, in lower case, up to the first digit or sign."""
    if value[:1] == "*" and (len(value) == 1 or value[1] in _SPACE):
        return "*"
    match = READ_BY_GOOGLE.match(value.lower())
    return match[0] if match else ""


def possible_names(value: str) -> tuple[str, ...]:
    """Return what different parsers read as the name in a User-agent line: Google's, up to a version, and all of it."""
    google, lower = google_name(value), value.lower()
    names = ("*",) if google == "*" else (google, lower.partition("/")[0].strip(_SPACE), lower)
    return tuple(dict.fromkeys(filter(None, names)))


class _Patterns:
    """Patterns with True if they allow. Those without wildcards, nearly all, are looked up instead of tried."""

    def __init__(self, patterns: Iterable[tuple[str, bool]]) -> None:
        self._plain: dict[str, bool] = {}
        self._wild: list[tuple[str, bool]] = []
        for pattern, allowed in patterns:
            if "*" in pattern or pattern.endswith("$"):
                self._wild.append((pattern, allowed))
            else:
                self._plain[pattern] = allowed or self._plain.get(pattern, False)
        self._lengths = sorted({len(pattern) for pattern in self._plain}, reverse=True)

    def allow(self, path: str) -> bool:
        """Return what the longest pattern says that matches; if several do, allowing wins. True if none matches."""
        plain = (path[:length] for length in self._lengths if length <= len(path))
        longest = next((prefix for prefix in plain if prefix in self._plain), None)
        best = (0, True) if longest is None else (len(longest), self._plain[longest])
        for pattern, allowed in self._wild:
            if len(pattern) >= best[0] and matches(pattern, path):
                best = max(best, (len(pattern), allowed))
        return best[1]


@dataclass(frozen=True)
class Rules:
    """The lines of a file that apply to one name."""

    lines: tuple[Line, ...] = ()

    @cached_property
    def _patterns(self) -> list[tuple[str, bool]]:
        return [(escaped(line.value), line.kind == "allow") for line in self.lines if line.is_rule and line.value]

    @cached_property
    def _as_all(self) -> "_Patterns":
        return _Patterns(self._patterns)

    @cached_property
    def _as_google(self) -> "_Patterns":
        folders = [pattern.rpartition("/") for pattern, allowed in self._patterns if allowed]
        pages = [(f"{path}/$", True) for path, _, page in folders if page.startswith("index.htm")]
        return _Patterns(self._patterns + pages)

    def allows(self, path: str, *, as_google: bool = False) -> bool:
        """Return True if a path (with its query) may be fetched: the longest match counts, Allow wins ties.

        For Google's parser, Allow for `index.html` also opens its folder. What we merge must hold for every parser, so
        it does not count there.
        """
        return (self._as_google if as_google else self._as_all).allow(path)

    def disallow_lines(self, max_length: int) -> Iterator[str]:
        """Yield Disallow lines that also hold below what an Allow line of at most `max_length` characters opens."""
        for line in self.lines:
            pattern = escaped(line.value)
            if line.kind == "disallow" and "*" in pattern and len(pattern) <= max_length:
                # `/*.mp3` is shorter than `/press/`; several * mean the same as one and make it the longer match.
                yield f"Disallow: {pattern.replace('*', '*' * (max_length - len(pattern) + 2), 1)}"
            elif line.kind == "disallow" and line.value:
                yield line.text.strip()


class RulesByName:
    """The rules of a file for each name, in groups as Google's parser forms them; all groups of a name add up.

    `names_of` reads the names out of the value of a User-agent line: `google_name` tells what Google does,
    `possible_names` finds every group that any parser may take for a crawler's.
    """

    def __init__(self, groups: Iterable[Group], names_of: Callable[[str], Sequence[str]]) -> None:
        self._groups: dict[str, list[Group]] = {}
        for group in groups:
            for name in dict.fromkeys(name for agent in group.agents for name in names_of(agent.value)):
                self._groups.setdefault(name, []).append(group)
        self._rules: dict[str, Rules] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._groups

    def __getitem__(self, name: str) -> Rules:
        """Return the rules for a name in lower case: of its own groups, else of those for `*`."""
        name = name if name in self._groups else "*"
        if name not in self._rules:
            groups = self._groups.get(name, ())
            self._rules[name] = Rules(tuple(line for group in groups for line in group.lines if line.kind != "site"))
        return self._rules[name]


class AppRobots:
    """An app's own robots.txt, to be merged with ours."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = parse_lines(lines)
        self.groups = groups_of(self.lines, as_google=True)
        self.rules = RulesByName(self.groups, possible_names)

    @property
    def preamble_length(self) -> int:
        """The number of lines before the first group, without blank lines and comments at their end."""
        first = self.groups[0].agents[0].number if self.groups else len(self.lines) + 1
        texts = [line.text.lstrip() for line in self.lines[: first - 1]]
        while texts and (not texts[-1] or texts[-1].startswith("#")):
            texts.pop()
        return len(texts)

    def names(self, name: str) -> bool:
        """Return True if any parser may find a group of this name."""
        return any(spelling in self.rules for spelling in possible_names(name))


def escaped(pattern: str) -> str:
    """Percent-encode what a pattern may not hold as it is."""
    return quote(pattern, safe="!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~", errors="surrogateescape")


def matches(pattern: str, path: str) -> bool:
    """Return True if a pattern of robots.txt matches the beginning of a path; linear, however many `*` it has."""
    first, *rest = pattern.removesuffix("$").split("*")
    anchored = pattern.endswith("$")
    if not path.startswith(first):
        return False
    position = len(first)
    if not rest:
        return not anchored or position == len(path)
    for part in rest[:-1] if anchored else rest:
        start = path.find(part, position)
        if start < 0:
            return False
        position = start + len(part)
    return not anchored or (path.endswith(rest[-1]) and len(path) - len(rest[-1]) >= position)
