"""IETF AIPREF: Content-Usage as a header and in robots.txt.

Labels and values of draft-ietf-aipref-vocab-08 (2026-09-13), carried as draft-ietf-aipref-attach-05
(2026-08-19) says: an RFC 9651 dictionary. Readers of older drafts ignore the label they do not know.
"""

from collections.abc import Sequence

from noai_guard.declarations.path_lines import by_section
from noai_guard.declarations.standard import Standard
from noai_guard.model import HeaderField, Usage
from noai_guard.policy import Policy, Section

LABELS: tuple[tuple[str, frozenset[Usage]], ...] = (
    ("train-ai", frozenset({Usage.TRAIN_AI})),
    ("ai-use", frozenset({Usage.AI_SEARCH, Usage.AI_INPUT, Usage.AI_AGENT})),
    ("search", frozenset({Usage.SEARCH})),
)
"""AIPREF label -> the usages of ours that it stands for; any one reserved makes the label `n` (vocab 5.1)."""


def preference(section: Section) -> str:
    """The wishes of a section, serialised: `train-ai=n, ai-use=n, search=y`."""
    return ", ".join(
        f"{label}={'n' if any(map(section.reserves, usages)) else 'y'}" for label, usages in LABELS
    )


def _header_fields(policy: Policy, section: Section) -> Sequence[HeaderField]:
    return ((b"content-usage", preference(section).encode("ascii")),)


def _robots_lines(policy: Policy) -> Sequence[str]:
    by_path = [f"Content-Usage: {line} {preference(section)}" for line, section in by_section(policy)]
    return (f"Content-Usage: {preference(policy.whole_site)}", *by_path)


STANDARD = Standard(
    "content_usage", "AIPREF Content-Usage", header_fields=_header_fields, robots_lines=_robots_lines
)
