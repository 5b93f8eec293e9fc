"""X-Robots-Tag: noai, noimageai (DeviantArt, 2022), noarchive or nocache (Bing, 2023), noml (Mojeek, 2023).

All are on one line, in lower case and without a colon: img2dataset takes the text before a colon for a user agent, so
that a directive with a colon on the same line hides noai (tested 2026-11-23, img2dataset 1.47).
"""

from collections.abc import Iterator

from noai_guard.core.model import PathPolicy
from noai_guard.core.opt_outs import bing_directive
from noai_guard.core.policy import Policy
from noai_guard.declarations.shared.standard import Standard, robots_directives, training_only_limitations


def _limitations(policy: Policy) -> Iterator[str]:
    def but(path_policy: PathPolicy) -> str:
        is_sent = policy.declares("noarchive") and bing_directive(path_policy)
        return " noarchive can, but Bing and Amazon then do not train either." if is_sent else ""

    return training_only_limitations("X-Robots-Tag: noai", policy, but)


STANDARD = Standard(
    "x_robots_tag",
    "X-Robots-Tag: noai",
    header_fields=lambda policy, path_policy: [
        (b"x-robots-tag", line.encode("ascii")) for line in filter(None, [robots_directives(policy, path_policy)])
    ],
    limitations=_limitations,
)
