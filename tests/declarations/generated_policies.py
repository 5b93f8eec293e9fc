"""Generated policies with path policies, and paths that lie in and beside them."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import strategies as st

from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.core.policy import Policy

_SEGMENTS = st.sampled_from(["tracks", "press", "a b", "café", "x", "x&y"])
_DIRECTORIES = st.lists(_SEGMENTS, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))

SUPPORTED_PATTERNS = st.one_of(_DIRECTORIES.map(lambda d: f"{d}/**"), _DIRECTORIES.filter(bool))
"""Patterns with an exact equivalent in robots.txt."""

ANY_PATTERNS = st.one_of(
    SUPPORTED_PATTERNS,
    _DIRECTORIES.map(lambda d: f"{d}/*"),
    _DIRECTORIES.map(lambda d: f"{d}/**/x"),
    st.sampled_from(["/tr*", "/a?b/**", "/*/x", "/**/*.mp3", "/$a"]),
)
PATHS = _DIRECTORIES.flatmap(lambda d: st.sampled_from([d or "/", f"{d}/", f"{d}/q.mp3", f"{d}/q/x", f"{d}/x"]))
ALLOWED_OR_DENIED: st.SearchStrategy[Mapping[Usage, Action]] = st.fixed_dictionaries(
    {usage: st.sampled_from([Action.ALLOW, Action.DENY]) for usage in Usage}
)


def policies(
    base: Policy,
    patterns: st.SearchStrategy[str],
    usages: st.SearchStrategy[Mapping[Usage, Action]] = ALLOWED_OR_DENIED,
) -> st.SearchStrategy[Policy]:
    """Generate copies of `base` with other usages and up to five path policies."""
    path_policies = st.lists(
        st.builds(PathPolicy, patterns, usages), max_size=5, unique_by=lambda path_policy: path_policy.pattern
    )
    return st.builds(
        lambda whole_site, parts: replace(base, usages=whole_site, path_policies=tuple(parts)), usages, path_policies
    )
