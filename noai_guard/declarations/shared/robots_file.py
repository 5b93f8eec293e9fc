"""A robots.txt, read line by line so that nothing of it is lost: for merging with ours, and for the audit.

Lines are read as Google's parser reads them (google/robotstxt at 22b355f), which forgives more than RFC 9309 asks for.
"""

import re
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
    return re.split(r"\r\n|\r|\n", body[:MAX_BYTES].removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors))


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


@dataclass(frozen=True)
class Rules:
    """The lines of a file that apply to one name."""

    lines: tuple[Line, ...] = ()

    @cached_property
    def _patterns(self) -> list[tuple[str, bool]]:
        return [(escaped(line.value), line.kind == "allow") for line in self.lines if line.is_rule and line.value]

    @cached_property
    def _google_patterns(self) -> list[tuple[str, bool]]:
        folders = [pattern.rpartition("/") for pattern, allowed in self._patterns if allowed]
        return self._patterns + [(f"{path}/$", True) for path, _, page in folders if page.startswith("index.htm")]

    def allows(self, path: str, *, as_google: bool = False) -> bool:
        """Return True if a path (with its query) may be fetched: the longest match counts, Allow wins ties.

        For Google's parser, Allow for `index.html` also opens its folder. What we merge must hold for every parser, so
        it does not count there.
        """
        best = (0, True)
        for pattern, allowed in self._google_patterns if as_google else self._patterns:
            if len(pattern) >= best[0] and matches(pattern, path):
                best = max(best, (len(pattern), allowed))
        return best[1]

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
