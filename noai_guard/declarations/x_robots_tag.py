"""X-Robots-Tag: noai, noimageai (DeviantArt, 2022), noarchive (Bing, Amazon: no training), noml (Mojeek, 2023).

noai is on a line of its own, in lower case: img2dataset takes the text before a colon for a user agent, so that a
directive with a colon on the same line hides it (tested 2026-11-23, img2dataset 1.47).
"""

from noai_guard.declarations.shared.standard import Standard, robots_directives, training_only_limitations

STANDARD = Standard(
    "x_robots_tag",
    "X-Robots-Tag: noai",
    header_fields=lambda policy, path_policy: [
        (b"x-robots-tag", line.encode("ascii")) for line in robots_directives(policy, path_policy)
    ],
    limitations=lambda policy: training_only_limitations("X-Robots-Tag: noai", policy),
)
