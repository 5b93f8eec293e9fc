"""IETF AIPREF: Content-Usage as a header and in robots.txt.

Labels and values of draft-ietf-aipref-vocab-08 (2026-09-13) in an RFC 9651 dictionary, as
draft-ietf-aipref-attach-05 (2026-08-19) defines. Readers of older drafts ignore the label that they do not know.
"""

from collections.abc import Callable, Iterator
from functools import cache

from noai_guard.core.model import PathPolicy, Usage
from noai_guard.core.policy import Policy
from noai_guard.declarations.shared import robots_patterns
from noai_guard.declarations.shared.standard import (
    Labels,
    Standard,
    coarse_label_limitations,
    reserved_labels,
    without_pairs,
)

LABELS: Labels = (
    ("train-ai", frozenset({Usage.TRAIN_AI})),
    ("ai-use", frozenset({Usage.AI_SEARCH, Usage.AI_INPUT, Usage.AI_AGENT})),
    ("search", frozenset({Usage.SEARCH})),
)
"""AIPREF labels and the usages of ours that they stand for; any one reserved makes a label `n` (vocab 5.1)."""


def preference(path_policy: PathPolicy) -> str:
    """Return the preferences of a path policy as a structured field: `train-ai=n, ai-use=n, search=y`."""
    return _serialised(reserved_labels(LABELS, path_policy))


@cache
def _serialised(reserved: frozenset[str]) -> str:
    # Imported here, because the build imports STANDARDS where the dependencies are not installed (hatch_build.py).
    import http_sf

    return http_sf.ser({label: http_sf.Token("n" if label in reserved else "y") for label, _ in LABELS})


def _robots_lines(policy: Policy) -> Iterator[str]:
    """Yield a line without a path for the whole site, then one for each path; readers take the longest match."""
    yield f"Content-Usage: {preference(policy.whole_site)}"
    for pattern, path_policy in robots_patterns.path_policies(policy):
        yield f"Content-Usage: {pattern} {preference(path_policy)}"
    reserved = [reserved_labels(LABELS, path_policy) for path_policy in policy.all_path_policies]
    everywhere = frozenset.intersection(*reserved)
    # A pattern without an exact equivalent is covered by a wider one, which must not grant anything reserved.
    for wider, path_policy, holding in robots_patterns.covered_sections(policy):
        if reserved_labels(LABELS, path_policy) - everywhere:
            somewhere = frozenset[str]().union(*(reserved_labels(LABELS, each) for each in holding))
            yield f"Content-Usage: {wider} {_serialised(somewhere)}"


def _brief_robots_lines(policy: Policy) -> Iterator[str]:
    """Yield one line without a path, which reserves what is reserved anywhere."""
    reserved = (reserved_labels(LABELS, path_policy) for path_policy in policy.all_path_policies)
    yield f"Content-Usage: {_serialised(frozenset[str]().union(*reserved))}"


def split_usage(value: str) -> tuple[str, str]:
    """Split the value of a Content-Usage line in robots.txt into its path (empty for the whole site) and the rest."""
    if not value.startswith("/"):
        return "", value
    path, *rest = value.split(maxsplit=1)
    return path, rest[0] if rest else ""


def _permitted(policy: Policy) -> Callable[[str], str]:
    holding_for = robots_patterns.path_policies_by_prefix(policy)
    reserved_anywhere = frozenset[str]().union(*(reserved_labels(LABELS, part) for part in policy.all_path_policies))
    # Where the longest path counts, our own lines for paths below win.
    ours_below = policy.declares(STANDARD.key)

    def permitted(value: str) -> str:
        path, pairs = split_usage(value)
        if without_pairs(pairs, lambda key, said: key in reserved_anywhere and said != "n") == pairs:
            return value
        parts = holding_for(path or "/", not ours_below)
        reserved = frozenset[str]().union(*(reserved_labels(LABELS, part) for part in parts))
        kept = without_pairs(pairs, lambda key, said: key in reserved and said != "n")
        return value if kept == pairs else f"{path} {kept}".strip() if kept else ""

    return permitted


STANDARD = Standard(
    "content_usage",
    "AIPREF Content-Usage",
    header_fields=lambda policy, path_policy: [(b"content-usage", preference(path_policy).encode("ascii"))],
    robots_lines=_robots_lines,
    brief_robots_lines=_brief_robots_lines,
    own_robots_key="content-usage",
    permitted=_permitted,
    limitations=lambda policy: coarse_label_limitations("Content-Usage", LABELS, policy),
)
