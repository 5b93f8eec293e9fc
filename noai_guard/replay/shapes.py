"""Tell by regular expressions alone which class of paths a path is in, and which work it is part of.

Engines evaluate these where the rows are, so that of the paths of a shape, which may be millions, one is enough for the
judge. A path that servers read in several ways has no shape: it is judged by itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.path_patterns import by_specificity, in_both_forms, pattern_to_regex
from noai_guard.core.policy import Policy
from noai_guard.core.works import MARK, MAX_NAME

PLAIN = r"^(?:/[A-Za-z0-9_~!$&'()*+,:=@-][A-Za-z0-9_~!$&'()*+,:=@.-]*)*/?$"
"""Paths that everybody reads alike: nothing encoded, no empty segment, none that begins with a dot."""

MAX_PLAIN = 1024
"""Bytes of the longest path that has a shape."""

_MAX_PATTERNS = 31
"""Patterns that fit into one number, twice each: as they are written, and in any letter case."""

LONGEST_WORK = MAX_NAME


@dataclass(frozen=True, slots=True)
class Shapes:
    """The expressions of one or several policies. Paths that match the same of `patterns` and of `exact` texts are
    of one class to all of them. `works` have the name of the work as their only group, in order: the first counts;
    `work_starts` are the texts that they begin with.
    Paths that match one of `wished` have no shape: for each of their works, creators may wish something else.
    Not `usable`: there are too many, or of a kind that engines read in different ways; then no path has a shape."""

    patterns: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()
    works: tuple[str, ...] = ()
    work_starts: tuple[str, ...] = ()
    wished: tuple[str, ...] = ()
    usable: bool = True

    @classmethod
    def of(cls, policies: Sequence[CompiledPolicy]) -> "Shapes":
        """Return the shapes that tell apart what any of these policies tells apart."""
        patterns = dict.fromkeys(pattern for each in policies for pattern in _patterns(each.policy))
        documents = dict.fromkeys(path for each in policies for path in each.documents if _can_be_plain(path))
        works = policies[0].policy.works.patterns
        ordered = [works[index] for index in by_specificity([each.replace(MARK, "*") for each in works])]
        wished = dict.fromkeys(work for each in policies if each.has_wishes for work in each.policy.works.patterns)
        return cls(
            tuple(
                expression
                for pattern in patterns
                for expression in (pattern_to_regex(pattern), pattern_to_regex(pattern, any_case=True))
            ),
            tuple(documents),
            tuple(map(_capturing, ordered)),
            tuple(each.partition(MARK)[0] for each in ordered),
            tuple(pattern_to_regex(each.replace(MARK, "*"), any_case=True) for each in in_both_forms(wished)),
            len(patterns) <= _MAX_PATTERNS - len(documents) // 2 and all(map(_is_simple, works)),
        )


def _patterns(policy: Policy) -> Iterable[str]:
    yield from (section.pattern for section in policy.path_policies if _can_be_plain(section.pattern))
    yield from filter(_can_be_plain, policy.open_paths)
    for rule in policy.rules:
        yield from filter(_can_be_plain, rule.paths)


def _can_be_plain(pattern: str) -> bool:
    return "/." not in pattern and pattern.isascii() and pattern != "/**"


def _is_simple(pattern: str) -> bool:
    """Return True if a pattern of works leaves no choice of what its name is."""
    before, _, after = pattern.partition(MARK)
    return not any(wildcard in before + after.removesuffix("/**") for wildcard in "*?")


def _capturing(pattern: str) -> str:
    return pattern_to_regex(pattern.replace(MARK, "\0")).replace(r"\x00", "([^/]*)")
