"""The difference between two policies in plain words, and whether it loosens a reservation of an AI usage.

What cannot be compared counts as loosening: to announce too much harms nobody.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from noai_guard.core.catalog import Catalog
from noai_guard.core.model import AI_USAGES, Action, Agent, Identity, Mode, PathPolicy, Usage
from noai_guard.core.networks import NetworkSet
from noai_guard.core.partners import Partner
from noai_guard.core.policy import Policy, Rule
from noai_guard.core.stricter import all_patterns, sections_within, strictest_action, swapped_sections
from noai_guard.core.text import listed
from noai_guard.core.uses import Notice, Use
from noai_guard.record.canonical_policy import policy_data

ACTION_WORDS = {
    Action.ALLOW: "allowed",
    Action.LOG: "allowed, and logged",
    Action.THROTTLE: "rationed",
    Action.LICENSE_REQUIRED: "allowed with a licence",
    Action.DENY: "refused",
}
"""What a visitor gets, in words."""

_TRAINING = {Usage.TRAIN_AI: "training"}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, as a sentence. `loosens`: a reservation of an AI usage is weaker than before, or may be."""

    text: str
    loosens: bool = False


def policy_changes(before: Policy, after: Policy, catalog: Catalog) -> tuple[Change, ...]:
    """Return all differences between what two policies promise; none if they promise the same."""
    old, new = policy_data(before), policy_data(after)
    if old == new:
        return ()
    known = catalog.extended(before.agents).agents, catalog.extended(after.agents).agents
    changes = [*certain_changes(before, after), *_uncertain_changes(before, after, known)]
    described = {"usages", "paths", *_DESCRIBED}
    changes += (
        Change(f"what the policy says under {key} changed in a way that cannot be compared", True)
        for key in sorted({*old, *new} - described)
        if old.get(key) != new.get(key)
    )
    return tuple(dict.fromkeys(changes)) or (Change("the parts of the policy stand in another order", True),)


_DESCRIBED = ("mode", "site", "rules", "exemptions", "on_unknown", "unreadable", "identity", "limits", "declarations",
              "features", "uses", "notices", "partners", "agents", "networks", "notice", "creators",
              "works")  # fmt: skip


def first_promises(policy: Policy) -> tuple[Change, ...]:
    """Return what a policy reserves and declares, as sentences: the changes of a first entry."""
    texts = []
    for section in policy.all_path_policies:
        where = "" if section.pattern == "/**" else f" under {section.pattern}"
        for action, word in reversed(ACTION_WORDS.items()):
            usages = [_TRAINING.get(usage, str(usage)) for usage in Usage if section.usages[usage] is action]
            if action.restricts and usages:
                texts.append(f"{word}{where}: {', '.join(usages)}")
        if not any(map(section.reserves, Usage)):
            texts.append(f"nothing is refused{where or ' on the whole site'}")
    # What the site says of itself stands apart from what is refused to others.
    texts += [f"the site says that it uses recordings for {_words_of_use(use)}" for use in policy.uses]
    texts += [f"a notice: {_begin(notice)}" for notice in policy.notices]
    if policy.creators.decide:
        texts.append("creators: decide")
    return tuple(map(Change, texts))


def certain_changes(before: Policy, after: Policy) -> Iterator[Change]:
    """Yield the differences that can be told without a catalogue, and without what a ledger withholds."""
    if before.mode is not after.mode:
        watches = after.mode is Mode.MONITOR
        said = "the guard only watches, and refuses nobody" if watches else "the guard refuses what the policy refuses"
        yield Change(f"{said} (mode: {before.mode} -> {after.mode})", watches)
    yield from _section_changes(before, after)
    yield from _action_change("programs that cannot be checked", before.on_unknown, after.on_unknown)
    yield from _action_change("requests that cannot be read closely", before.unreadable, after.unreadable)
    yield from _action_change("programs under a false name", before.identity.spoofed, after.identity.spoofed)
    for key in sorted({*before.declarations, *after.declarations}):
        was, now = before.declares(key), after.declares(key)
        if was is not now:
            yield Change(f"{key} is {'declared from now on' if now else 'not declared any more'}", was)
        elif before.declarations.get(key, True) != after.declarations.get(key, True):
            values = [_declared_value(policy.declarations.get(key, True)) for policy in (before, after)]
            yield Change(f"how {key} is declared: {' -> '.join(values)}")
    for name, words in _SITE_WORDS.items():
        was, now = getattr(before.site, name), getattr(after.site, name)
        if was != now:
            yield Change(_fact_change(words, was, now))
    for use in after.uses:
        if use not in before.uses:
            yield Change(
                f"the site says that it uses recordings for {_words_of_use(use)}", use.trains_generative_models
            )
    for use in before.uses:
        if use not in after.uses:
            yield Change(f"the site does not say any more that it uses recordings for {_words_of_use(use)}")
    yield from (Change(f"a notice was added: {_begin(each)}") for each in after.notices if each not in before.notices)
    for each in before.notices:
        if each not in after.notices:
            yield Change(f"a notice was taken away: {_begin(each)}", True)
    if before.creators.decide is not after.creators.decide:
        decide = after.creators.decide
        said = "may allow what the site refuses" if decide else "may not allow any more what the site refuses"
        yield Change(f"creators {said}, for their own works", decide)
    were, are = (frozenset(policy_data(policy).get("works", ())) for policy in (before, after))
    yield from (
        Change(f"creators: their wishes for {each} are not followed any more", True) for each in sorted(were - are)
    )
    yield from (Change(f"creators: their wishes for {each} are followed") for each in sorted(are - were))
    old, new = (policy.ledger.notice if policy.ledger else 0 for policy in (before, after))
    if old != new:
        yield Change(f"notice before a looser policy takes effect: {old} days -> {new} days", new < old)


_SITE_WORDS = {
    "url": "the address of the site",
    "name": "the name of the site",
    "owner": "the owner of the site",
    "contact": "the contact of the site",
    "policy_page": "the address of the policy page",
    "licence": "the address of the licence",
    "tdm_policy": "the address of the policy on text and data mining",
}
"""Facts under `site:` of a policy, in words."""

_MAX_NOTICE = 60


def _fact_change(words: str, was: str, now: str) -> str:
    if not was:
        return f"{words} is given: {now}"
    return f"{words}: {was} -> {now}" if now else f"{words} is not given any more; it was {was}"


def _declared_value(value: object) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _begin(notice: Notice) -> str:
    return shorten(notice.attributed, _MAX_NOTICE, placeholder=" ...")


def _words_of_use(use: Use) -> str:
    trains = "which trains" if use.trains_generative_models else "which does not train"
    licence = f" (licence: {use.licence})" if use.licence else ""
    return f"{use.use} by {use.by}, {trains} generative models{licence}"


def _section_changes(before: Policy, after: Policy) -> Iterator[Change]:
    everywhere = {
        usage: (before.usages[usage], after.usages[usage])
        for usage in Usage
        if before.usages[usage] is not after.usages[usage]
    }
    for usage, (was, now) in everywhere.items():
        yield _usage_change(usage, was, now, "")
    for pattern in all_patterns((before, after)):
        old, new = sections_within(before, pattern), sections_within(after, pattern)
        for usage in Usage:
            was, now = _extremes(usage, old, new)
            if was is not now and (was, now) != everywhere.get(usage):
                yield _usage_change(usage, was, now, f" under {pattern}")
    for first, second in swapped_sections(before, after):
        old_section, new_section = (
            next(each for each in policy.path_policies if each.pattern == pattern)
            for policy, pattern in ((before, first), (after, second))
        )
        for usage in Usage:
            was, now = old_section.usages[usage], new_section.usages[usage]
            if was is not now and (was, now) != everywhere.get(usage):
                yield _usage_change(usage, was, now, f" under {first} where {second} matches too")


def _extremes(usage: Usage, old: Sequence[PathPolicy], new: Sequence[PathPolicy]) -> tuple[Action, Action]:
    """Return the actions before and after on some path, so that the later is the milder one if it is on any path."""
    strictest_before = strictest_action(section.usages[usage] for section in old)
    mildest_after = _mildest(section.usages[usage] for section in new)
    if mildest_after.strictness <= strictest_before.strictness:
        return strictest_before, mildest_after
    return _mildest(section.usages[usage] for section in old), strictest_action(s.usages[usage] for s in new)


def _mildest(actions: Iterable[Action]) -> Action:
    return min(actions, key=lambda action: action.strictness)


def _usage_change(usage: Usage, was: Action, now: Action, where: str) -> Change:
    loosens = usage in AI_USAGES and now.strictness < was.strictness and was.restricts
    return Change(f"{_TRAINING.get(usage, usage)}: {ACTION_WORDS[was]} -> {ACTION_WORDS[now]}{where}", loosens)


def _action_change(name: str, was: Action, now: Action) -> Iterator[Change]:
    if was is not now:
        yield Change(f"{name}: {ACTION_WORDS[was]} -> {ACTION_WORDS[now]}", now.strictness < was.strictness)


_Agents = tuple[Sequence[Agent], Sequence[Agent]]
"""The agents known before and after."""


def _uncertain_changes(before: Policy, after: Policy, known: _Agents) -> Iterator[Change]:
    yield from _rule_changes(before, after, known)
    yield from _exemption_changes(before, after, known[1])
    yield from _partner_changes(before, after)
    yield from _agent_changes(before, after, known)
    old, new = before.identity, after.identity
    if old.networks != new.networks:
        yield Change("the networks in which the site itself says that programs are genuine: changed", True)
    if old.stale_after != new.stale_after:
        text = f"days for which published networks count against who is outside: {old.stale_after} -> {new.stale_after}"
        yield Change(text, new.stale_after < old.stale_after)
    if old.edge_ranges is not new.edge_ranges:
        said = "also refuse" if new.edge_ranges else "do not refuse any more"
        text = f"generated server configurations {said} who names a program from outside of its networks"
        yield Change(text, old.edge_ranges)
    if before.throttle != after.throttle:
        rates = [policy.throttle.requests / policy.throttle.seconds for policy in (before, after)]
        one, other = (f"{each.throttle.requests} requests in {each.throttle.seconds} s" for each in (before, after))
        # A longer window lets in more at once, at the same rate.
        looser = rates[1] > rates[0] or after.throttle.requests > before.throttle.requests
        yield Change(
            f"the ration of a program at one address: {one} -> {other}",
            looser and (before.throttles or after.throttles),
        )
    if before.second_look is not after.second_look:
        said = "by a second library too" if after.second_look else "by the catalogue alone"
        yield Change(f"unknown programs are recognised {said}")
    used = {name for policy in (before, after) for rule in policy.rules for name in rule.networks}
    for name in sorted({*before.networks, *after.networks} - used):
        if before.networks.get(name) != after.networks.get(name):
            yield Change(f"the list of networks {name} changed; no rule uses it")


def _is_ai(agent: Agent) -> bool:
    return not AI_USAGES.isdisjoint(agent.usages)


_IDENTITIES = tuple(identity for identity in Identity if identity is not Identity.UNCLAIMED)


def _holds(rule: Rule, agent: Agent) -> bool:
    return any(rule.holds_for(agent, identity) for identity in _IDENTITIES)


def _actions_for(policy: Policy, agent: Agent) -> Iterator[Action]:
    """Yield every action that a policy may have for an agent somewhere, and no milder or stricter one is left out."""
    for section in policy.all_path_policies:
        yield strictest_action(section.usages[usage] for usage in agent.usages)
    for rule in policy.rules:
        if _holds(rule, agent):
            yield rule.action
    if agent.name.lower() in policy.exemptions.agents:
        yield Action.ALLOW


def _rule_changes(before: Policy, after: Policy, known: _Agents) -> Iterator[Change]:
    old, new = ({_meaning(policy, rule): rule for rule in policy.rules} for policy in (before, after))
    removed = {rule.id: rule for meaning, rule in old.items() if meaning not in new}
    added = {rule.id: rule for meaning, rule in new.items() if meaning not in old}
    for name, rule in added.items():
        milder = _lets_in_more(rule, before, known[1])
        replaced = removed.get(name)
        if replaced is None:
            yield Change(f"rule {name} was added: {_described(rule)}", milder)
        else:
            grew = _only_networks_grew(replaced, rule, before, after)
            loosens = milder or (not grew and _refuses_less(replaced, after, known[0]))
            yield Change(f"rule {name} was changed: {_difference(replaced, rule, before, after)}", loosens)
    for name, rule in removed.items():
        if name not in added:
            yield Change(f"rule {name} was removed: {_described(rule)}", _refuses_less(rule, after, known[0]))
    if [meaning for meaning in old if meaning in new] != [meaning for meaning in new if meaning in old]:
        yield Change("the rules stand in another order, and the first that matches decides", True)
    for meaning in (each for each in old if each in new):
        if old[meaning].message != new[meaning].message or old[meaning].id != new[meaning].id:
            yield Change(f"the name or the message of rule {old[meaning].id} changed")


def _meaning(policy: Policy, rule: Rule) -> tuple[Any, ...]:
    """Return all that a verdict depends on of a rule."""
    networks = tuple((name, policy.networks.get(name)) for name in sorted(rule.networks))
    conditions = rule.agents, rule.operators, rule.usages, rule.identities, frozenset(rule.paths), rule.headers
    return rule.action, *conditions, networks


def _only_networks_grew(old: Rule, new: Rule, before: Policy, after: Policy) -> bool:
    """Return True if a rule that restricts differs only in that it holds for more addresses."""
    same = _meaning(Policy("", {}), old) == _meaning(Policy("", {}), new)
    return (
        same
        and new.action.restricts
        and all(_within(before.networks[name], after.networks[name]) for name in new.networks)
    )


def _within(narrow: NetworkSet, wide: NetworkSet) -> bool:
    return NetworkSet([*narrow, *wide]) == wide


def _lets_in_more(rule: Rule, before: Policy, agents: Sequence[Agent]) -> bool:
    """Return True if a new rule may let in an AI agent that was treated more strictly."""
    if rule.action is Action.DENY:
        return False
    stricter = rule.action.strictness
    met = (agent for agent in agents if _is_ai(agent) and _holds(rule, agent))
    return any(action.strictness > stricter for agent in met for action in _all_actions(before, agent))


def _all_actions(policy: Policy, agent: Agent) -> Iterator[Action]:
    yield from _actions_for(policy, agent)
    yield policy.identity.spoofed
    yield policy.unreadable


def _refuses_less(rule: Rule, after: Policy, agents: Sequence[Agent]) -> bool:
    """Return True if without a rule an AI agent, or whoever comes from some networks, may be treated less strictly."""
    if not rule.action.restricts:
        return False
    if rule.holds_for(None, Identity.UNCLAIMED):
        return True
    met = (agent for agent in agents if _is_ai(agent) and _holds(rule, agent))
    return any(action.strictness < rule.action.strictness for agent in met for action in _actions_for(after, agent))


def _described(rule: Rule) -> str:
    lists: Mapping[str, Iterable[str]] = {
        "for": [*sorted(rule.agents), *sorted(rule.operators), *sorted(map(str, rule.usages))],
        "if": [*sorted(map(str, rule.identities)), *(f"the header {each.name}" for each in rule.headers)],
        "from the networks": sorted(rule.networks),
        "under": rule.paths,
    }
    where = "".join(f" {word} {listed(list(names))}" for word, names in lists.items() if names)
    return f"{ACTION_WORDS[rule.action]}{where}"


def _difference(was: Rule, now: Rule, before: Policy, after: Policy) -> str:
    """Return the difference between two rules of one name, also where their descriptions are the same."""
    one, other = _described(was), _described(now)
    if one != other:
        return f"{one} -> {other}"
    old, new = ([policy.networks.get(name) for name in sorted(now.networks)] for policy in (before, after))
    if old == new:
        return f"{other}, with other values of its headers"
    pairs = [(a, b) for a, b in zip(old, new, strict=True) if a is not None and b is not None and a != b]
    grew, shrank = (all(_within(*pair[::step]) for pair in pairs) for step in (1, -1))
    return f"{other}, which {'hold more' if grew else 'hold fewer' if shrank else 'hold other'} addresses now"


def _exemption_changes(before: Policy, after: Policy, agents: Sequence[Agent]) -> Iterator[Change]:
    old, new = before.exemptions, after.exemptions
    ai = {agent.name.lower() for agent in agents if _is_ai(agent)}
    known = {agent.name.lower() for agent in agents}
    for path in sorted(set(new.paths) - set(old.paths)):
        yield Change(f"{path} is open to everybody, whatever the policy refuses", True)
    for path in sorted(set(old.paths) - set(new.paths)):
        yield Change(f"{path} is no longer open to everybody")
    for name in sorted(new.agents - old.agents):
        yield Change(f"{name} is never refused, whatever it does (an exemption)", name in ai or name not in known)
    for name in sorted(old.agents - new.agents):
        yield Change(f"{name} is refused again where the policy refuses it (it was exempt)")
    if old.addresses != new.addresses:
        wider = not _within(new.addresses, old.addresses)
        which = "more or other" if wider else "fewer"
        yield Change(f"{which} addresses are never refused (exemptions)", wider)


def _partner_changes(before: Policy, after: Policy) -> Iterator[Change]:
    old, new = ({partner.name: partner for partner in policy.partners} for policy in (before, after))
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        said = name if (now or old[name]).named else "a partner that is not named"
        if now is None:
            yield Change(f"the licence of {said} ended")
        elif was is None:
            usages = listed(sorted(now.usages))
            yield Change(f"{said} has a licence for {usages}", not AI_USAGES.isdisjoint(now.usages))
        elif policy_data_of_partner(was) != policy_data_of_partner(now):
            narrower = _is_narrower(now, was)
            reach = "covers no more than before" if narrower else "may cover more than before"
            text = f"the licence of {said} was changed, and {reach}"
            yield Change(text, not narrower and not AI_USAGES.isdisjoint(now.usages))


def policy_data_of_partner(partner: Partner) -> Any:
    """Return all facts about a partner that can be compared."""
    return policy_data(Policy("", {}, partners=(partner,)))["partners"]


def _is_narrower(now: Partner, was: Partner) -> bool:
    """Return True if surely a licence covers no more than it did. Its keys may be others."""
    return (
        now.usages <= was.usages
        and set(now.paths.patterns) <= set(was.paths.patterns)
        and now.starts >= was.starts
        and now.ends <= was.ends
        and set(was.proofs) <= set(now.proofs)
        and _within(now.networks, was.networks if was.networks else now.networks)
    )


def _agent_changes(before: Policy, after: Policy, known: _Agents) -> Iterator[Change]:
    """Yield changes of the site's own agents. To hide an agent that is refused behind another name is to loosen."""
    old, new = ({data["name"].lower(): data for data in policy_data(policy)["agents"]} for policy in (before, after))
    by_name, then = ({agent.name.lower(): agent for agent in agents} for agents in known)
    for agent in after.agents:
        name = agent.name.lower()
        if old.get(name) == new[name]:
            continue
        replaces = by_name.get(name)
        always_refused = all(action is Action.DENY for action in _actions_for(after, agent))
        grows = replaces is None and (always_refused or not _is_ai(agent))
        loosens = not grows and (_is_ai(agent) or (replaces is not None and _is_ai(replaces)))
        usages = listed(list(map(str, agent.usages)))
        yield Change(f"the site itself says what {agent.name} is for: {usages}", loosens)
    for agent in before.agents:
        if agent.name.lower() not in new:
            again = then.get(agent.name.lower(), agent)
            text = f"the site itself does not say any more what {agent.name} is for"
            yield Change(text, _is_ai(agent) or _is_ai(again))
