"""Works by name: what servers look up where a section for each work would be an expression for each.

Few different wishes exist, so works share them. A wish has a number (`noai_guard.core.wish_index`), and the parts of a
site with that wish are sections (`PathSet.wish`). A server needs three things: the expressions that take a work's name
out of a path, the map from names to numbers, and the number for what it cannot read.

A name is a key in lower case, so works whose names differ only in letter case or in the form of an accent share the
stricter of their wishes. Every spelling that a server lowers to a key is one; a name that is not among the keys and is
not plain (`plain_name`) may be another spelling of any work, and so has the strictest wish.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from unicodedata import combining, decomposition, normalize

from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.path_patterns import by_specificity, capturing_to_regex
from noai_guard.core.wish_index import UNSET, folded, number_of, stricter, strictest_of
from noai_guard.core.wishes import WorkWishes
from noai_guard.core.works import MARK, MAX_NAME
from noai_guard.targets.overlapping_works import shared_names

MAX_MAPPED = 1_000_000
"""Works of the largest map."""

MAX_WISHES = 24
"""Different wishes that have sections of their own: those of the most works. Others count as the strictest."""

_ISRC = re.compile(r"([a-z]{2})([a-z0-9]{3})([0-9]{2})([0-9]{5})", re.ASCII)
_PARTLY_HYPHENATED = (
    "[A-Za-z]{2}(?:-[A-Za-z0-9]{3}(?:-[0-9]{7}|[0-9]{2}-?[0-9]{5})"
    "|[A-Za-z0-9]{3}(?:-[0-9]{2}-?[0-9]{5}|[0-9]{2}-[0-9]{5}))"
)
"""Matches an ISRC with one or two of its three hyphens."""

_UNREADABLE = re.compile(r"[\x00-\x1f\x7f/]")


class WorkMap:
    """The works of a policy by name. `keys` has the number of what is wished for each, without those for which nothing
    is; UNSET stands for that where a name that is no key would be read as another one. `numbers` are all others,
    `strictest` among them: what is not understood has that.

    `works` is how many works are in the map. `shared` of them have a stricter wish than their own.
    """

    def __init__(self, works: Iterable[WorkWishes], table: DecisionTable) -> None:
        self.policy = table.policy
        self._table = table
        self.wished_on = table.wished_on
        own: dict[str, int] = {}
        last: object = None
        number = UNSET
        for work in works:
            name = work.work
            if work.choices is not last:  # sources share the mapping among works with the same choices
                last, number = work.choices, self._effective(number_of(work.choices))
            own[name] = stricter(own[name], number) if name in own else number
        by_fold: dict[str, int] = {}
        for name, number in own.items():
            key = folded(name)
            by_fold[key] = stricter(by_fold[key], number) if key in by_fold else number
        added = shared_names(self.policy.works.patterns, own)
        for name, number in added.items():
            key = folded(name)
            if key not in by_fold:
                own[name] = UNSET
            by_fold[key] = stricter(by_fold.get(key, UNSET), number)
        counts = Counter(by_fold.values())
        self.strictest = strictest_of((UNSET, *counts))
        counts.pop(UNSET, None)
        kept = [number for number, _ in counts.most_common() if number != self.strictest][: MAX_WISHES - 1]
        self.numbers: tuple[int, ...] = (*sorted(kept), self.strictest) if counts else ()
        known = frozenset((UNSET, *self.numbers))
        self.works = self.shared = 0
        self.keys: dict[str, int] = {}
        for name, number in own.items():
            key = folded(name)
            given = by_fold[key] if by_fold[key] in known else self.strictest
            self.shared += given != number
            self.works += given != UNSET and name not in added
            if (given != UNSET or not name.isascii()) and len(name) <= MAX_NAME and not _UNREADABLE.search(name):
                self.keys.update(dict.fromkeys(_spellings(name, key), given))

    def _effective(self, number: int) -> int:
        """Return the number of the choices with an effect: what is only allowed has none unless creators decide."""
        if all(self.wished_on(part, number) is part for part in self._table.path_policies):
            return UNSET
        if self.policy.creators.decide:
            return number
        return stricter(number, UNSET)

    @property
    def globs(self) -> tuple[str, ...]:
        """The patterns of paths that are parts of works."""
        return tuple(pattern.replace(MARK, "*") for pattern in self.policy.works.patterns)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of works, the most specific first."""
        return tuple(self.policy.works.patterns[index] for index in by_specificity(self.globs))

    @property
    def expressions(self) -> tuple[str, ...]:
        """Expressions of which the first that matches a path has the name of its work as its group: those for the
        patterns as they are written, then for any letter case."""
        parts = [(before, after) for before, _, after in (pattern.partition(MARK) for pattern in self.patterns)]
        exact = [capturing_to_regex(before, after) for before, after in parts]
        return *exact, *(capturing_to_regex(before, after, any_case=True) for before, after in parts)


def _spellings(name: str, key: str) -> Iterator[str]:
    """Yield the keys of a name: what is left of its usual spellings when the letters of ASCII are in lower case."""
    yield key
    if match := _ISRC.fullmatch(key):
        yield "-".join(match.groups())
    if not name.isascii() or not key.isascii():
        for spelling in (name, key):
            yield from (_lower(normalize(form, spelling)) for form in ("NFC", "NFD"))
        yield _lower(name)


def _lower(name: str) -> str:
    return "".join(character.lower() if character.isascii() else character for character in name)


_SCRIPTS = (
    (0xC0, 0x17F), (0x3AC, 0x3CE), (0x430, 0x45F), (0x5D0, 0x5EA), (0x621, 0x64A), (0x2013, 0x2026), (0x3041, 0x30FF),
    (0x4E00, 0x9FFF), (0xAC00, 0xD7A3),
)  # fmt: skip
"""Letters of Latin, Greek, Cyrillic, Hebrew, Arabic, Japanese, Chinese and Korean, dashes and quotation marks."""


@cache
def plain_ranges() -> tuple[tuple[int, int], ...]:
    """Return the characters beyond ASCII that are in no other spelling of a name: neither in another letter case, nor
    composed or decomposed (Unicode's NFC, NFD)."""
    second = {int(parts[1], 16) for parts in map(_decomposed, range(0x80, 0x3400)) if len(parts) == 2}

    def is_plain(number: int) -> bool:
        character = chr(number)
        return folded(character) == character and not combining(character) and number not in second

    numbers = [number for first, last in _SCRIPTS for number in range(first, last + 1) if is_plain(number)]
    return _ranges(numbers)


def _decomposed(number: int) -> list[str]:
    parts = decomposition(chr(number)).split()
    return [] if parts[:1] and parts[0].startswith("<") else parts


def _ranges(numbers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    ranges = []
    for _, group in groupby(enumerate(numbers), lambda item: item[1] - item[0]):
        run = [number for _, number in group]
        ranges.append((run[0], run[-1]))
    return tuple(ranges)


@cache
def plain_name() -> str:
    """Return an expression (PCRE, of bytes): it matches a name of which the keys are all spellings that there are."""
    by_start: dict[bytes, set[int]] = {}
    for first, last in plain_ranges():
        for number in range(first, last + 1):
            encoded = chr(number).encode()
            by_start.setdefault(encoded[:-1], set()).add(encoded[-1])
    ends = {start: _class(lasts) for start, lasts in by_start.items()}
    two = [f"{_escaped(start[0])}{ending}" for start, ending in ends.items() if len(start) == 1]
    by_lead: dict[tuple[int, str], set[int]] = {}
    for start, ending in ends.items():
        if len(start) == 2:
            by_lead.setdefault((start[0], ending), set()).add(start[1])
    by_seconds: dict[tuple[str, str], set[int]] = {}
    for (lead, ending), seconds in by_lead.items():
        by_seconds.setdefault((_class(seconds), ending), set()).add(lead)
    three = [f"{_class(leads)}{seconds}{ending}" for (seconds, ending), leads in by_seconds.items()]
    return f"^(?!{_PARTLY_HYPHENATED}$)(?:[ -~]|{'|'.join((*two, *three))})*$"


def _class(values: Iterable[int]) -> str:
    ranges = _ranges(sorted(values))
    return "[" + "".join(_escaped(a) + (f"-{_escaped(b)}" if b > a else "") for a, b in ranges) + "]"


def _escaped(byte: int) -> str:
    return f"\\x{byte:02x}"
