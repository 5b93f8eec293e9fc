"""Content Signals (Cloudflare; policy of 2025-09-24, key `use` since 2026-07-01): robots.txt lines and a header.

In robots.txt a signal applies to a group and has no path, so path policies that differ from the whole site cannot be
expressed there. The header applies to the path of its response. Cloudflare's policy does not define it, but Cloudflare
sends it, and its own agent stops at `ai-input=no` (cloudflare/cloudflare-os at 02e50b7, read 2026-11).
"""

from collections.abc import Callable, Iterator, Sequence

from noai_guard.core.model import PathPolicy, Usage
from noai_guard.core.policy import Policy
from noai_guard.declarations.shared.standard import (
    Labels,
    Standard,
    coarse_label_limitations,
    reserved_labels,
    without_pairs,
)

KEYS: Labels = (
    ("search", frozenset({Usage.SEARCH})),
    ("ai-input", frozenset({Usage.AI_SEARCH, Usage.AI_INPUT, Usage.AI_AGENT})),
    ("ai-train", frozenset({Usage.TRAIN_AI})),
)
"""Signals and the usages of ours that they stand for; any one reserved makes a signal `no`."""

_PREAMBLE = (
    "Access to this site is on condition that you agree to follow its content signals, in this file and in responses.",
    "A signal that says yes: you may collect content for that use. no: you may not collect content for that use.",
    "A signal that is absent: this site neither grants nor restricts that use by a content signal.",
    "search: a search index, and results with links and short excerpts; no AI-generated summaries.",
    "ai-input: content as input of AI models (retrieval-augmented generation, grounding, generated answers).",
    "ai-train: training or fine-tuning of AI models.",
    "use: the most that may be done with what a signal allows. immediate: act on it once, store and reuse nothing.",
    "reference: index it, quote short excerpts and link back. full: also summarise and reproduce it. Where use is",
    "absent, reference holds.",
    "ANY RESTRICTIONS EXPRESSED VIA CONTENT SIGNALS ARE EXPRESS RESERVATIONS OF RIGHTS UNDER ARTICLE 4 OF THE",
    "EUROPEAN UNION DIRECTIVE 2019/790 ON COPYRIGHT AND RELATED RIGHTS IN THE DIGITAL SINGLE MARKET.",
)
"""Comments that bind a client to the signals and define them: without them a signal is a word that nobody agreed to.

The last sentence is copied from Cloudflare's policy (CC0).
"""


def _signals(path_policy: PathPolicy) -> dict[str, bool]:
    reserved = reserved_labels(KEYS, path_policy)
    return {key: key not in reserved for key, _ in KEYS}


def _line(signals: dict[str, bool]) -> str:
    """Return `search=yes, ai-input=no, ai-train=no, use=reference` without the keys that are not in `signals`."""
    pairs = [f"{key}={'yes' if granted else 'no'}" for key, granted in signals.items()]
    return ", ".join([*pairs, f"use={_uses(signals)[-1]}"])


def _uses(signals: dict[str, bool]) -> Sequence[str]:
    """Return the values of `use` that are granted, the most last."""
    # More than a reference is never granted, and nothing may be kept if neither search nor input is granted.
    may_refer = signals.get("search", True) or signals.get("ai-input", True)
    return ("immediate", "reference") if may_refer else ("immediate",)


def _pathless_signals(policy: Policy) -> dict[str, bool]:
    site, *parts = map(_signals, policy.all_path_policies)
    # Without a path, a yes is true only if every path policy grants it.
    return {key: granted for key, granted in site.items() if not granted or all(part[key] for part in parts)}


def _robots_lines(policy: Policy) -> Sequence[str]:
    return (*(f"# {line}" for line in _PREAMBLE), f"Content-Signal: {_line(_pathless_signals(policy))}")


def _permitted(policy: Policy) -> Callable[[str], str]:
    reserved = frozenset[str]().union(*(reserved_labels(KEYS, path_policy) for path_policy in policy.all_path_policies))
    uses = _uses(_pathless_signals(policy))

    def is_refused(key: str, value: str) -> bool:
        return value not in uses if key == "use" else key in reserved and value != "no"

    return lambda value: without_pairs(value, is_refused) if reserved else value


def _limitations(policy: Policy) -> Iterator[str]:
    yield from coarse_label_limitations("Content Signals", KEYS, policy)
    site = _signals(policy.whole_site)
    for path_policy in policy.path_policies:
        differing = [key for key, granted in _signals(path_policy).items() if granted is not site[key]]
        if differing:
            yield (
                f"Content Signals have no paths in robots.txt: {', '.join(differing)} for {path_policy.pattern} "
                "can only be sent in the header (declarations: content_signal_header)."
            )


STANDARD = Standard(
    "content_signal",
    "Content Signals in robots.txt",
    robots_lines=_robots_lines,
    limitations=_limitations,
    own_robots_key="content-signal",
    permitted=_permitted,
)
HEADER = Standard(
    "content_signal_header",
    "Content-Signal as a response header",
    header_fields=lambda policy, path_policy: [(b"content-signal", _line(_signals(path_policy)).encode("ascii"))],
)
