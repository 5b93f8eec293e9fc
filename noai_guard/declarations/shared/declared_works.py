"""A policy as documents declare it: with a section for each work whose creator wishes something else than the site.

A document cannot name a million works. The paths of those that it does not name are covered by a section that
reserves what any creator reserves, so that no document grants what a creator refuses; header fields say what holds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from unicodedata import normalize

from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import PathPolicy
from noai_guard.core.path_patterns import pattern_to_robots
from noai_guard.core.policy import Policy
from noai_guard.core.stricter import StricterTable
from noai_guard.core.wish_index import UNKNOWN, UNSET, choices_of, strictest_of
from noai_guard.core.wishes import Choice
from noai_guard.core.works import MARK

_BELOW = "\0"
_ALL_DISALLOWED = strictest_of(range(UNSET, UNKNOWN))


@dataclass(frozen=True, slots=True)
class DeclaredWorks:
    """What documents declare, as a `table`. `named` works of `differing` ones have a section; `differing` is None if
    nobody knows how many there are. Not `complete`: a section does not hold all paths of its work."""

    table: DecisionTable
    named: int = 0
    differing: int | None = 0
    complete: bool = True

    @property
    def policy(self) -> Policy:
        """The policy of the table."""
        return self.table.policy

    @property
    def all_named(self) -> bool:
        """True if no work is left to header fields and guard."""
        return self.complete and self.named == self.differing


def declared_works(table: DecisionTable, most: int) -> DeclaredWorks:
    """Return what documents declare that name at most so many works."""
    if not isinstance(table, StricterTable):
        return WorkSections(table).declared(most)
    first, *others = [WorkSections(each).declared(most) for each in table.tables]
    tables = (first.table, *(each.table for each in others))
    return replace(first, table=table if tables == table.tables else StricterTable(tables))


class WorkSections:
    """Sections for the works of a policy."""

    def __init__(self, table: DecisionTable) -> None:
        policy = table.policy
        self._table = table
        self._policy = policy
        self._index = policy.creators.index
        self._asked = policy.creators.asked
        self._lets_some_in = any(not rule.action.refuses for rule in policy.rules)
        self._exact = [pattern for pattern in policy.works.patterns if _sample(pattern.replace(MARK, "x"))]
        self._inexact = [pattern for pattern in policy.works.patterns if pattern not in self._exact]

    def declared(self, most: int) -> DeclaredWorks:
        """Return what documents declare that name at most so many works."""
        policy, index = self._policy, self._index
        if not policy.works.patterns or not (self._asked or index is not None):
            return DeclaredWorks(self._table)
        if self._asked or index is None or not index.known:
            return DeclaredWorks(self._with({}, UNKNOWN), 0, None)
        differing = sum(count for number, count in index.counts.items() if self._differs_anywhere(number))
        sections: dict[str, PathPolicy] = {}
        named, complete = 0, not (self._inexact and differing)
        for name, number in index.listed.items():
            if named == most:
                break
            if self._differs_anywhere(number):
                # File systems spell an accent in one form, catalogues in the other.
                spellings = dict.fromkeys((name, normalize("NFC", name), normalize("NFD", name)))
                of_work = {path: section for spelling in spellings for path, section in self._sections_of(spelling)}
                named += 1 if of_work else 0
                complete = complete and len(of_work) == len(self._exact) * len(spellings)
                sections |= of_work
        rest = UNSET if complete and named == differing else strictest_of(index.numbers)
        return DeclaredWorks(self._with(sections, rest), named, differing, complete)

    def with_any_wish(self) -> DeclaredWorks:
        """Return a policy that reserves for every work what its creator may reserve."""
        return DeclaredWorks(self._with({}, UNKNOWN), 0, None)

    def _differs_anywhere(self, number: int) -> bool:
        for part in self._table.path_policies:
            wished = self._table.wished_on(part, number)
            # No rule of the site lets in what a creator disallows, though the site refuses it too.
            if wished.usages != part.usages or (self._lets_some_in and wished.wish.disallowed):
                return True
        return False

    def _sections_of(self, name: str) -> Iterator[tuple[str, PathPolicy]]:
        assert self._index is not None
        for pattern in self._exact:
            path = pattern.replace(MARK, name)
            sample = _sample(path)
            # A name with a wildcard in it would be a section of other works.
            if sample and not set("*?") & set(name) and name in (names := self._policy.works.names_of(sample)):
                of_site = self._table.path_class(sample).path_policy
                number = self._index.strictest(names)
                yield path, replace(self._table.wished_on(of_site, number), pattern=path)

    def _with(self, sections: dict[str, PathPolicy], rest: int) -> DecisionTable:
        """Return the table of the policy with these sections; `rest` is the number of what other works wish."""
        policy, wished_on = self._policy, self._table.wished_on
        index = self._index
        parts = {part.pattern: part for part in policy.path_policies}
        for pattern, part in parts.items():
            sample = _sample(pattern)
            names = policy.works.names_of(sample) if sample and index is not None and index.known else ()
            if index is not None and names:
                parts[pattern] = replace(wished_on(part, index.strictest(names)), pattern=pattern)
        parts |= sections
        covering = _ALL_DISALLOWED if rest == UNKNOWN else rest
        if any(choice is Choice.DISALLOW for choice in choices_of(covering).values()):
            for pattern in policy.works.patterns:
                path = pattern.replace(MARK, "*")
                of_site = self._table.path_class(_example(pattern)).path_policy
                parts.setdefault(path, replace(wished_on(of_site, covering), pattern=path))
        changed = replace(policy, path_policies=tuple(parts.values()))
        return self._table.changed(lambda _: changed)


def _sample(pattern: str) -> str:
    """Return a path in a section of documents, empty if robots.txt has no exact word for the section."""
    if pattern_to_robots(pattern) is None:
        return ""
    return pattern.removesuffix("**") + _BELOW if pattern.endswith("**") else pattern


def _example(pattern: str) -> str:
    """Return a path that a pattern of works matches."""
    return pattern.replace(MARK, _BELOW).replace("**", _BELOW).replace("*", _BELOW).replace("?", _BELOW)
