"""Refusals by the network that a request comes from and by its header fields, for servers that carry out a policy.

A server can express those that hold on every path: agents of the site's own that are denied, rules that deny and have
no other condition, hosts in Signature-Agent whose agents are denied, and, if the policy says `edge_ranges`, agents that
are let in by name and come from outside of their operator's networks. The guard carries out all.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from noai_guard.core.catalog import rank
from noai_guard.core.header_conditions import HeaderCondition, escaped
from noai_guard.core.identity.addresses import NOT_PUBLIC
from noai_guard.core.identity.ranges import published
from noai_guard.core.identity.signature_agents import hosts_of
from noai_guard.core.model import UNKNOWN_BOT, Action, Agent, HeaderField, Identity
from noai_guard.core.networks import NetworkSet
from noai_guard.core.path_patterns import in_both_forms, pattern_to_regex
from noai_guard.core.policy import Rule
from noai_guard.core.text import listed
from noai_guard.responses.refusal import client_name
from noai_guard.targets import user_agent_regex
from noai_guard.targets.decisions import UNNAMED_CLIENT, Decision
from noai_guard.targets.path_sets import OPEN
from noai_guard.targets.plan import TargetPlan, grouped

MANY = 1000
"""Networks that a server compares one after the other with an address; with more, each request would take long."""


_MAX_EXPRESSION = 3000
"""Characters of an expression: nginx reads at most 4,096 bytes as one parameter, with signs that it needs quoted."""

_SIGNATURE_AGENT = "signature-agent"
_BLANKS = r"[\x09 ]*"


@dataclass(frozen=True, slots=True)
class FieldMatch:
    """A condition on a header field: `regex`, without regard to letter case, is found in its value. `negated`: in none
    of its lines. An empty `regex` is found in every value."""

    name: str
    regex: str
    negated: bool = False

    @classmethod
    def of(cls, condition: HeaderCondition) -> "FieldMatch":
        return cls(condition.name, condition.regex)


@dataclass(frozen=True, slots=True)
class OriginRefusal:
    """A refusal of every request that comes from one of `networks` and from none of `outside`, as far as these are not
    empty, and meets all `headers`.

    `fields` are the header fields of the response that no other response has, `text` is its body, and `verdict` what
    logs call it. `note` is a comment for the author.
    """

    networks: NetworkSet
    headers: tuple[FieldMatch, ...]
    status: int
    fields: tuple[HeaderField, ...]
    text: str
    verdict: str
    outside: NetworkSet = field(default_factory=NetworkSet)
    note: str = ""


def origin_refusals(plan: TargetPlan, max_networks: int | None = None) -> tuple[OriginRefusal, ...]:
    """Return the refusals that a server can express; `max_networks` if it cannot look up more."""
    refusals = [refusal for _, refusals in _all(plan) for refusal in refusals]
    return tuple(each for each in refusals if _fits(each, max_networks))


def rare_fields(refusals: Iterable[OriginRefusal]) -> tuple[str, ...]:
    """Return names of header fields of which every request that is refused has one; none if User-Agent is among them,
    which nearly every request has, or if a network is enough."""
    needed = [[each.name for each in refusal.headers if not each.negated] for refusal in refusals]
    rare = [next((name for name in names if name != "user-agent"), "") for names in needed]
    return tuple(dict.fromkeys(rare)) if all(rare) else ()


def _fits(refusal: OriginRefusal, max_networks: int | None) -> bool:
    return max_networks is None or len(refusal.networks) + len(refusal.outside) <= max_networks


def limitations(plan: TargetPlan, supported: bool, max_networks: int | None = None) -> Iterator[str]:
    """Yield a sentence that names what a server does not carry out because it depends on networks or header fields."""
    missing = [
        name
        for name, refusals in _all(plan)
        if not (supported and refusals) or not all(_fits(each, max_networks) for each in refusals)
    ]
    if missing:
        what = f"depends on networks or header fields, and is not carried out here: {listed(missing)}"
        yield f"{what}. Ask the gateway for it."
    if plan.policy.identity.edge_ranges and (why := _unknown_peer(plan)):
        yield f"edge_ranges: {why}, so nobody is refused for an address here."


def identity_notes(plan: TargetPlan) -> Iterator[str]:
    """Yield what a server does about claims that would let a client in, as lines of a comment without their sign."""
    names = sorted(agent.name for agent in plan.compiled.guard.checked_agents if _is_let_in(plan, agent))
    if names and not (plan.policy.identity.edge_ranges and not _unknown_peer(plan)):
        some = ", ".join(names[:3])
        yield f"Claims are not checked here: whoever says to be {some} ... is let in. The gateway checks them, and"
        yield "identity: {edge_ranges: yes} in the policy refuses them here by the operators' networks."


def open_expressions(plan: TargetPlan) -> tuple[str, str]:
    """Return expressions for the paths that are open to everyone: for a target as it was sent, and for a decoded path,
    which is empty if the policy exempts none."""
    exempt = "|".join(map(pattern_to_regex, in_both_forms(plan.policy.exemptions.paths)))
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
    yield from _signers(plan)
    if plan.policy.identity.edge_ranges and not _unknown_peer(plan):
        for agent in plan.compiled.catalog.agents:
            if networks := _networks_of(plan, agent):
                yield f"the networks of {agent.name}", list(_spoofed(plan, agent, *networks))


def _of_rule(plan: TargetPlan, rule: Rule) -> Iterator[OriginRefusal]:
    only_by_origin = not (rule.agents or rule.operators or rule.usages or rule.identities or rule.paths)
    if rule.action is Action.DENY and only_by_origin and not plan.policy.exemptions.agents:
        networks = NetworkSet(network for name in rule.networks for network in plan.policy.networks.get(name, ()))
        if networks or not rule.networks:
            headers = tuple(map(FieldMatch.of, rule.headers))
            yield from _refusal(plan, plan.decision_of(rule), networks, headers)


def _of_agent(plan: TargetPlan, agent: Agent) -> Iterator[OriginRefusal]:
    if denial := _denial(plan, agent):
        if agent.networks:
            yield from _refusal(plan, denial, agent.networks, ())
        if agent.headers:
            yield from _refusal(plan, denial, NetworkSet(), tuple(map(FieldMatch.of, agent.headers)))


def _denial(plan: TargetPlan, agent: Agent, identity: Identity | None = None) -> Decision | None:
    """Return the decision that denies an agent on every path that is not exempt; None if there is none."""
    decisions = [each for each in plan.decisions_of(agent, identity) if each.paths is None or each.paths != plan.exempt]
    return decisions[0] if len(decisions) == 1 and decisions[0].verdict.action is Action.DENY else None


def _is_let_in(plan: TargetPlan, agent: Agent) -> bool:
    return not any(decision.verdict.action.restricts for decision in plan.decisions_of(agent))


def _signers(plan: TargetPlan) -> Iterator[tuple[str, list[OriginRefusal]]]:
    """Yield refusals of who names the host of a denied agent in Signature-Agent, and of who names an unknown one.

    Their texts name no agent: one expression stands for all.
    """
    signing = [agent for agent in plan.compiled.catalog.agents if hosts_of(agent)]
    denied = [(denial, agent) for agent in signing if (denial := _denial(plan, agent))]
    refusals: list[OriginRefusal] = []
    for pairs in grouped(denied, lambda pair: pair[0].effect).values():
        hosts = [host for _, agent in pairs for host in hosts_of(agent)]
        matches = [FieldMatch(_SIGNATURE_AGENT, expression) for expression in _naming(hosts)]
        for match in matches:
            refusals += _refusal(plan, pairs[0][0], NetworkSet(), (match,), names_agent=False)
    if refusals:
        yield "who signs as an agent that is refused (Signature-Agent)", refusals
    for agent in signing:
        decided = (each.verdict.action for each in plan.decisions_of(agent))
        if not _denial(plan, agent) and any(action.restricts for action in decided):
            yield f"who signs as {agent.name}", []
    if plan.unknown_bot.restricted:
        known = [host for agent in signing for host in hosts_of(agent)]
        unknown = [FieldMatch(_SIGNATURE_AGENT, expression, negated=True) for expression in _naming(known)]
        denial = _denial(plan, UNKNOWN_BOT)
        present = FieldMatch(_SIGNATURE_AGENT, ".")
        yield (
            "who signs as somebody unknown",
            list(_refusal(plan, denial, NetworkSet(), (present, *unknown), names_agent=False)) if denial else [],
        )


def _naming(hosts: Iterable[str]) -> Iterator[str]:
    """Yield expressions for a Signature-Agent that names one of these hosts, as `named_hosts` reads it."""
    names: list[str] = []
    for host in sorted(set(map(str.lower, hosts))):
        if names and 2 * sum(len(name) + 1 for name in names) + 8 * len(host) > _MAX_EXPRESSION:
            yield _named(names)
            names = []
        text = "[a-z0-9_-]+".join(map(escaped, host.split("*")))
        names.append(rf"[a-z0-9._-]+{text}" if host.startswith(".") else text)
    if names:
        yield _named(names)


def _named(names: Iterable[str]) -> str:
    one = f"(?:{'|'.join(names)})"
    in_address = rf"//(?:[^/@\x09 \x22\x5c]*@)?{one}[.]*(?:[^a-z0-9._-]|$)"
    alone = rf"^{_BLANKS}\x22?{one}[.]?\x22?{_BLANKS}$"
    return f"(?:{in_address}|{alone})"


def _unknown_peer(plan: TargetPlan) -> str:
    """Return why the peer of a server may not be the client; empty if it is, or is a private address."""
    trusted = plan.policy.trusted_proxies
    if trusted.header_name is None:
        return "trusted_proxies names nobody, not even this server (127.0.0.1), so others may stand before it"
    if not all(str(network.network_address) in NOT_PUBLIC for network in trusted.peers):
        return "trusted_proxies names proxies with public addresses, which stand before this server"
    return ""


def _networks_of(plan: TargetPlan, agent: Agent) -> tuple[NetworkSet, str] | None:
    """Return all networks of an agent that is let in by its name, and their source; None if not all are known."""
    policy, known = plan.policy.identity, plan.compiled.catalog.ranges
    if not agent.expected_user_agent or not _is_let_in(plan, agent):
        return None
    if own := policy.networks.get(agent.name.lower()):
        return own, "the policy"
    lists = published(agent, known)
    if not lists or len(lists) < len(agent.verify.get("ips_uri", ())):
        return None
    networks = NetworkSet(network for each in lists for network in each.networks)
    return networks, ", ".join(f"{each.uri} of {each.date}" for each in lists)


def _spoofed(plan: TargetPlan, agent: Agent, networks: NetworkSet, source: str) -> Iterator[OriginRefusal]:
    """Yield refusals of who names an agent from outside of its networks.

    An agent that outweighs it in a user agent is claimed in its place. Of equals the first counts, which no expression
    tells; so who names another that is let in and has no networks is let in.
    """
    denial = _denial(plan, agent, Identity.SPOOFED)
    if denial is None:
        return
    stronger = [
        token
        for token in plan.tokens
        if token.value is not agent
        and rank(token.value) <= rank(agent)
        and not plan.class_of(token.value).restricted
        and not _networks_of(plan, token.value)
    ]
    names = user_agent_regex.expressions(stronger, _MAX_EXPRESSION)
    others = tuple(FieldMatch("user-agent", each.pattern(), negated=True) for each in names)
    if hosts_of(agent):
        others = (FieldMatch("signature-input", "", negated=True), *others)
    outside = NetworkSet([*networks, *NOT_PUBLIC])
    named, _ = user_agent_regex.alternatives(token for token in plan.tokens if token.value is agent)
    for refusal in _refusal(plan, denial, NetworkSet(), (FieldMatch("user-agent", named), *others)):
        yield replace(refusal, outside=outside, note=f"{agent.name}: networks of {source}")


def _refusal(
    plan: TargetPlan,
    decision: Decision,
    networks: NetworkSet,
    headers: tuple[FieldMatch, ...],
    *,
    names_agent: bool = True,
) -> Iterator[OriginRefusal]:
    """Yield the refusal of a decision, if it is one."""
    if decision.status:
        declared = plan.compiled.site_declared.fields
        fields = tuple(field for field in decision.headers if field not in declared)
        agent = decision.verdict.agent
        verdict = f"{decision.verdict_prefix}{agent.name if agent and names_agent else ''}"
        client = client_name(decision.verdict) if names_agent else UNNAMED_CLIENT
        yield OriginRefusal(networks, headers, decision.status, fields, client + decision.tail, verdict)
