"""A site's robots.txt: its groups as they are written, and who may fetch what.

Crawlers differ, so the file is read in two ways. Google's parser reads a group without Allow or Disallow line as one
with the group that follows, and a name in a User-agent line only up to the first digit or sign; tests compare our
reading with it, since it has no wheels for Python 3.14 (2026-11). Others take groups as written; protego, the parser
that Scrapy keeps, stands for them. It is pure Python, so it installs wherever the audit runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from noai_guard.audit.readers.guarded import describe, guarded
from noai_guard.core.web_addresses import path_of
from noai_guard.declarations.shared import robots_file
from noai_guard.declarations.shared.robots_file import Group, Line

if TYPE_CHECKING:
    from protego import Protego

_HOST = "https://site.invalid"
_WHOLE_SITE = ("/", "/*", "*")


class RobotsFile:
    """A parsed robots.txt. Never raises, whatever the bytes are."""

    def __init__(self, body: bytes) -> None:
        texts = robots_file.split_lines(body, "replace")
        self.text = "\n".join(texts)
        self.lines = robots_file.parse_lines(texts)
        self.groups = robots_file.groups_of(self.lines, as_google=False)
        groups = robots_file.groups_of(self.lines, as_google=True)
        self._rules = robots_file.RulesByName(groups, lambda name: [*filter(None, [robots_file.google_name(name)])])

    @property
    def orphans(self) -> list[Line]:
        """Directives before the first group, without those about the whole site."""
        first = self.groups[0].agents[0].number if self.groups else len(self.lines) + 1
        return [line for line in self.lines[: first - 1] if line.kind not in ("", "site")]

    @property
    def malformed(self) -> Iterator[tuple[int, str]]:
        """Line numbers and texts of what has no key or no colon."""
        for line in self.lines:
            content = line.text.partition("#")[0].strip()
            if content and (not line.kind or ":" not in content):
                yield line.number, content

    @property
    def merged_groups(self) -> list[tuple[Group, Group | None]]:
        """Each group without a rule, with the next group that has one, whose rules Google's parser reads for it."""
        pairs: list[tuple[Group, Group | None]] = []
        following = None
        for group in reversed(self.groups):
            if group.first_rule:
                following = group
            else:
                pairs.append((group, following))
        return pairs[::-1]

    def google_allows(self, name: str, url: str) -> bool:
        """Return True if a crawler of this name may fetch an address, as Google's parser reads the file."""
        return self._rules[name.lower()].allows(path_of(url), as_google=True)

    @cached_property
    def _as_written(self) -> Protego | str:
        """The file for protego, or why protego fails at it."""
        try:
            from protego import Protego
        except ImportError:  # `build` runs without the extra `audit`
            return "only Google's reading is known: pip install 'noai-guard[audit]'"
        return guarded(lambda: Protego.parse(self.text), describe)

    @property
    def problem(self) -> str:
        """Why only Google's reading of the file is known; empty if the other is known too."""
        return self._as_written if isinstance(self._as_written, str) else ""

    def disallows(self, name: str, url: str) -> bool:
        """Return True if a crawler may not fetch an address, both for Google's parser and for groups as written."""
        file = self._as_written
        if self.google_allows(name, url) or isinstance(file, str):
            return not self.google_allows(name, url)
        return not guarded(lambda: file.can_fetch(_HOST + path_of(url), name), lambda error: False)

    def lines_for_all(self, key: str) -> list[Line]:
        """Return the lines of this key in the groups for `*`."""
        return robots_file.lines_for_all(self.groups, key)


def closes_site(group: Group) -> bool:
    """Return True if a group closes the whole site, except for single paths."""
    return {line.kind for line in group.lines if line.is_rule and line.value in _WHOLE_SITE} == {"disallow"}
