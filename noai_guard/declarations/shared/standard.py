"""The shape of a declaration standard."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from noai_guard.core.model import AI_USAGES, Document, HeaderField, Usage
from noai_guard.core.policy import DecisionTable, PathPolicy, Policy

Labels = tuple[tuple[str, frozenset[Usage]], ...]
"""Words of a standard -> the usages of ours that each stands for."""


def reserved_labels(labels: Labels, path_policy: PathPolicy) -> frozenset[str]:
    """The words to which a section says no: those for which any usage is reserved."""
    return frozenset(label for label, usages in labels if any(map(path_policy.reserves, usages)))


def robots_directives(policy: Policy) -> tuple[str, ...]:
    """What X-Robots-Tag and `meta name=robots` say where training is reserved, line by line; noai stands alone."""
    others = ", ".join(word for word in ("noarchive", "noml") if policy.declares(word))
    return ("noai, noimageai", others) if others else ("noai, noimageai",)


def coarse(title: str, labels: Labels, policy: Policy) -> Iterator[str]:
    """Where one word of a standard stands for several usages and a policy reserves only some of them."""
    for path_policy in policy.all_path_policies:
        for label, usages in labels:
            reserved = sorted(filter(path_policy.reserves, usages))
            if reserved and len(reserved) < len(usages):
                together, because = ", ".join(sorted(usages)), ", ".join(reserved)
                where = path_policy.pattern
                yield f"{title}: {label} is {together} in one word; under {where} it says no for {because}."


def training_only(title: str, policy: Policy) -> Iterator[str]:
    """Where a policy reserves a use of AI but not training, of which alone a standard can speak."""
    for path_policy in policy.all_path_policies:
        if path_policy.reserves_anything and not path_policy.reserves(Usage.TRAIN_AI):
            reserved = ", ".join(sorted(usage for usage in AI_USAGES if path_policy.reserves(usage)))
            where = path_policy.pattern
            yield f"{title} speaks of training only; of {where} it cannot say that {reserved} is reserved."


def _no_documents(table: DecisionTable) -> Sequence[Document]:
    return ()


def _no_fields(policy: Policy, path_policy: PathPolicy) -> Sequence[HeaderField]:
    return ()


def _no_tags(policy: Policy, path_policy: PathPolicy) -> Sequence[bytes]:
    return ()


def _no_lines(policy: Policy) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Standard:
    """One way to declare a reservation; what a standard does not have stays at its default.

    `key` is its switch under `declarations:` in the policy. `documents` gives files of the site,
    `header_fields` lines for each response of a section (each is sent on a line of its own), `tags` elements
    for the head of HTML pages (bytes, ASCII), `robots_lines` lines repeated in every group of robots.txt; comments
    among them stand once, on top. `limitations` are sentences for `check` about what it cannot say of this policy.
    """

    key: str
    title: str
    documents: Callable[[DecisionTable], Sequence[Document]] = _no_documents
    header_fields: Callable[[Policy, PathPolicy], Sequence[HeaderField]] = _no_fields
    tags: Callable[[Policy, PathPolicy], Sequence[bytes]] = _no_tags
    robots_lines: Callable[[Policy], Iterable[str]] = _no_lines
    limitations: Callable[[Policy], Iterable[str]] = _no_lines
