"""Tell which work a path is part of: the recording behind a file, its segments and its pages."""

from collections.abc import Sequence
from functools import cached_property

from noai_guard.core.path_patterns import PathMatcher, capturing_regex, pattern_problem

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


class Works:
    """Patterns like `/audio/{work}.mp3` and `/hls/{work}/**`: paths with the same name are one work."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self.patterns = tuple(patterns)
        self._matcher = PathMatcher([pattern.replace(MARK, "*") for pattern in patterns])
        self._regexes = [capturing_regex(before, after) for before, _, after in (p.partition(MARK) for p in patterns)]

    def work_of(self, path: str) -> str:
        """Return the name of the work that a normal path is part of, by the most specific pattern; empty if none."""
        index = self._matcher.first(path)
        match = self._regexes[index].match(path) if index >= 0 else None
        name = match[1] if match else ""
        return name if len(name) <= MAX_NAME else ""

    def work_in_any_case(self, path: str) -> str:
        """Return what `work_of` returns, else the name for servers that do not tell letter case apart, in lower
        case."""
        return self.work_of(path) or self._in_lower_case.work_of(path.lower())

    @cached_property
    def _in_lower_case(self) -> "Works":
        patterns = tuple(map(str.lower, self.patterns))
        return self if patterns == self.patterns else Works(patterns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Works) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)
