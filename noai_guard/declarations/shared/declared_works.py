"""A policy as documents declare it: with a section for each work whose creator wishes something else than the site.

A document cannot name a million works. The paths of those that it does not name are covered by a section that
reserves what any creator reserves, so that no document grants what a creator refuses; header fields say what holds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from noai_guard.core.model import PathPolicy
from noai_guard.core.path_patterns import pattern_to_robots
from noai_guard.core.policy import DecisionTable, Policy
from noai_guard.core.wish_index import UNKNOWN, UNSET, choices_of, strictest_of
from noai_guard.core.wishes import Choice
from noai_guard.core.works import MARK

_BELOW = "\0"
_ALL_DISALLOWED = strictest_of(range(UNSET, UNKNOWN))


@dataclass(frozen=True, slots=True)
class DeclaredWorks:
    """The policy that documents declare. `named` works of `differing` ones have a section; `differing` is None if
    nobody knows how many there are."""

    policy: Policy
    named: int = 0
    differing: int | None = 0

    @property
    def all_named(self) -> bool:
        """True if no work is left to header fields and guard."""
        return self.named == self.differing


class WorkSections:
    """Sections for the works of a policy."""

    def __init__(self, table: DecisionTable) -> None:
        policy = table.policy
        self._table = table
        self._policy = policy
        self._index = policy.creators.index
        self._asked = policy.creators.asked
        self._exact = [pattern for pattern in policy.works.patterns if _sample(pattern.replace(MARK, "x"))]
        self._inexact = [pattern for pattern in policy.works.patterns if pattern not in self._exact]

    def declared(self, most: int) -> DeclaredWorks:
        """Return what documents declare that name at most so many works."""
        policy, index = self._policy, self._index
        if not policy.works.patterns or not (self._asked or index is not None):
            return DeclaredWorks(policy)
        if self._asked or index is None or not index.known:
            return DeclaredWorks(self._with({}, UNKNOWN), 0, None)
        differing = sum(count for number, count in index.counts.items() if self._differs_anywhere(number))
        sections: dict[str, PathPolicy] = {}
        named = 0
        for name, number in index.listed.items():
            if named == most:
                break
            if self._differs_anywhere(number):
                of_work = dict(self._sections_of(name, number))
                named += len(of_work) == len(self._exact)
                sections |= of_work
        rest = UNSET if named == differing and not self._inexact else strictest_of(index.numbers)
        return DeclaredWorks(self._with(sections, rest), named, differing)

    def with_any_wish(self) -> DeclaredWorks:
        """Return a policy that reserves for every work what its creator may reserve."""
        return DeclaredWorks(self._with({}, UNKNOWN), 0, None)

    def _differs_anywhere(self, number: int) -> bool:
        return any(self._table.wished_on(part, number).usages != part.usages for part in self._table.path_policies)

    def _sections_of(self, name: str, number: int) -> Iterator[tuple[str, PathPolicy]]:
        for pattern in self._exact:
            path = pattern.replace(MARK, name)
            sample = _sample(path)
            # A name with a wildcard in it would be a section of other works.
            if sample and not set("*?") & set(name) and self._policy.works.work_of(sample) == name:
                of_site = self._table.path_class(sample).path_policy
                yield path, replace(self._table.wished_on(of_site, number), pattern=path)

    def _with(self, sections: dict[str, PathPolicy], rest: int) -> Policy:
        """Return the policy with these sections; `rest` is the number of what is wished for works without one."""
        policy, wished_on = self._policy, self._table.wished_on
        index = self._index
        parts = {part.pattern: part for part in policy.path_policies}
        for pattern, part in parts.items():
            sample = _sample(pattern)
            name = policy.works.work_of(sample) if sample else ""
            number = index.number(name) if name and index is not None else None
            if number is not None:
                parts[pattern] = replace(wished_on(part, number), pattern=pattern)
        parts |= sections
        covering = _ALL_DISALLOWED if rest == UNKNOWN else rest
        if any(choice is Choice.DISALLOW for choice in choices_of(covering).values()):
            for pattern in policy.works.patterns:
                path = pattern.replace(MARK, "*")
                of_site = self._table.path_class(_example(pattern)).path_policy
                parts.setdefault(path, replace(wished_on(of_site, covering), pattern=path))
        return replace(policy, path_policies=tuple(parts.values()))


def _sample(pattern: str) -> str:
    """Return a path in a section of documents, empty if robots.txt has no exact word for the section."""
    if pattern_to_robots(pattern) is None:
        return ""
    return pattern.removesuffix("**") + _BELOW if pattern.endswith("**") else pattern


def _example(pattern: str) -> str:
    """Return a path that a pattern of works matches."""
    return pattern.replace(MARK, _BELOW).replace("**", _BELOW).replace("*", _BELOW).replace("?", _BELOW)
