"""An app's robots.txt, read as Google's parser and RFC 9309 read it."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple
from urllib.parse import quote

READ_BY_GOOGLE = re.compile(r"[A-Za-z_-]*")
"""What Google's parser reads of a name: as RFC 9309 spells names, without digits, dots and blanks."""


class Directive(NamedTuple):
    """What Google's parser takes a line for; a kind of "" is no line at all."""

    kind: Literal["agent", "allow", "disallow", "site", "other", ""]
    value: str


_KINDS: tuple[tuple[tuple[str, ...], Literal["agent", "allow", "disallow", "site"]], ...] = (
    (("user-agent", "useragent", "user agent"), "agent"),
    (("allow",), "allow"),
    (("disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw"), "disallow"),
    (("sitemap", "site-map", "host"), "site"),
)
"""Google's parser (google/robotstxt at 22b355f) reads a key by its beginning, with these spellings."""

_LONGEST_LINE = 2083 * 8 - 1
"""Bytes of a line that Google's parser reads."""

_SPACE = " \t\n\v\f\r"


def directive(line: str) -> Directive:
    """A line as Google's parser reads it: up to NUL or #, `key: value`, or just two words."""
    text = line[:_LONGEST_LINE].partition("\0")[0].partition("#")[0].strip(_SPACE)
    key, colon, value = text.partition(":")
    if not colon:
        words = re.split(r"[ \t]+", text, maxsplit=2)
        if len(words) != 2:
            return Directive("", "")
        key, value = words
    key, value = key.strip(_SPACE).lower(), value.strip(_SPACE)
    if not key:
        return Directive("", "")
    return Directive(next((kind for begins, kind in _KINDS if key.startswith(begins)), "other"), value)


def _names(value: str) -> tuple[str, ...]:
    """What parsers take for the name in a User-agent line: as Google's does, up to a version, or all of it."""
    google = google_name(value)
    if google == "*":
        return ("*",)
    lower = value.lower()
    found = (google, lower.partition("/")[0].strip(_SPACE), lower)
    return tuple(dict.fromkeys(name for name in found if name))


def google_name(value: str) -> str:
    """The name that Google's parser reads in a User-agent line, in lower case: it ends at the first digit or sign."""
    if value[:1] == "*" and (len(value) == 1 or value[1] in _SPACE):
        return "*"
    found = READ_BY_GOOGLE.match(value.lower())
    return found[0] if found else ""


@dataclass(slots=True)
class _Section:
    """Line numbers of one group of a file, as Google's parser forms it: names go on until a rule was seen."""

    agents: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    first_rule: int | None = None


class Robots:
    """An app's robots.txt, read."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self.directives = [directive(line) for line in lines]
        self.sections: list[_Section] = []
        self.begins = 0
        for number, (kind, _) in enumerate(self.directives):
            if kind == "agent":
                if not self.sections or self.sections[-1].first_rule is not None:
                    self.sections.append(_Section())
                self.sections[-1].agents.append(number)
            elif not self.sections:
                if lines[number].strip() and not lines[number].lstrip().startswith("#"):
                    self.begins = number + 1
            elif kind:
                section = self.sections[-1]
                section.lines.append(number)
                if kind in ("allow", "disallow") and section.first_rule is None:
                    section.first_rule = number
        self._by_name: dict[str, list[_Section]] = {}
        for section in self.sections:
            names = dict.fromkeys(name for number in section.agents for name in self.names(number))
            for name in names:
                self._by_name.setdefault(name, []).append(section)

    def names(self, number: int) -> tuple[str, ...]:
        return _names(self.directives[number].value)

    def is_for_all(self, number: int) -> bool:
        return self.directives[number].kind == "agent" and self.names(number) == ("*",)

    @cached_property
    def for_all(self) -> "Own":
        """What holds for crawlers that have no group."""
        return self._own(self._by_name.get("*", ()))

    def for_name(self, token: str) -> "Own":
        sections = self._by_name.get(token.lower())
        return self._own(sections) if sections else self.for_all

    def has(self, token: str) -> bool:
        return any(name in self._by_name for name in _names(token))

    def _own(self, sections: Iterable[_Section]) -> "Own":
        numbers = [number for section in sections for number in section.lines if self.directives[number].kind != "site"]
        return Own(tuple((self.lines[number].strip(), self.directives[number]) for number in numbers))


@dataclass(frozen=True, slots=True)
class Own:
    """The lines of an app's file that hold for one name, and how each is read."""

    lines: tuple[tuple[str, Directive], ...]

    def allows(self, path: str) -> bool:
        """Whether the app lets this path be fetched: the longest match counts, allow wins ties."""
        best = (0, True)
        for _, (kind, value) in self.lines:
            if kind in ("allow", "disallow") and value:
                pattern = escaped(value)
                if len(pattern) >= best[0] and matches(pattern, path):
                    best = max(best, (len(pattern), kind == "allow"))
        return best[1]

    def disallowing(self, longest: int) -> Iterator[str]:
        """What the app closes, so that it also holds below openings of at most this length."""
        for line, (kind, value) in self.lines:
            pattern = escaped(value)
            if kind == "disallow" and "*" in pattern and len(pattern) <= longest:
                # `/*.mp3` is shorter than `/press/`; several * mean the same as one and make it the longer match.
                yield f"Disallow: {pattern.replace('*', '*' * (longest - len(pattern) + 2), 1)}"
            elif kind == "disallow" and value:
                yield line


def escaped(pattern: str) -> str:
    return quote(pattern, safe="!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~", errors="surrogateescape")


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern of robots.txt matches the beginning of a path; linear, however many `*` it has."""
    first, *rest = pattern.removesuffix("$").split("*")
    anchored = pattern.endswith("$")
    if not path.startswith(first):
        return False
    place = len(first)
    if not rest:
        return not anchored or place == len(path)
    for part in rest[:-1] if anchored else rest:
        found = path.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return not anchored or (path.endswith(rest[-1]) and len(path) - len(rest[-1]) >= place)
