"""IETF AIPREF: Content-Usage as a header and in robots.txt.

Labels and values of draft-ietf-aipref-vocab-08 (2026-09-13), carried as draft-ietf-aipref-attach-05
(2026-08-19) says: an RFC 9651 dictionary. Readers of older drafts ignore the label they do not know.
"""

from collections.abc import Iterator, Sequence

from noai_guard.core.model import HeaderField, Usage
from noai_guard.core.path_patterns import glob_to_robots
from noai_guard.core.policy import PathPolicy, Policy
from noai_guard.declarations.shared.robots_patterns import by_section, covering
from noai_guard.declarations.shared.standard import Labels, Standard, coarse, reserved_labels

LABELS: Labels = (
    ("train-ai", frozenset({Usage.TRAIN_AI})),
    ("ai-use", frozenset({Usage.AI_SEARCH, Usage.AI_INPUT, Usage.AI_AGENT})),
    ("search", frozenset({Usage.SEARCH})),
)
"""AIPREF label -> the usages of ours that it stands for; any one reserved makes the label `n` (vocab 5.1)."""


def preference(path_policy: PathPolicy) -> str:
    """The wishes of a section, serialised: `train-ai=n, ai-use=n, search=y`."""
    return _serialised(reserved_labels(LABELS, path_policy))


def _serialised(reserved: frozenset[str]) -> str:
    # Here, because the package is built with the table of standards but without what it depends on (hatch_build.py).
    import http_sf

    return http_sf.ser({label: http_sf.Token("n" if label in reserved else "y") for label, _ in LABELS})


def _header_fields(policy: Policy, path_policy: PathPolicy) -> Sequence[HeaderField]:
    return ((b"content-usage", preference(path_policy).encode("ascii")),)


def _robots_lines(policy: Policy) -> Iterator[str]:
    """A line without a path for the whole site, then one for each path; the longest that matches counts."""
    yield f"Content-Usage: {preference(policy.whole_site)}"
    for line, path_policy in by_section(policy):
        yield f"Content-Usage: {line} {preference(path_policy)}"
    found = [reserved_labels(LABELS, path_policy) for path_policy in policy.all_path_policies]
    somewhere, everywhere = frozenset[str]().union(*found), frozenset.intersection(*found)
    for path_policy in policy.path_policies:
        # A pattern that cannot be said exactly is covered by a wider one, which must give nothing away.
        if glob_to_robots(path_policy.pattern) is None and reserved_labels(LABELS, path_policy) - everywhere:
            yield f"Content-Usage: {covering(path_policy.pattern)} {_serialised(somewhere)}"


def _limitations(policy: Policy) -> Iterator[str]:
    return coarse("Content-Usage", LABELS, policy)


STANDARD = Standard(
    "content_usage",
    "AIPREF Content-Usage",
    header_fields=_header_fields,
    robots_lines=_robots_lines,
    limitations=_limitations,
)
