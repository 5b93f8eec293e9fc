"""Server-independent form of a policy: agent classes, path sets and, for each class, ordered decisions.

Agents that are treated alike everywhere form a class. A class has a list of decisions, of which the first whose paths
match applies. Every path pattern is in a `PathSet`, so a server needs only "does this path match", "which class is this
User-Agent" and the list.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeAlias, TypeVar

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.catalog import rank
from noai_guard.core.decision_table import PathClass, disallows, identity_of_claim
from noai_guard.core.model import NAMELESS, UNKNOWN_BOT, Action, Agent, Identity, PathPolicy, Verdict
from noai_guard.core.path_patterns import by_specificity, in_both_forms, pattern_to_regex
from noai_guard.core.policy import UNREADABLE, Rule
from noai_guard.core.site_addresses import site_host
from noai_guard.core.user_agent_matcher import Token, TokenIndex, compile_token, decoded
from noai_guard.responses.header_fields import Declared, one_line_per_name
from noai_guard.responses.refusal import client_name
from noai_guard.targets.decisions import AgentClass, Decision
from noai_guard.targets.path_sets import OPEN, PathSet
from noai_guard.targets.work_map import WorkMap

MAX_WORKS = 50
"""Works that have a section of their own in the configuration of a server, which tries one expression after the
other."""

K = TypeVar("K")
T = TypeVar("T")
AgentToken: TypeAlias = Token[Agent]


def _parts(text: bytes, length: int) -> Iterator[bytes]:
    """Yield everything of this length within a text."""
    return (text[start : start + length] for start in range(len(text) - length + 1))


def host_form(token: AgentToken) -> str:
    """Return a token that is a host as the catalogue writes it: `//name.tld/path`."""
    return f"//{(token.text + token.path).decode('ascii')}"


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Return key -> items with this key, in the order in which they occur."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


class TargetPlan:
    """A `CompiledPolicy` in the form that all targets share.

    `relevant_tokens` belong to agents that are restricted somewhere, or that could outweigh those in one User-Agent;
    `other_tokens` are the rest of the catalogue. `detects_unknown_bots` is true if clients that call themselves bots
    and are in no catalogue, or all unclaimed ones, are restricted; `detects_nameless` if clients without a name are
    restricted in another way than other unclaimed ones. Everybody may fetch the `documents`. `arguments` are
    those of the command that made the files, which say so; `name` is the one that it gave the policy, if any.

    `works` are those that the server looks up by name; without them, `MAX_WORKS` have sections. `parts` are the path
    policies of the site, that of the whole site first, and of works in them. `path_policies` are their paths, of which
    the first that match apply, and the number of what is declared there in `declarations`, of which the first is
    declared everywhere else.
    """

    def __init__(
        self, compiled: CompiledPolicy, arguments: str = "", name: str = "", works: WorkMap | None = None
    ) -> None:
        self.creators_decide = compiled.has_wishes
        self.works = works if works and works.numbers else None
        compiled = compiled.with_sections(MAX_WORKS) if works is None else compiled.without_wishes()
        self.compiled = compiled
        self.arguments = arguments
        self.name = name
        self.policy = compiled.policy
        self._table = compiled.guard.table
        self.exempt = PathSet("exempt", in_both_forms(self.policy.exemptions.paths))
        self._sections = tuple(self._ordered_sections())
        self.parts = tuple(dict.fromkeys((*self._table.path_policies, *(part for _, part in self._sections))))
        declared = {part: compiled.declared_on(part) for part in self.parts}
        if self.works:  # many parts of a site declare the same
            first = {each.fields: each for each in reversed(declared.values())}
            declared = {part: first[each.fields] for part, each in declared.items()}
            self.declarations = tuple(dict.fromkeys(declared.values()))
        else:
            self.declarations = tuple(declared.values())
        index = {part: number for number, part in enumerate(self.parts)}
        numbers = {each: number for number, each in enumerate(self.declarations)}
        self.path_policies = tuple(
            (paths, numbers[declared[part]] if self.works else index[part]) for paths, part in self._sections
        )
        self._rule_paths = {
            rule.id: PathSet(f"rule_{number + 1}", in_both_forms(rule.paths))
            for number, rule in enumerate(self.policy.rules)
            if rule.paths and not rule.needs_origin
        }
        agents = [agent for agent in compiled.catalog.agents if agent.expected_user_agent]
        by_facts = {facts: self._decisions(alike[0]) for facts, alike in grouped(agents, self._table.facts).items()}
        decisions = {agent: by_facts[self._table.facts(agent)] for agent in agents}
        alike = grouped(decisions, lambda agent: tuple((each.paths, each.effect) for each in decisions[agent]))
        self.classes = tuple(self._agent_class(f"c{number}", agents) for number, agents in enumerate(alike.values(), 1))
        self.unclaimed = self._agent_class("unclaimed", ())
        self.unknown_bot = self._agent_class("unknown_bot", (UNKNOWN_BOT,))
        self.nameless = self._agent_class("nameless", (NAMELESS,))
        self.unreadable = self._unreadable_class()
        self.all_classes = (*self.classes, self.unclaimed, self.unknown_bot, self.nameless, self.unreadable)
        self.detects_nameless = self.nameless.restrictions != self.unclaimed.restrictions
        # Who calls itself a bot has a name.
        self.detects_unknown_bots = self.unknown_bot.restricted or self.unclaimed.restricted or self.detects_nameless
        self.documents = tuple(compiled.documents.values())
        self.exempt_networks = self.policy.exemptions.addresses

    def _ordered_sections(self) -> Iterator[tuple[PathSet, PathPolicy]]:
        """Yield the sections of the site in order, before each those of the works in it for which something is
        wished."""
        whole, *parts = self._table.path_policies
        order = by_specificity([part.pattern for part in parts])
        sections = [
            (PathSet(f"section_{number + 1}", in_both_forms([parts[number].pattern])), parts[number])
            for number in order
        ]
        for paths, part in (*sections, (PathSet("works", ()), whole)):
            if self.works:
                for wish in self.works.numbers:
                    yield replace(paths, wish=wish, works=self.works.globs), self.works.wished_on(part, wish)
            if paths.globs:
                yield paths, part

    @property
    def site_sections(self) -> tuple[PathSet, ...]:
        """The sections of the site, whatever is wished for works in them; the first that matches applies."""
        return tuple(paths for paths, _ in self._sections if paths.wish is None)

    @property
    def section_numbers(self) -> dict[tuple[int, int | None], int]:
        """The number of what is declared, by position in `site_sections`, from 1, or 0 for elsewhere, and by wish."""
        position: dict[PathSet | None, int] = {paths: number for number, paths in enumerate(self.site_sections, 1)}
        numbers = {(position.get(paths.area, 0), paths.wish): number for paths, number in self.path_policies}
        return {(0, None): 0, **numbers}

    @property
    def policy_name(self) -> str:
        """The given name of the policy, or the host of its site; empty if neither is known."""
        return self.name or site_host(self.policy.site)

    @property
    def file_name(self) -> str:
        """Name of the main file or folder, without an ending, beside those of another policy."""
        return f"noai-guard-{self.name}" if self.name else "noai-guard"

    def _agent_class(self, name: str, agents: Sequence[Agent]) -> AgentClass:
        agent = agents[0] if agents else None
        return AgentClass(name, tuple(agents), self._decisions(agent), self._decision(agent, OPEN, exempt=True))

    def _unreadable_class(self) -> AgentClass:
        action = self.policy.unreadable
        unreadable = replace(self.unclaimed.decisions[-1].verdict, action=action, rule=UNREADABLE, message="")
        decisions = [self._decided(unreadable, None)]
        if self.exempt.globs:
            decisions.insert(0, self._decision(None, self.exempt, exempt=True))
        others = (*self.classes, self.unclaimed, self.unknown_bot, self.nameless)
        if not (action.restricts and any(agents.restricted for agents in others)):
            decisions = [self._decision(None, None, exempt=True)]
        return AgentClass("unreadable", (), tuple(decisions), self.unclaimed.open)

    def _decisions(self, agent: Agent | None, identity: Identity | None = None) -> tuple[Decision, ...]:
        """Return the decisions in order: the first that matches applies, the last has no paths.

        A decision without a consequence is left out.
        """
        decisions: list[Decision] = []
        if self.exempt.globs:
            decisions.append(self._decision(agent, self.exempt, exempt=True))
        # What a creator disallows, no rule of the site allows.
        refused = [each for each in self._sections if disallows(each[1], agent)]
        decisions += [self._decision(agent, paths, part, identity=identity) for paths, part in refused]
        for rule in self.policy.rules:
            if rule.needs_origin:
                continue
            paths = self._rule_paths.get(rule.id)
            decisions.append(self._decision(agent, paths, rules=(rule,), identity=identity))
            if decisions[-1].verdict.rule != rule.id:
                decisions.pop()
            elif paths is None:
                break
        else:
            others = [each for each in self._sections if not disallows(each[1], agent)]
            decisions += [self._decision(agent, paths, part, identity=identity) for paths, part in others]
            decisions.append(self._decision(agent, None, identity=identity))
        while len(decisions) > 1 and decisions[-2].effect == decisions[-1].effect:
            del decisions[-2]
        return tuple(decisions)

    def decisions_of(self, agent: Agent, identity: Identity | None = None) -> tuple[Decision, ...]:
        """Return the decisions for an agent, in order; also for one that no user agent names.

        `identity` is what came out of checking the claim, None if it was not checked.
        """
        return self._decisions(agent, identity)

    def decision_of(self, rule: Rule) -> Decision:
        """Return the decision of a rule for clients that name nobody."""
        return self._decision(None, None, rules=(rule,))

    def _decision(
        self,
        agent: Agent | None,
        paths: PathSet | None,
        path_policy: PathPolicy | None = None,
        *,
        rules: tuple[Rule, ...] = (),
        exempt: bool = False,
        identity: Identity | None = None,
    ) -> Decision:
        path_class = PathClass(path_policy or self._table.path_policies[0], rules, exempt)
        return self._decided(self._table.decide(agent, identity or identity_of_claim(agent), path_class), paths)

    def _decided(self, verdict: Verdict, paths: PathSet | None) -> Decision:
        if not verdict.refuses or verdict.action is Action.THROTTLE:
            return Decision(paths, verdict)
        refusal = self.compiled.refusal(verdict, "/", "GET", ())
        headers = tuple(field for field in refusal.headers if field[0] != b"content-length")
        text = refusal.body.decode("utf-8")
        return Decision(paths, verdict, refusal.status, headers, text.removeprefix(client_name(verdict)))

    @property
    def path_sets(self) -> tuple[PathSet, ...]:
        """Every PathSet of globs that a decision or a declaration refers to, once."""
        sets = [self.exempt] if self.exempt.globs else []
        return (*sets, *self._rule_paths.values(), *(paths for paths, _ in self._sections))

    @property
    def row_path_sets(self) -> tuple[PathSet, ...]:
        """Every PathSet that the `rows` of a restricted class or a declaration refer to, once."""
        rows = (row.paths for agents in self.all_classes if agents.restricted for row in agents.rows)
        return tuple(dict.fromkeys([*filter(None, rows), *self.path_sets]))

    @property
    def documents_regex(self) -> str:
        """One regular expression for the paths of all documents."""
        return f"^(?:{'|'.join(pattern_to_regex(document.path)[1:-1] for document in self.documents)})$"

    @property
    def declared(self) -> tuple[tuple[PathSet | None, Declared], ...]:
        """Declarations of every response by path: the first PathSet that matches applies, None is everywhere else."""
        declared = self.declarations
        return (*((paths, declared[number]) for paths, number in self.path_policies), (None, declared[0]))

    @property
    def site_fields(self) -> dict[str, str]:
        """Header fields that the whole site declares, with the lines of one name joined."""
        fields = one_line_per_name(self.compiled.site_declared.fields)
        return {name.decode(): value.decode("ascii") for name, value in fields.items()}

    def class_of(self, agent: Agent) -> AgentClass:
        return self._class_of[agent]

    def by_outcome(self, tier: Iterable[AgentToken]) -> Iterator[tuple[AgentClass, tuple[AgentToken, ...]]]:
        """Yield the tokens of a tier by the outcome of their agents, each time with the first agent's class."""
        for tokens in grouped(tier, lambda token: self._class_of[token.value].outcome).values():
            yield self._class_of[tokens[0].value], tuple(tokens)

    def client_name(self, agent: Agent) -> str:
        """Return the beginning of a refusal's text, `GPTBot (OpenAI)`; the rest is a decision's `tail`."""
        everywhere = PathClass(self._table.path_policies[0], (), False)
        return client_name(self._table.decide(agent, identity_of_claim(agent), everywhere))

    @cached_property
    def _class_of(self) -> dict[Agent, AgentClass]:
        return {agent: agents for agents in self.classes for agent in agents.agents}

    @cached_property
    def tokens(self) -> tuple[AgentToken, ...]:
        """Every token of the catalogue."""
        agents = self.compiled.catalog.agents
        return tuple(compile_token(form, agent) for agent in agents for form in agent.expected_user_agent)

    @property
    def hidden_tokens(self) -> tuple[AgentToken, ...]:
        """Tokens of restricted agents, which are searched for where a user agent is not read closely, if the policy
        refuses clients for it."""
        if not self.policy.unreadable.restricts:
            return ()
        return tuple(token for token in self.tokens if self._class_of[token.value].restricted)

    @cached_property
    def _relevant_agents(self) -> frozenset[Agent]:
        if self.detects_unknown_bots:
            return frozenset(self._class_of)
        restricted = frozenset(agent for agent, agents in self._class_of.items() if agents.restricted)
        max_rank = max(map(rank, restricted), default=-1)
        return frozenset(agent for agent in self._class_of if agent in restricted or rank(agent) <= max_rank)

    @cached_property
    def relevant_tokens(self) -> tuple[AgentToken, ...]:
        agents, masking = self._relevant_agents, self.masking_tokens
        return tuple(token for token in self.tokens if token.value in agents or token in masking)

    @cached_property
    def other_tokens(self) -> tuple[AgentToken, ...]:
        relevant = frozenset(map(id, self.relevant_tokens))
        return tuple(token for token in self.tokens if id(token) not in relevant)

    @cached_property
    def masking_tokens(self) -> tuple[AgentToken, ...]:
        """Longer tokens that contain a shorter token of a differently treated agent, and mask it.

        Those that outweigh it anyway are none of them: they would also mask what outweighs both.
        """

        def is_masked(agent: Agent, longer: Agent) -> bool:
            return self._class_of[agent].outcome != self._class_of[longer].outcome and rank(agent) <= rank(longer)

        pairs = self.containing_tokens
        return tuple(token for token, inner in pairs if any(is_masked(agent, token.value) for agent in inner))

    @cached_property
    def containing_tokens(self) -> tuple[tuple[AgentToken, tuple[Agent, ...]], ...]:
        """(token, agents) for each token that contains shorter, relevant tokens of these other agents."""
        relevant = [token for token in self.tokens if token.value in self._relevant_agents]
        hosts = grouped((token for token in relevant if token.host), lambda token: token.anchor)
        names = grouped((token for token in relevant if not token.host), lambda token: token.text)
        lengths = sorted(set(map(len, names)))

        def inner_agents(token: AgentToken) -> tuple[Agent, ...]:
            words = set(re.findall(rb"[a-z]+", token.text))
            near = [host for word in words for host in hosts.get(word, ())]
            # Thousands of names may have one anchor: those within this one are found by their text.
            forms = {token.text, decoded(token.text).lower()}
            parts = {part for form in forms for length in lengths for part in _parts(form, length)}
            near += (name for part in parts for name in names.get(part, ()) if name.anchor in words)
            near = [other for other in near if other.value is not token.value]
            return tuple(hit.value for hit in TokenIndex(near).hits(token.text)) if near else ()

        pairs = ((token, inner_agents(token)) for token in self.tokens if not token.host)
        return tuple((token, agents) for token, agents in pairs if agents)

    @cached_property
    def tiers(self) -> tuple[tuple[AgentToken, ...], ...]:
        """`relevant_tokens` without hosts, by precedence.

        The first tier with a token in the User-Agent decides, within it the token that comes first. Neighbouring ranks
        with the same outcome are one tier.
        """
        masking = frozenset(map(id, self.masking_tokens))
        tiers: list[tuple[AgentToken, ...]] = []
        for tokens in _by_rank((token for token in self.relevant_tokens if not token.host), masking):
            outcomes = {self._class_of[token.value].outcome for token in tokens}
            if tiers and len(outcomes | {self._class_of[token.value].outcome for token in tiers[-1]}) == 1:
                tiers[-1] += tokens
            else:
                tiers.append(tokens)
        return tuple(tiers)

    def ranked(self, tier: Iterable[AgentToken]) -> tuple[tuple[AgentToken, ...], ...]:
        """Return the tokens of a tier by precedence.

        All have the same outcome, but where several are in one User-Agent this order says which name is reported.
        """
        longer = (token for token, inner in self.containing_tokens if min(map(rank, inner)) <= rank(token.value))
        return tuple(_by_rank(tier, frozenset(map(id, (*self.masking_tokens, *longer)))))

    @property
    def host_tokens(self) -> tuple[AgentToken, ...]:
        """Relevant host forms; they count only if the User-Agent has no name of the whole catalogue."""
        return tuple(token for token in self.relevant_tokens if token.host)

    @property
    def anchors(self) -> frozenset[str]:
        """Runs of letters of which every User-Agent with a relevant token contains at least one."""
        return frozenset(token.anchor.decode("ascii") for token in self.relevant_tokens)


def _by_rank(tokens: Iterable[AgentToken], first: Collection[int]) -> Iterator[tuple[AgentToken, ...]]:
    """Yield the tokens of each rank, those that outweigh others earlier, and before all those with an id in `first`."""
    by_rank = grouped(tokens, lambda token: -1 if id(token) in first else rank(token.value))
    yield from (tuple(by_rank[key]) for key in sorted(by_rank))
