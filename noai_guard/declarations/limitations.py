"""What the declarations cannot say of a policy."""

from collections.abc import Iterable, Iterator

from noai_guard.core.model import Usage
from noai_guard.core.policy import Policy
from noai_guard.declarations import robots_txt
from noai_guard.declarations.shared.robots_groups import Groups
from noai_guard.declarations.shared.robots_patterns import inexpressible
from noai_guard.declarations.shared.standard import Standard

_SPOKEN_OF = frozenset({Usage.TRAIN_AI, Usage.AI_SEARCH, Usage.AI_INPUT, Usage.AI_AGENT, Usage.SEARCH})
"""Usages for which the standards have words."""


def policy_limitations(policy: Policy, standards: Iterable[Standard], groups: Groups) -> Iterator[str]:
    """One sentence for each thing, for the person who wrote the policy. `standards` are those that are on."""
    standards = tuple(standards)
    for pattern, where in inexpressible(policy):
        yield f"{pattern} ({where}) cannot be said in robots.txt and tdmrep.json: it is enforced, not declared there."
    if robots_txt.STANDARD in standards:
        yield from robots_txt.limitations(policy, groups)
        yield from _in_robots_txt_alone(policy)
    for standard in standards:
        yield from standard.limitations(policy)


def _in_robots_txt_alone(policy: Policy) -> Iterator[str]:
    """All other standards speak to everybody, of what is done with content."""
    if policy.rules:
        ids = ", ".join(rule.id for rule in policy.rules)
        yield f"only robots.txt speaks to single agents: the other declarations say nothing of the rules {ids}."
    reserved = [
        usage for usage in Usage if any(path_policy.reserves(usage) for path_policy in policy.all_path_policies)
    ]
    others = [usage for usage in reserved if usage not in _SPOKEN_OF and usage is not Usage.UNKNOWN_BOT]
    if others:
        yield f"only robots.txt says no to {', '.join(others)}, name by name: the other standards have no word for it."
    if Usage.UNKNOWN_BOT in reserved:
        yield "unknown-bot: nothing is declared to those who are in no catalogue."
