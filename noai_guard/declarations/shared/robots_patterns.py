"""Path patterns of a policy in the syntax of robots.txt, for every standard that uses it.

A robots.txt pattern matches the beginning of path and query, and the longest match counts. It is called `prefix` here,
to tell it apart from the patterns of a policy. Those can mean more (`*` inside one segment, `?`): the ones without an
exact equivalent are listed by `unsupported_patterns`. Accents stand in either form, where that is not too long.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import takewhile
from urllib.parse import quote, unquote

from noai_guard.core.model import PathPolicy
from noai_guard.core.path_patterns import PathMatcher, in_both_forms, pattern_to_robots
from noai_guard.core.policy import Exemptions, Policy

_BELOW = "\0"
"""First character of a name that no pattern can spell: a control character is an error in a glob."""

_ENDS = ("$", "?")

_MAX_SECOND_FORMS = 100
"""Patterns that stand in another form of their accents too. Beyond that all stand as they are written, because a
robots.txt is read to 500 KiB."""

_MAX_OTHER_SPELLINGS = 500
"""Prefixes that stand in other percent-encodings too; beyond that, none does."""

_MAX_COMPARED = 50
"""Sections without an exact equivalent that are compared with all others; the works of a site may be thousands."""


def unsupported_patterns(policy: Policy) -> tuple[tuple[str, str], ...]:
    """Return every path pattern without an exact equivalent in robots.txt, with its location (`rule kits`).

    robots.txt, tdmrep.json and Content-Usage leave them out. The guard enforces them, and the header fields of a
    response always declare what holds for its path.
    """
    return tuple(
        (pattern, location)
        for location, patterns in _patterns(policy)
        for pattern in patterns
        if pattern_to_robots(pattern) is None
    )


def _patterns(policy: Policy) -> Iterator[tuple[str, Iterable[str]]]:
    yield "paths", [path_policy.pattern for path_policy in policy.path_policies]
    for rule in policy.rules:
        yield f"rule {rule.id}", rule.paths
    yield "exemptions", policy.exemptions.paths


def without_unsupported_patterns(policy: Policy) -> Policy:
    """Return the policy without unsupported patterns. Rules that have no other paths are left out."""
    rules = [(rule, tuple(filter(_is_supported, rule.paths))) for rule in policy.rules]
    return replace(
        policy,
        path_policies=tuple(path_policy for path_policy in policy.path_policies if _is_supported(path_policy.pattern)),
        rules=tuple(replace(rule, paths=paths) for rule, paths in rules if paths or not rule.paths),
        exemptions=replace(policy.exemptions, paths=tuple(filter(_is_supported, policy.exemptions.paths))),
    )


def _is_supported(pattern: str) -> bool:
    return pattern_to_robots(pattern) is not None


def sample_paths(policy: Policy) -> dict[str, str]:
    """Return each prefix that the supported patterns need, with a path that it matches and no longer prefix does.

    They are in alphabetical order, so that a prefix comes after every shorter prefix of it.
    """
    patterns = tuple(dict.fromkeys(pattern for _, patterns in _patterns(policy) for pattern in patterns))
    in_both = in_both_forms(patterns)
    if len(in_both) - len(patterns) > _MAX_SECOND_FORMS:
        in_both = patterns
    prefixes = {prefix for pattern in in_both for prefix in pattern_to_robots(pattern) or ()}
    samples = {prefix: _sample(prefix) for prefix in prefixes}
    spelled = {other: path for prefix, path in samples.items() for other in _other_spellings(prefix)}
    if len(spelled) <= _MAX_OTHER_SPELLINGS:
        samples = {**spelled, **samples}
    return dict(sorted(samples.items()))


def _sample(prefix: str) -> str:
    return unquote(prefix[:-1]) if prefix.endswith(_ENDS) else unquote(prefix) + _BELOW


def _other_spellings(prefix: str) -> Iterator[str]:
    """Yield a prefix as links have it that were made by encodeURIComponent of JavaScript, quote of Python or
    rawurlencode of PHP: they encode `&` or `'`, and robots.txt tells that apart (RFC 9309, 2.2.2)."""
    path, end = (prefix[:-1], prefix[-1]) if prefix.endswith(_ENDS) else (prefix, "")
    for safe in ("/!'()*", "/"):
        other = quote(unquote(path), safe=safe) + end
        if other != prefix:
            yield other


def path_policies(policy: Policy) -> list[tuple[str, PathPolicy]]:
    """Return each prefix that the path policies need, longest first, with the path policy that holds for it."""
    supported = tuple(path_policy for path_policy in policy.path_policies if _is_supported(path_policy.pattern))
    globs = PathMatcher([path_policy.pattern for path_policy in supported])
    samples = sample_paths(replace(policy, path_policies=supported, rules=(), exemptions=Exemptions()))
    entries = [(prefix, supported[globs.first(path)]) for prefix, path in samples.items()]
    return sorted(entries, key=lambda entry: -len(entry[0]))


def path_policies_by_prefix(policy: Policy) -> Callable[[str, bool], Iterable[PathPolicy]]:
    """Return a function that gives the path policies which may hold for the paths that a pattern of robots.txt matches.

    These are the one of the whole prefix, those whose patterns have no exact equivalent, and, if its second argument is
    true or the pattern holds `*` or `$`, those of longer prefixes.
    """
    by_prefix = dict(path_policies(policy))
    prefixes = sorted(by_prefix)
    lengths = sorted({len(prefix) for prefix in prefixes}, reverse=True)
    inexact = [path_policy for path_policy in policy.path_policies if not _is_supported(path_policy.pattern)]

    def holding(pattern: str, with_longer: bool) -> Iterator[PathPolicy]:
        literal = re.split(r"[*$]", pattern, maxsplit=1)[0]
        prefix = quote(unquote(literal), safe="/!&'()*+,-.:;=?@_~")
        enclosing = (prefix[:length] for length in lengths if length <= len(prefix))
        yield next((by_prefix[each] for each in enclosing if each in by_prefix), policy.whole_site)
        if with_longer or literal != pattern:
            longer = takewhile(lambda each: each.startswith(prefix), prefixes[bisect_left(prefixes, prefix) :])
            yield from {by_prefix[each] for each in longer}
        yield from (each for each in inexact if may_overlap(each.pattern, prefix))

    return holding


def covered_sections(policy: Policy) -> Iterator[tuple[str, PathPolicy, Iterable[PathPolicy]]]:
    """Yield each path policy without an exact equivalent: a wider prefix, the path policy, and all that may hold there.

    Only for readers who take the longest match: where a longer prefix matches, its own line counts, so `/**/*.flac`
    need not say what `/private/**` does.
    """
    inexact = [path_policy for path_policy in policy.path_policies if not _is_supported(path_policy.pattern)]
    prefixes = path_policies(policy) if len(inexact) <= _MAX_COMPARED else []
    for path_policy in inexact:
        wider = covering(path_policy.pattern)
        shorter = [
            each for prefix, each in prefixes if len(prefix) <= len(wider) and may_overlap(path_policy.pattern, prefix)
        ]
        yield wider, path_policy, (policy.whole_site, *inexact, *shorter) if prefixes else policy.all_path_policies


def covering(pattern: str) -> str:
    """Return one prefix that matches every path that a glob matches, and possibly more."""
    loose = re.sub(r"/\*\*\Z", "", pattern)
    loose = re.sub(r"\*\*/|[*?$]+", "*", loose)
    return quote(re.sub(r"\*+", "*", loose), safe="/!&'()*+,-.:;=@_~") or "/"


def may_overlap(pattern: str, prefix: str) -> bool:
    """Return False only if surely no path matches both a glob and a prefix."""
    begins = quote(re.split(r"[*?]", pattern, maxsplit=1)[0], safe="/!&'()+,-.:;=@_~")
    bare = prefix.rstrip("$?")
    return begins.startswith(bare) or bare.startswith(begins)
