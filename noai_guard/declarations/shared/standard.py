"""Shape of a declaration standard, and helpers that several standards use."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import AI_USAGES, Document, HeaderField, PathPolicy, Usage
from noai_guard.core.opt_outs import bing_directive
from noai_guard.core.policy import Policy

Labels = tuple[tuple[str, frozenset[Usage]], ...]
"""Words of a standard, each with the usages of ours that it stands for."""


def reserved_labels(labels: Labels, path_policy: PathPolicy) -> frozenset[str]:
    """Return the words that a path policy denies: those for which any usage is reserved."""
    return frozenset(label for label, usages in labels if any(map(path_policy.reserves, usages)))


_BETWEEN_PAIRS = re.compile(r"[,;]|\s+(?=[\w-]+\s*=)")


def without_pairs(text: str, is_refused: Callable[[str, str], bool]) -> str:
    """Return `key=value` pairs, as forgiving readers find them, without the refused ones; the same text if none is.

    `is_refused` gets key and value in lower case, without blanks and quotation marks.
    """
    pairs = [pair.strip() for pair in _BETWEEN_PAIRS.split(text) if pair.strip()]
    kept = []
    for pair in pairs:
        key, _, value = pair.partition("=")
        if not is_refused(key.strip().lower(), value.strip().strip('"').strip().lower()):
            kept.append(pair)
    return text if len(kept) == len(pairs) else ", ".join(kept)


def robots_directives(policy: Policy, path_policy: PathPolicy) -> str:
    """Return the value of X-Robots-Tag and `meta name=robots`: `noai, noimageai, noarchive, noml`, or an empty text."""
    reserves_training = path_policy.reserves(Usage.TRAIN_AI)
    words = ["noai", "noimageai"] if reserves_training else []
    if policy.declares("noarchive") and (bing := bing_directive(path_policy)):
        words.append(bing)
    if reserves_training and policy.declares("noml"):
        words.append("noml")
    return ", ".join(words)


def coarse_label_limitations(title: str, labels: Labels, policy: Policy) -> Iterator[str]:
    """Yield a sentence for each word that denies more than the policy, which reserves only some of its usages."""
    for path_policy in policy.all_path_policies:
        for label, usages in labels:
            reserved = sorted(filter(path_policy.reserves, usages))
            if reserved and len(reserved) < len(usages):
                yield (
                    f"{title}: {label} covers {', '.join(sorted(usages))} in one word; "
                    f"under {path_policy.pattern} it is denied because of {', '.join(reserved)}."
                )


def training_only_limitations(
    title: str, policy: Policy, but: Callable[[PathPolicy], str] = lambda path_policy: ""
) -> Iterator[str]:
    """Yield a sentence for each path policy that reserves other AI usages but not training, the only one it covers.

    `but` returns what is to be added about a path policy.
    """
    for path_policy in policy.all_path_policies:
        if path_policy.reserves_anything and not path_policy.reserves(Usage.TRAIN_AI):
            reserved = ", ".join(sorted(usage for usage in AI_USAGES if path_policy.reserves(usage)))
            yield (
                f"{title} covers training only; for {path_policy.pattern} it cannot express that {reserved} "
                f"is reserved.{but(path_policy)}"
            )


@dataclass(frozen=True, slots=True)
class Standard:
    """One way to declare a reservation; forms that a standard does not have keep their defaults.

    `key` is its switch under `declarations:` in the policy. `documents` returns files of the site, `header_fields`
    fields for the responses of a path policy (each on a line of its own), `tags` elements for the head of HTML pages
    (bytes, ASCII), `robots_lines` lines that are repeated in every group of robots.txt; comments among them are
    written once, at the top. `brief_robots_lines`, if there are any, stand in for them in a robots.txt that would be
    too long, and reserve no less. `limitations` returns a sentence for each part of the policy that the standard cannot
    express.

    `own_robots_key` is the key of such lines, in lower case. `permitted` returns, for a policy, a function from the
    value of a site's own line to as much of it as does not contradict the policy, whether or not the standard is on.
    """

    key: str
    title: str
    documents: Callable[[DecisionTable], Sequence[Document]] = lambda table: ()
    header_fields: Callable[[Policy, PathPolicy], Sequence[HeaderField]] = lambda policy, path_policy: ()
    tags: Callable[[Policy, PathPolicy], Sequence[bytes]] = lambda policy, path_policy: ()
    robots_lines: Callable[[Policy], Iterable[str]] = lambda policy: ()
    limitations: Callable[[Policy], Iterable[str]] = lambda policy: ()
    brief_robots_lines: Callable[[Policy], Iterable[str]] | None = None
    own_robots_key: str = ""
    permitted: Callable[[Policy], Callable[[str], str]] = lambda policy: str
