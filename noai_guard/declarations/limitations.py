"""Parts of a policy that the declarations cannot express."""

from collections.abc import Iterable, Iterator

from noai_guard.core.model import Usage
from noai_guard.core.policy import Policy
from noai_guard.declarations import robots_txt
from noai_guard.declarations.shared.robots_groups import Groups
from noai_guard.declarations.shared.robots_patterns import unsupported_patterns
from noai_guard.declarations.shared.standard import Standard

_STANDARD_USAGES = frozenset({Usage.TRAIN_AI, Usage.AI_SEARCH, Usage.AI_INPUT, Usage.AI_AGENT, Usage.SEARCH})
"""Usages that the standards beside robots.txt have words for."""


def policy_limitations(policy: Policy, standards: Iterable[Standard], groups: Groups) -> Iterator[str]:
    """Yield a sentence for each limitation of the `standards` that are switched on, for the author of the policy."""
    standards = tuple(standards)
    for pattern, location in unsupported_patterns(policy):
        yield (
            f"{pattern} ({location}) cannot be expressed in robots.txt and tdmrep.json: "
            "it is enforced, not declared there."
        )
    if robots_txt.STANDARD in standards:
        yield from robots_txt.limitations(policy, groups)
        # The other standards know no agents, and fewer usages.
        if policy.rules:
            ids = ", ".join(rule.id for rule in policy.rules)
            yield f"only robots.txt addresses single agents: the other declarations do not express the rules {ids}."
        reserved = [usage for usage in Usage if usage not in _STANDARD_USAGES and policy.reserves(usage)]
        others = ", ".join(usage for usage in reserved if usage is not Usage.UNKNOWN_BOT)
        if others:
            yield f"only robots.txt denies {others}, agent by agent: the other standards have no word for it."
        if Usage.UNKNOWN_BOT in reserved:
            yield "unknown-bot: nothing is declared to clients that are not in the catalogue."
    for standard in standards:
        yield from standard.limitations(policy)
