"""A plan as a list of rules, for services that go through a list and stop at the first that fits."""

from collections.abc import Iterator
from dataclasses import dataclass

from noai_guard.core.model import Agent
from noai_guard.core.user_agent_matcher import Token
from noai_guard.targets.plan import AgentClass, Decision, PathSet, TargetPlan


@dataclass(frozen=True, slots=True)
class ListedRule:
    """Clients that are named by one of `tokens` get `decision` in `paths` (None: everywhere), but not in `unless`.

    Without tokens the rule is for every client.
    """

    tokens: tuple[Token[Agent], ...]
    paths: PathSet | None
    unless: tuple[PathSet, ...]
    decision: Decision

    @property
    def lets_in(self) -> bool:
        return not self.decision.verdict.action.restricts


def rules(plan: TargetPlan) -> Iterator[ListedRule]:
    """The rules in the order in which they count; one that lets in is there only where it outweighs later ones.

    Agents that get the same in one tier share a rule, with the words of the first of them.
    """
    for tier in (*plan.tiers, plan.hosts):
        by_outcome: dict[object, list[Token[Agent]]] = {}
        for token in tier:
            by_outcome.setdefault(plan.class_of(token.value).outcome, []).append(token)
        for tokens in by_outcome.values():
            yield from _of_class(plan.class_of(tokens[0].value), tuple(tokens))
    if not plan.unclaimed.harmless:
        yield from _of_class(plan.unclaimed, ())


def _of_class(found: AgentClass, tokens: tuple[Token[Agent], ...]) -> Iterator[ListedRule]:
    earlier: list[PathSet] = []
    for decision in found.decisions:
        rule = ListedRule(tokens, decision.paths, tuple(earlier), decision)
        if found.harmless or not rule.lets_in:
            yield rule
        if decision.paths is not None:
            earlier.append(decision.paths)


def refuses_or_tells(plan: TargetPlan) -> Iterator[tuple[ListedRule, tuple[ListedRule, ...]]]:
    """Each rule that does something, and those before it that let in what it must not touch."""
    open_to: list[ListedRule] = []
    for rule in rules(plan):
        if rule.lets_in:
            open_to.append(rule)
        else:
            yield rule, tuple(open_to)


def limitations(plan: TargetPlan) -> Iterator[str]:
    """Yield what such a list cannot do of a policy, as sentences."""
    yield "refusals say `This client`, not the agent's name; of several names the first rule that fits decides."
    if plan.asks_unknown_bots:
        yield "unknown-bot: clients that call themselves bots and are in no catalogue are let in."
