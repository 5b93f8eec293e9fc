"""Content Signals (Cloudflare; policy of 2025-09-24, key `use` since 2026-07-01): robots.txt lines and a header.

In robots.txt a signal holds for a group and has no path, so parts of the site that wish otherwise cannot be said
there. The header says what holds for the path it was asked for; the policy does not define it, but Cloudflare sends
and agents read it (seen 2026-11).
"""

from collections.abc import Iterator, Sequence

from noai_guard.core.model import HeaderField, Usage
from noai_guard.core.policy import PathPolicy, Policy
from noai_guard.declarations.shared.standard import Labels, Standard, coarse, reserved_labels

KEYS: Labels = (
    ("search", frozenset({Usage.SEARCH})),
    ("ai-input", frozenset({Usage.AI_SEARCH, Usage.AI_INPUT, Usage.AI_AGENT})),
    ("ai-train", frozenset({Usage.TRAIN_AI})),
)
"""Signal -> the usages of ours that it stands for; any one reserved makes it `no`."""

_PREAMBLE = (
    "Content signals are a condition of access to this site. yes: content may be collected for that use.",
    "no: it may not. A signal that is not given: the use is neither granted nor restricted by it.",
    "search: a search index, and results with links and short excerpts; no AI-generated summaries.",
    "ai-input: content as input of AI models (retrieval-augmented generation, grounding, generated answers).",
    "ai-train: training or fine-tuning of AI models.",
    "use: the most that may be kept and shown: immediate (nothing), reference (index, excerpt, link back), full.",
    "ANY RESTRICTIONS EXPRESSED VIA CONTENT SIGNALS ARE EXPRESS RESERVATIONS OF RIGHTS UNDER ARTICLE 4 OF THE",
    "EUROPEAN UNION DIRECTIVE 2019/790 ON COPYRIGHT AND RELATED RIGHTS IN THE DIGITAL SINGLE MARKET.",
)
"""What gives the signals their meaning; the last sentence is the policy's own (CC0), word for word."""


def _signals(path_policy: PathPolicy) -> dict[str, bool]:
    reserved = reserved_labels(KEYS, path_policy)
    return {key: key not in reserved for key, _ in KEYS}


def _line(signals: dict[str, bool]) -> str:
    """`search=yes, ai-input=no, ai-train=no, use=reference`; a key that is not given is left out."""
    said = [f"{key}={'yes' if granted else 'no'}" for key, granted in signals.items()]
    # More than a reference is never granted; nothing at all may be kept where neither finding nor input is.
    finding = signals.get("search", True) or signals.get("ai-input", True)
    return ", ".join([*said, f"use={'reference' if finding else 'immediate'}"])


def _of_groups(policy: Policy) -> dict[str, bool]:
    """What can be said of the site without a path: a yes only where it holds everywhere."""
    parts = [_signals(path_policy) for path_policy in policy.path_policies]
    return {
        key: granted
        for key, granted in _signals(policy.whole_site).items()
        if not granted or all(part[key] for part in parts)
    }


def _robots_lines(policy: Policy) -> Sequence[str]:
    return (*(f"# {line}" for line in _PREAMBLE), f"Content-Signal: {_line(_of_groups(policy))}")


def _header_fields(policy: Policy, path_policy: PathPolicy) -> Sequence[HeaderField]:
    return ((b"content-signal", _line(_signals(path_policy)).encode("ascii")),)


def _limitations(policy: Policy) -> Iterator[str]:
    yield from coarse("Content Signals", KEYS, policy)
    site = _signals(policy.whole_site)
    for path_policy in policy.path_policies:
        otherwise = [key for key, granted in _signals(path_policy).items() if granted is not site[key]]
        if otherwise:
            yield (
                f"Content Signals have no paths in robots.txt: {', '.join(otherwise)} of {path_policy.pattern} "
                "can only be said in the header (declarations: content_signal_header)."
            )


STANDARD = Standard(
    "content_signal", "Content Signals in robots.txt", robots_lines=_robots_lines, limitations=_limitations
)
HEADER = Standard("content_signal_header", "Content-Signal as a response header", header_fields=_header_fields)
