"""Paths of a policy as patterns of robots.txt, for every standard that shares its syntax.

A pattern of robots.txt ("line") matches the beginning of path and query, the longest match counts. What a glob
means beyond that (`*` inside one segment, `?`) cannot be said exactly; `inexpressible` lists it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import quote, unquote

from noai_guard.core.path_patterns import compile_globs, glob_to_robots
from noai_guard.core.policy import PathPolicy, Policy

_BELOW = "\0"
"""Begins a name that no pattern can spell: a control character is an error in a glob."""

ELSEWHERE = f"/{_BELOW}"
"""A path that only `/**` matches."""


class Inexpressible(NamedTuple):
    """A path pattern that robots.txt and its relatives cannot say, and where it stands in the policy."""

    pattern: str
    where: str


def inexpressible(policy: Policy) -> tuple[Inexpressible, ...]:
    """Every path pattern that is left out of robots.txt, tdmrep.json and Content-Usage, in policy order.

    The guard enforces them, and the header fields of a response always say what holds for its path.
    """
    return tuple(
        Inexpressible(pattern, where)
        for where, patterns in _patterns(policy)
        for pattern in patterns
        if glob_to_robots(pattern) is None
    )


def _patterns(policy: Policy) -> Iterator[tuple[str, Iterable[str]]]:
    yield "sections", [path_policy.pattern for path_policy in policy.path_policies]
    for rule in policy.rules:
        yield f"rule {rule.id}", rule.paths
    yield "exemptions", policy.exemptions.paths


def expressible(policy: Policy) -> Policy:
    """The policy without the path patterns that robots.txt cannot say; rules for such paths alone are gone."""
    rules = [(rule, tuple(filter(_is_expressible, rule.paths))) for rule in policy.rules]
    return replace(
        policy,
        path_policies=tuple(
            path_policy for path_policy in policy.path_policies if _is_expressible(path_policy.pattern)
        ),
        rules=tuple(replace(rule, paths=paths) for rule, paths in rules if paths or not rule.paths),
        exemptions=replace(policy.exemptions, paths=tuple(filter(_is_expressible, policy.exemptions.paths))),
    )


def _is_expressible(pattern: str) -> bool:
    return glob_to_robots(pattern) is not None


def samples(policy: Policy) -> dict[str, str]:
    """Each line that the expressible patterns need -> a path that it matches and no longer line does.

    Lines come in alphabetical order, so a line stands after every line that is its beginning.
    """
    lines = {
        line for _, patterns in _patterns(policy) for pattern in patterns for line in glob_to_robots(pattern) or ()
    }
    return {line: sample(line) for line in sorted(lines)}


def sample(line: str) -> str:
    """A path that a line matches."""
    return unquote(line[:-1]) if line.endswith(("$", "?")) else unquote(line) + _BELOW


def by_section(policy: Policy) -> list[tuple[str, PathPolicy]]:
    """Each line of the sections, the longest first, with the section that holds for it."""
    path_policies = [path_policy for path_policy in policy.path_policies if _is_expressible(path_policy.pattern)]
    globs = compile_globs([path_policy.pattern for path_policy in path_policies])
    lines = samples(replace(policy, path_policies=tuple(path_policies), rules=(), exemptions=type(policy.exemptions)()))
    found = [(line, path_policies[globs.first(path)]) for line, path in lines.items()]
    return sorted(found, key=lambda entry: -len(entry[0]))


def covering(pattern: str) -> str:
    """One line that matches every path of any glob, and possibly more."""
    loose = re.sub(r"/\*\*\Z", "", pattern)
    loose = re.sub(r"\*\*/|[*?$]+", "*", loose)
    return quote(re.sub(r"\*+", "*", loose), safe="/!&'()*+,-.:;=@_~") or "/"


def may_overlap(pattern: str, line: str) -> bool:
    """Whether a path could match both; False only when surely none does."""
    begins = quote(re.split(r"[*?]", pattern, maxsplit=1)[0], safe="/!&'()+,-.:;=@_~")
    bare = line.rstrip("$?")
    # `/a/**` is `/a` too.
    begins = begins[:-1] if re.match(r"[^*?]*/\*\*", pattern) else begins
    return begins.startswith(bare) or bare.startswith(begins)
