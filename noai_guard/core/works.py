"""Tell which work a path is part of: the recording behind a file, its segments and its pages."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from unicodedata import normalize

from noai_guard.core.path_patterns import by_specificity, capturing_regex, pattern_problem
from noai_guard.core.paths import normal_path

MARK = "{work}"
"""The part of a pattern that stands for the work's name: one or more characters of one segment."""

MAX_NAME = 200
"""Characters of the longest name of a work. What is longer names none."""


def work_pattern_problem(pattern: str) -> str | None:
    """Return what is wrong with a pattern of works, in words for the person who wrote it, or None."""
    before, mark, after = pattern.partition(MARK)
    if not mark or MARK in after:
        return f"must hold {MARK} once"
    if before.endswith(("*", "?")) or after.startswith(("*", "?")):
        return f"has a wildcard beside {MARK}; put text or a slash between them"
    return pattern_problem(f"{before}*{after}")


def _glob(pattern: str) -> str:
    return pattern.replace(MARK, "*")


def _filled(pattern: str, name: str) -> str:
    """Return a path of a work that a pattern matches, if one with that name can be."""
    before, _, after = re.sub(r"\*+|\?", "x", pattern).partition(MARK)
    return f"{before}{name}{after}"


def _paths_like(pattern: str, other: str) -> Iterator[str]:
    """Yield paths that a pattern matches and another one may match too."""
    (before, _, after), (start, _, end) = (each.partition(MARK) for each in (pattern, other))
    head = start.rpartition("/")[2].removeprefix(before.rpartition("/")[2])
    tail = end.partition("/")[0].removesuffix(after.partition("/")[0])
    for name in dict.fromkeys(("x", f"{head}x", f"x{tail}", f"{head}x{tail}")):
        if not set("*?") & set(name):
            yield _filled(pattern, name)


class _Test:
    """Finds the name in a path, by one pattern."""

    def __init__(self, before: str, after: str) -> None:
        self._parts = before, after
        self._starts = re.split(r"[*?]|[^\x00-\x7f]", normalize("NFC", before), maxsplit=1)[0]
        self._regex = capturing_regex(before, after)

    def name_in(self, path: str) -> str:
        """Return the name, empty if the pattern does not match, or a name is too long."""
        match = self._regex.match(path) if path.startswith(self._starts) else None
        return match[1] if match and len(match[1]) <= MAX_NAME else ""

    @cached_property
    def lower(self) -> "_Test":
        before, after = self._parts
        return _Test(before.lower(), after.lower())


class Works:
    """Patterns like `/audio/{work}.mp3` and `/hls/{work}/**`: paths with the same name are one work."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self.patterns = tuple(patterns)
        ranked = (patterns[number].partition(MARK) for number in by_specificity([_glob(each) for each in patterns]))
        self._tests = [_Test(before, after) for before, _, after in ranked]

    def names_of(self, path: str) -> tuple[str, ...]:
        """Return the names that a normal path gives its work, by each pattern that matches, the most specific first."""
        return tuple(dict.fromkeys(name for test in self._tests if (name := test.name_in(path))))

    def names_in_any_case(self, path: str) -> tuple[str, ...]:
        """Return what `names_of` returns, and in lower case the names by patterns that match only for servers that do
        not tell letter case apart."""
        lower = path.lower()
        if lower == path and not self._has_capitals:
            return self.names_of(path)
        names = (test.name_in(path) or test.lower.name_in(lower) for test in self._tests)
        return tuple(dict.fromkeys(filter(None, names)))

    def work_of(self, path: str) -> str:
        """Return the first of `names_of`: the one name by which lists and records call a work; empty if none."""
        return next(iter(self.names_of(path)), "")

    def work_in_any_case(self, path: str) -> str:
        """Return what `work_of` returns, else the name for servers that do not tell letter case apart, in lower
        case."""
        return self.work_of(path) or next(iter(self.names_in_any_case(path)), "")

    @cached_property
    def _has_capitals(self) -> bool:
        return any(pattern != pattern.lower() for pattern in self.patterns)

    @cached_property
    def overlaps(self) -> tuple[tuple[str, str, str, tuple[str, ...]], ...]:
        """Two patterns, with a path in which they find two names, and both names.

        Of patterns with several wildcards, not all that overlap are found.
        """
        found = []
        for number, one in enumerate(self.patterns):
            for other in self.patterns[:number]:
                both = Works((other, one))
                paths = (*_paths_like(one, other), *_paths_like(other, one))
                path = next((path for path in paths if len(both.names_of(path)) > 1), None)
                if path is not None:
                    found.append((other, one, path, both.names_of(path)))
        return tuple(found)

    @cached_property
    def cuts_names(self) -> bool:
        """True if every pattern has a `*` behind the name, in its segment: a name is cut off where it holds what stands
        between the two."""
        behind = (pattern.partition(MARK)[2].partition("/")[0] for pattern in self.patterns)
        return bool(self.patterns) and all("*" in rest for rest in behind)

    @cached_property
    def endings(self) -> tuple[str, ...]:
        """What stands behind the name in its segment, by each pattern that says it."""
        behind = (pattern.partition(MARK)[2].partition("/")[0] for pattern in self.patterns)
        return tuple(dict.fromkeys(rest for rest in behind if rest and not set("*?") & set(rest)))

    def can_name(self, name: str) -> bool:
        """Return True if there may be a path whose work has that name."""
        return any(name in self.names_of(normal_path(_filled(pattern, name))) for pattern in self.patterns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Works) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)
