"""A site's robots.txt: its groups as they are written, and who may fetch what.

Two readings, because crawlers differ. Google's takes a group without Allow or Disallow line as one with the group that
follows, and the name in a User-agent line only up to the first digit or sign; the other takes groups as written. Both
leave the matching of paths to protego, the parser that Scrapy keeps: pure Python, so it installs wherever the audit
runs. Google's own parser has no wheels for Python 3.14 (2026-11); tests compare this reading with it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from protego import Protego

from noai_guard.audit.addresses import path_of
from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.declarations.robots_txt import MAX_BYTES, directive, google_name

_HOST = "https://site.invalid"


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not empty: its number from 1, what Google's parser takes it for, and its key in lower case."""

    number: int
    kind: str
    key: str
    value: str

    @property
    def is_rule(self) -> bool:
        return self.kind in ("allow", "disallow")

    def __str__(self) -> str:
        return f"{self.key.title()}: {self.value}"


@dataclass(slots=True)
class Group:
    """User-agent lines that stand together, and the lines up to the next ones."""

    agents: list[Line] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    @property
    def has_rule(self) -> bool:
        return any(line.is_rule for line in self.lines)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(agent.value.lower() for agent in self.agents)

    @property
    def closed(self) -> bool:
        """Whether it closes the whole site, but for single paths."""
        closes = any(line.kind == "disallow" and line.value in ("/", "/*", "*") for line in self.lines)
        return closes and not any(line.kind == "allow" and line.value in ("/", "/*", "*") for line in self.lines)

    def of(self, key: str) -> list[Line]:
        return [line for line in self.lines if line.key == key]


class RobotsFile:
    """A robots.txt, read. Never raises, whatever the bytes are.

    `orphans` are lines before the first group, `unread` line numbers of what has no key or no colon.
    """

    def __init__(self, body: bytes) -> None:
        text = body[:MAX_BYTES].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
        self.text = text
        self.orphans: list[Line] = []
        self.groups: list[Group] = []
        self.unread: list[tuple[int, str]] = []
        self._read(re.split(r"\r\n|\r|\n", text))
        self._rules: BoundedCache[tuple[int, ...], Protego] = BoundedCache(self._parsed_rules)

    def _read(self, lines: Sequence[str]) -> None:
        for number, text in enumerate(lines, 1):
            if not text:
                continue
            kind, value = directive(text)
            content = text.partition("#")[0]
            key, colon, _ = content.partition(":")
            if kind and not colon:
                key = content.split()[0]
            if (not kind or not colon) and content.strip():
                self.unread.append((number, content.strip()))
            if kind:
                self._add(Line(number, kind, key.strip().lower(), value))

    def _add(self, line: Line) -> None:
        if line.kind == "agent":
            if not self.groups or self.groups[-1].lines:
                self.groups.append(Group())
            self.groups[-1].agents.append(line)
        elif self.groups:
            self.groups[-1].lines.append(line)
        elif line.kind != "site":
            self.orphans.append(line)

    @property
    def swallowed(self) -> list[tuple[Group, Group | None]]:
        """Each group without a rule, and the next with one, whose rules Google's parser reads for it; or None."""
        found: list[tuple[Group, Group | None]] = []
        following = None
        for group in reversed(self.groups):
            if group.has_rule:
                following = group
            else:
                found.append((group, following))
        return found[::-1]

    @cached_property
    def _named(self) -> dict[str, tuple[int, ...]]:
        """Each name -> the places of the groups with the rules that Google reads for it."""
        found: dict[str, list[int]] = {}
        waiting: list[str] = []
        for place, group in enumerate(self.groups):
            waiting += (google_name(agent.value) for agent in group.agents)
            if group.has_rule:
                for name in waiting:
                    found.setdefault(name, []).append(place)
                waiting = []
        for name in waiting:
            found.setdefault(name, [])
        return {name: tuple(dict.fromkeys(places)) for name, places in found.items() if name}

    def _parsed_rules(self, places: tuple[int, ...]) -> Protego:
        rules = [line for place in places for line in self.groups[place].lines if line.is_rule and line.value]
        return Protego.parse("\n".join(["User-agent: *", *(f"{line.kind}: {line.value}" for line in rules)]))

    def google_allows(self, name: str, url: str) -> bool:
        """Whether a crawler of this name may fetch an address, as Google's parser reads the file."""
        name = name.lower()
        places = self._named[name] if name in self._named else self._named.get("*", ())
        return bool(self._rules[places].can_fetch(_HOST + path_of(url), "*")) if places else True

    @cached_property
    def _as_written(self) -> Protego:
        return Protego.parse(self.text)

    def plainly_allows(self, name: str, url: str) -> bool:
        """The same as a parser reads it that takes groups as they are written, and whole names."""
        return bool(self._as_written.can_fetch(_HOST + path_of(url), name))

    def closes(self, name: str, url: str) -> bool:
        """Whether both readings keep a crawler out."""
        return not self.google_allows(name, url) and not self.plainly_allows(name, url)

    def for_everybody(self, key: str) -> list[Line]:
        """The lines of this key in the groups for `*`."""
        return [line for group in self.groups if "*" in group.names for line in group.of(key)]
