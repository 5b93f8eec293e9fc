"""Refusals by the network that a request comes from and by its header fields, for servers that carry out a policy.

A server can express those that hold whoever a client says to be, on every path: agents of the site's own that are
denied, and rules that deny and have no other condition. The guard carries out all.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from noai_guard.core.header_conditions import HeaderCondition
from noai_guard.core.model import Action, Agent, HeaderField
from noai_guard.core.networks import NetworkSet
from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.core.policy import Rule
from noai_guard.core.text import listed
from noai_guard.responses.refusal import client_name
from noai_guard.targets.plan import OPEN, Decision, TargetPlan

MANY = 1000
"""Networks that a server compares one after the other with an address; with more, each request would take long."""


@dataclass(frozen=True, slots=True)
class OriginRefusal:
    """A refusal of every request that comes from one of `networks`, if there are any, and meets all `headers`.

    `fields` are the header fields of the response that no other response has, `text` is its body, and `verdict` what
    logs call it.
    """

    networks: NetworkSet
    headers: tuple[HeaderCondition, ...]
    status: int
    fields: tuple[HeaderField, ...]
    text: str
    verdict: str


def origin_refusals(plan: TargetPlan, max_networks: int | None = None) -> tuple[OriginRefusal, ...]:
    """Return the refusals that a server can express; `max_networks` if it cannot look up more."""
    refusals = [refusal for _, refusals in _all(plan) for refusal in refusals]
    return tuple(each for each in refusals if max_networks is None or len(each.networks) <= max_networks)


def limitations(plan: TargetPlan, supported: bool, max_networks: int | None = None) -> Iterator[str]:
    """Yield a sentence that names what a server does not carry out because it depends on networks or header fields."""
    missing = [
        name
        for name, refusals in _all(plan)
        if not (supported and refusals)
        or (max_networks is not None and any(len(each.networks) > max_networks for each in refusals))
    ]
    if missing:
        what = f"depends on networks or header fields, and is not carried out here: {listed(missing)}"
        yield f"{what}. Ask the gateway for it."


def open_expressions(plan: TargetPlan) -> tuple[str, str]:
    """Return expressions for the paths that are open to everyone: for a target as it was sent, and for a decoded path,
    which is empty if the policy exempts none."""
    exempt = "|".join(map(pattern_to_regex, plan.policy.exemptions.paths))
    return OPEN.raw[0], exempt


def _all(plan: TargetPlan) -> Iterator[tuple[str, list[OriginRefusal]]]:
    """Yield the name of each rule and agent that depends on where a request comes from, with its refusals."""
    lets_in_before = False
    for rule in plan.policy.rules:
        if rule.needs_origin:
            yield f"the rule {rule.id}", [] if lets_in_before else list(_of_rule(plan, rule))
        lets_in_before |= not rule.action.restricts
    for agent in plan.compiled.catalog.agents:
        if agent.networks or agent.headers:
            yield f"the agent {agent.name}", list(_of_agent(plan, agent))


def _of_rule(plan: TargetPlan, rule: Rule) -> Iterator[OriginRefusal]:
    only_by_origin = not (rule.agents or rule.operators or rule.usages or rule.identities or rule.paths)
    if rule.action is Action.DENY and only_by_origin and not plan.policy.exemptions.agents:
        networks = NetworkSet(network for name in rule.networks for network in plan.policy.networks.get(name, ()))
        if networks or not rule.networks:
            yield from _refusal(plan, plan.decision_of(rule), networks, rule.headers)


def _of_agent(plan: TargetPlan, agent: Agent) -> Iterator[OriginRefusal]:
    decisions = [each for each in plan.decisions_of(agent) if each.paths is None or each.paths != plan.exempt]
    if len(decisions) == 1 and decisions[0].verdict.action is Action.DENY:
        if agent.networks:
            yield from _refusal(plan, decisions[0], agent.networks, ())
        if agent.headers:
            yield from _refusal(plan, decisions[0], NetworkSet(), agent.headers)


def _refusal(
    plan: TargetPlan, decision: Decision, networks: NetworkSet, headers: tuple[HeaderCondition, ...]
) -> Iterator[OriginRefusal]:
    if decision.status:
        declared = plan.compiled.site_declared.fields
        fields = tuple(field for field in decision.headers if field not in declared)
        agent = decision.verdict.agent
        verdict = f"{decision.verdict_prefix}{agent.name if agent else ''}"
        yield OriginRefusal(
            networks, headers, decision.status, fields, client_name(decision.verdict) + decision.tail, verdict
        )
