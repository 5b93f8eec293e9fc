"""The wishes for a million works, so small that every process holds them: 8 bytes each.

A work's choices are one of `COMBINATIONS` numbers. The index keeps the hash of each name with the number of its
choices in the ten lowest bits, sorted: two of a million names meet with a chance of 1 in 36,000, and then the stricter
choices count for both. `hash` of a text is keyed anew in each process.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from operator import eq
from unicodedata import normalize

from noai_guard.core.isrc import without_hyphens
from noai_guard.core.model import Action, PathPolicy, Usage, Wished
from noai_guard.core.wishes import WISHED_USAGES, Choice, WorkWishes

COMBINATIONS: int = 3 ** len(WISHED_USAGES)
"""Ways to choose for all usages."""

MAX_LISTED = 10_000
"""Works whose names an index keeps, for documents that list works."""

_NUMBER_BITS = 0x3FF
_HASH_BITS = 0xFFFF_FFFF_FFFF_FC00

entry_key: Callable[[int], int] = _HASH_BITS.__and__
"""Return what an entry knows its work by, in this process."""

entry_number: Callable[[int], int] = _NUMBER_BITS.__and__
"""Return the number of the choices in an entry."""

_PLACES: tuple[tuple[Usage, int], ...] = tuple((usage, 3**place) for place, usage in enumerate(WISHED_USAGES))
_ALL_UNSET = sum(Choice.UNSET.strictness * place for _, place in _PLACES)
_DIGITS = {choice: choice.strictness for choice in Choice}


def number_of(choices: Mapping[Usage, Choice]) -> int:
    """Return the number of choices, from 0 for all allowed to COMBINATIONS - 1 for all disallowed."""
    if not choices:
        return _ALL_UNSET
    return sum(_DIGITS[choices.get(usage, Choice.UNSET)] * place for usage, place in _PLACES)


UNSET = number_of({})
"""The number of a work for which nothing is wished."""


@cache
def choices_of(number: int) -> Mapping[Usage, Choice]:
    """Return the choice for each usage in WISHED_USAGES."""
    choices = tuple(Choice)
    return {usage: choices[number // place % 3] for usage, place in _PLACES}


@cache
def stricter(one: int, other: int) -> int:
    """Return the number of the stricter of two choices for each usage."""
    first, second = choices_of(one), choices_of(other)
    return number_of({usage: max(first[usage], second[usage], key=_DIGITS.__getitem__) for usage in first})


def strictest_of(numbers: Iterable[int]) -> int:
    """Return the number of the strictest of some choices for each usage; UNSET if there are none."""
    result: int | None = None
    for number in numbers:
        result = number if result is None else stricter(result, number)
    return UNSET if result is None else result


_DISALLOWING = frozenset(number for number in range(COMBINATIONS) if Choice.DISALLOW in choices_of(number).values())

UNKNOWN = COMBINATIONS
"""Stands for the number of a work's choices where nobody could be asked."""


def wished_policy(path_policy: PathPolicy, number: int, *, decide: bool, on_unknown: Action) -> PathPolicy:
    """Return the path policy of works for which that is wished, on the paths of another.

    `decide`: what creators allow is let in whatever the site says. Where the choices are UNKNOWN, the stricter of the
    site and `on_unknown` counts.
    """
    choices = choices_of(number) if number != UNKNOWN else {}
    disallowed = frozenset(usage for usage, choice in choices.items() if choice is Choice.DISALLOW)
    allowed = frozenset(usage for usage, choice in choices.items() if choice is Choice.ALLOW and decide)
    if number == UNKNOWN and on_unknown is Action.DENY:
        disallowed = frozenset(WISHED_USAGES)
    if not disallowed and not allowed:
        return path_policy
    usages = {
        **path_policy.usages,
        **dict.fromkeys(allowed, Action.ALLOW),
        **dict.fromkeys(disallowed, Action.DENY),
    }
    return PathPolicy(path_policy.pattern, usages, Wished(disallowed, allowed, number != UNKNOWN))


def entries_of(works: Sequence[WorkWishes]) -> "array[int]":
    """Return an entry for each of some works: the hash of its name, with the number of its choices."""
    entries = array("Q", bytes(8 * len(works)))
    last: object = None
    number = UNSET
    for place, work in enumerate(works):
        if work.choices is not last:  # sources share the mapping among works with the same choices
            last, number = work.choices, number_of(work.choices)
        entries[place] = hash(work.work) & _HASH_BITS | number
    return entries


def folded(name: str) -> str:
    """Return a name as it is for file systems that tell neither letter case apart nor an accent that is a character of
    its own from one that is part of the letter (Unicode 15, D145); an ISRC without its hyphens."""
    if name.isascii():
        return without_hyphens(name).lower()
    return normalize("NFC", normalize("NFD", name).casefold())


class WishIndex:
    """The number of the choices for each work. Never changes; `with_changes` returns another one.

    `version` is that of the source when it was read. `counts` has, for each number, how many works have it; `listed`
    the names of MAX_LISTED works for which something is wished, those first of which something is disallowed. `known`
    is False if the source could not be read: then nobody knows what is wished for any work.
    """

    def __init__(self, works: Iterable[WorkWishes] = (), version: Hashable = None, *, known: bool = True) -> None:
        self.version = version
        self.known = known
        self.listed: dict[str, int] = {}
        self._changed: dict[int, int | None] = {}
        self._changed_folded: dict[int, int | None] = {}
        exact: list[int] = []
        spelled: list[int] = []
        places = array("L")  # of the names that have another spelling
        listed = self.listed
        mild: dict[str, int] = {}
        last: object = None
        number = UNSET
        for work in works:
            name, choices = work.work, work.choices
            if choices is not last:  # sources share the mapping among works with the same choices
                last, number = choices, number_of(choices)
            exact.append(hash(name) & _HASH_BITS | number)
            other = name.lower() if "-" not in name and name.isascii() else folded(name)
            if other != name:
                spelled.append(hash(other) & _HASH_BITS | number)
                places.append(len(exact) - 1)
            if number != UNSET:
                names = listed if number in _DISALLOWING else mild
                if len(names) < MAX_LISTED or name in names:
                    names[name] = stricter(names.get(name, number), number)
        for name, number in mild.items():
            if name in listed or len(listed) < MAX_LISTED:
                listed[name] = stricter(listed.get(name, number), number)
        in_order = array("Q", spelled)
        self._folded = _merged(spelled)
        self._shared = _shared(exact, in_order, places) if len(self._folded) < len(in_order) else frozenset()
        self._exact = _merged(exact)
        self.counts: Counter[int] = Counter(map(_NUMBER_BITS.__and__, self._exact))

    def __len__(self) -> int:
        return sum(self.counts.values())

    @property
    def wished(self) -> int:
        """For how many works something is wished."""
        return len(self) - self.counts[UNSET]

    def number(self, name: str) -> int | None:
        """Return the number of the choices for a work, None if the source does not name it.

        A name that is not there is looked for as servers read it that do not tell letter case apart.
        """
        key = hash(name) & _HASH_BITS
        number = _looked_up(key, self._changed, self._exact)
        if number is not None:
            return number
        other = hash(folded(name)) & _HASH_BITS
        numbers = (_looked_up(other, self._changed, self._exact), _looked_up(other, self._changed_folded, self._folded))
        known = [number for number in numbers if number is not None]
        return strictest_of(known) if known else None

    def strictest(self, names: Iterable[str]) -> int:
        """Return the number of the strictest choices for the work that has one of these names.

        UNKNOWN if the source could not be read. Names that it does not have do not count; if it has none of them,
        nothing is wished.
        """
        if not self.known:
            return UNKNOWN
        return strictest_of(number for name in names if (number := self.number(name)) is not None)

    def strictest_of_several(self, works: Iterable[Iterable[str]]) -> int:
        """Return the number of the strictest choices for several works, each given by its names: all that one path may
        be part of, as servers read it."""
        return strictest_of(map(self.strictest, works)) if self.known else UNKNOWN

    def with_changes(self, works: Iterable[WorkWishes], version: Hashable) -> "WishIndex | None":
        """Return the index after changes, as `WishesSource.changes` yields them. What did not change is shared.

        None if it cannot be told: what is wished for one of several names that differ in letter case only has changed.
        """
        numbers: dict[str, list[int]] = {}
        for work in works:
            numbers.setdefault(work.work, []).extend([number_of(work.choices)] if work.choices else [])
        index = WishIndex.__new__(WishIndex)
        index.version, index.known = version, True
        index.listed, index.counts = dict(self.listed), self.counts.copy()
        index._exact, index._folded = self._exact, self._folded
        index._changed, index._changed_folded = dict(self._changed), dict(self._changed_folded)
        index._shared = self._shared
        for name, given in numbers.items():
            number = strictest_of(given) if given else None
            key = hash(name) & _HASH_BITS
            before = _looked_up(key, index._changed, index._exact)
            index._changed[key] = number
            if (other := folded(name)) != name:
                other_key = hash(other) & _HASH_BITS
                others = _looked_up(other_key, index._changed_folded, index._folded)
                if before is not None:
                    if other_key in index._shared:
                        return None
                    index._changed_folded[other_key] = number
                elif number is not None:
                    if others is not None:
                        index._shared |= {other_key}
                    index._changed_folded[other_key] = number if others is None else stricter(others, number)
            if before is not None:
                index.counts[before] -= 1
            index.listed.pop(name, None)
            if number is not None:
                index.counts[number] += 1
                if number != UNSET and len(index.listed) < MAX_LISTED:
                    index.listed[name] = number
        index.counts = +index.counts
        return index

    @property
    def changed(self) -> int:
        """How many works have changed since all was read."""
        return len(self._changed)

    @property
    def reserved(self) -> Counter[Usage]:
        """How many works there are for which each usage is disallowed."""
        found: Counter[Usage] = Counter()
        for number, works in self.counts.items():
            found.update({usage: works for usage, choice in choices_of(number).items() if choice is Choice.DISALLOW})
        return found

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of all choices that some work has."""
        return tuple(self.counts)


def _looked_up(key: int, changed: Mapping[int, int | None], packed: "array[int]") -> int | None:
    if changed and key in changed:
        return changed[key]
    position = bisect_left(packed, key)
    found = packed[position] if position < len(packed) else -1
    return found & _NUMBER_BITS if found & _HASH_BITS == key and found >= 0 else None


def _shared(exact: list[int], spelled: "array[int]", places: "array[int]") -> frozenset[int]:
    """Return the keys of spellings that several names have: the names at these places of `exact`."""
    names: dict[int, int] = {}
    several: set[int] = set()
    for entry, place in zip(spelled, places, strict=True):
        key, name = entry & _HASH_BITS, exact[place] & _HASH_BITS
        if names.setdefault(key, name) != name:
            several.add(key)
    return frozenset(several)


def _merged(packed: list[int]) -> "array[int]":
    """Return the entries sorted, one for each hash, with the strictest of its choices."""
    packed.sort()
    hashes = list(map(_HASH_BITS.__and__, packed))
    if not any(map(eq, hashes, islice(hashes, 1, None))):
        return array("Q", packed)
    merged = array("Q")
    for entry in packed:
        if merged and entry & _HASH_BITS == merged[-1] & _HASH_BITS:
            entry = entry & _HASH_BITS | stricter(merged.pop() & _NUMBER_BITS, entry & _NUMBER_BITS)
        merged.append(entry)
    return merged
