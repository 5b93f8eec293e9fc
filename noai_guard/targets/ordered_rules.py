"""A plan as a list of rules, for services that evaluate a list and stop at the first match."""

from collections.abc import Iterator
from dataclasses import dataclass

from noai_guard.targets.decisions import AgentClass, Decision
from noai_guard.targets.path_sets import PathSet
from noai_guard.targets.plan import AgentToken, TargetPlan


@dataclass(frozen=True, slots=True)
class OrderedRule:
    """`decision` for clients with one of `tokens` in `paths` (None: everywhere), except in `excluded_paths`.

    A rule without tokens is for every client.
    """

    tokens: tuple[AgentToken, ...]
    paths: PathSet | None
    excluded_paths: tuple[PathSet, ...]
    decision: Decision

    @property
    def allows(self) -> bool:
        return not self.decision.verdict.action.restricts


def rules(plan: TargetPlan) -> Iterator[OrderedRule]:
    """Yield the rules by precedence; a rule that allows is there only if it outweighs later ones.

    Agents with the same outcome in one tier share a rule, with the text of the first of them.
    """
    by_class: list[tuple[AgentClass, tuple[AgentToken, ...]]] = []
    for tier in (*plan.tiers, plan.host_tokens):
        by_class += plan.by_outcome(tier)
    if plan.unclaimed.restricted:
        by_class.append((plan.unclaimed, ()))
    for agents, tokens in by_class:
        earlier: list[PathSet] = []
        for decision in agents.decisions:
            rule = OrderedRule(tokens, decision.paths, tuple(earlier), decision)
            if not (agents.restricted and rule.allows):
                yield rule
            if decision.paths is not None:
                earlier.append(decision.paths)


def restricting_rules(plan: TargetPlan) -> Iterator[tuple[OrderedRule, tuple[OrderedRule, ...]]]:
    """Yield each rule that restricts, with the earlier rules that allow and so must be excluded from it."""
    allowing: list[OrderedRule] = []
    for rule in rules(plan):
        if rule.allows:
            allowing.append(rule)
        else:
            yield rule, tuple(allowing)


def limitations(plan: TargetPlan) -> Iterator[str]:
    """Yield sentences on what such a list cannot do."""
    yield "refusals say `This client` instead of the agent's name; of several names the first rule decides."
    if plan.detects_unknown_bots:
        yield "unknown-bot: clients that call themselves bots and are in no catalogue are allowed."
