"""X-Robots-Tag: noai, noimageai (DeviantArt, 2022), noarchive (Bing, Amazon: no training), noml (Mojeek, 2023).

noai is on a line of its own, in lower case: img2dataset takes the text before a colon for a user agent, so that a
directive with a colon on the same line hides it (tested 2026-11-23, img2dataset 1.47).
"""

from collections.abc import Iterator, Sequence

from noai_guard.core.model import HeaderField, PathPolicy, Usage
from noai_guard.core.policy import Policy
from noai_guard.declarations.shared.standard import Standard, robots_directives, training_only_limitations


def _header_fields(policy: Policy, path_policy: PathPolicy) -> Sequence[HeaderField]:
    if not path_policy.reserves(Usage.TRAIN_AI):
        return ()
    return tuple((b"x-robots-tag", line.encode("ascii")) for line in robots_directives(policy))


def _limitations(policy: Policy) -> Iterator[str]:
    return training_only_limitations("X-Robots-Tag: noai", policy)


STANDARD = Standard("x_robots_tag", "X-Robots-Tag: noai", header_fields=_header_fields, limitations=_limitations)
