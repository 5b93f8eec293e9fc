"""Paths that several patterns of works match, where a server looks up the name by one pattern only.

The guard goes by the name that each pattern finds. A server takes that of the most specific pattern, so this name has
to carry what is wished for the others. That can be written down where both names stand in the same segment of the path:
of `/audio/{work}.mp3` and `/audio/{work}_128.mp3`, the second finds `song` where the first finds `song_128`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from unicodedata import normalize

from noai_guard.core.path_patterns import by_specificity
from noai_guard.core.wish_index import UNSET, stricter
from noai_guard.core.works import MARK

_WILD = re.compile(r"\{work\}|[*?]")


@dataclass(frozen=True)
class _Pattern:
    segments: tuple[str, ...]
    """As `_folded`, for servers that do not tell letter case apart."""

    @cached_property
    def place(self) -> int:
        """The number of the segment with the name."""
        return next(number for number, segment in enumerate(self.segments) if MARK in segment)

    @cached_property
    def is_deep_before(self) -> bool:
        """True if it is not known which segment of a path has the name."""
        return any("**" in segment for segment in self.segments[: self.place + 1])

    @cached_property
    def around(self) -> tuple[str, str]:
        """What stands before and behind the name in its segment."""
        before, _, after = self.segments[self.place].partition(MARK)
        return before, after


def can_be_looked_up(patterns: Sequence[str]) -> bool:
    """Return True if, in every path that two patterns match, the name by one tells the name by the other."""
    return all(_is_told(one, other) for one, other in combinations(_most_specific_first(patterns), 2))


def may_meet(globs: Sequence[str], others: Sequence[str]) -> bool:
    """Return False only if no path matches one of each, whatever the case of its letters; no globs match every path."""
    pairs = product(globs, others) if globs and others else ()
    patterns = [[_Pattern(tuple(_folded(glob).split("/"))) for glob in pair] for pair in pairs]
    return not patterns or any(_may_meet(*pair) for pair in patterns)


def shared_names(patterns: Sequence[str], numbers: Mapping[str, int]) -> dict[str, int]:
    """Return names with the number of what is wished under another name of the same paths.

    `numbers` has by name the number of what is wished; for the patterns, `can_be_looked_up` is true.
    """
    shared: dict[str, int] = {}
    for first, other in combinations(_most_specific_first(patterns), 2):
        if not _may_meet(first, other) or first.around == other.around:
            continue
        (before, after), (start, end) = first.around, other.around
        for name, number in numbers.items():
            segment = _folded(f"{start}{name}{end}")
            if number == UNSET or not (segment.startswith(before) and segment.endswith(after)):
                continue
            if found := segment[len(before) : len(segment) - len(after)]:
                shared[found] = stricter(shared.get(found, number), number)
    return shared


def _most_specific_first(patterns: Sequence[str]) -> Iterator[_Pattern]:
    for index in by_specificity([pattern.replace(MARK, "*") for pattern in patterns]):
        before, mark, after = patterns[index].partition(MARK)
        yield _Pattern(tuple(f"{_folded(before)}{mark}{_folded(after)}".split("/")))


def _is_told(one: _Pattern, other: _Pattern) -> bool:
    if not _may_meet(one, other):
        return True
    if one.is_deep_before or other.is_deep_before or one.place != other.place:
        return False
    to_the_name = one.segments[: one.place + 1]
    return to_the_name == other.segments[: other.place + 1] or not any(
        set("*?") & set(text) for text in (*one.around, *other.around)
    )


def _folded(text: str) -> str:
    return normalize("NFC", normalize("NFD", text).casefold())


def _may_meet(one: _Pattern, other: _Pattern) -> bool:
    """Return False only if no path matches both."""
    for segment, against in zip(one.segments, other.segments, strict=False):
        if "**" in segment or "**" in against:
            return True
        if not _segments_may_meet(segment, against):
            return False
    short, long = sorted((one.segments, other.segments), key=len)
    return len(short) == len(long) or "**" in long[len(short)]


def _segments_may_meet(one: str, other: str) -> bool:
    texts, others = _WILD.split(one), _WILD.split(other)
    if len(texts) == len(others) == 1:
        return one == other
    begins = texts[0].startswith(others[0]) or others[0].startswith(texts[0])
    ends = texts[-1].endswith(others[-1]) or others[-1].endswith(texts[-1])
    return begins and ends
