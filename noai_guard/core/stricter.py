"""Several policies at once, of which the strictest counts: what is in force while a looser one owes its notice.

Each policy judges with a guard of its own, so whatever differs between them (sections, rules, exemptions, agents,
partners, identity, rates), nobody is let in whom one of them refuses. What is declared comes from the verdicts too
where a standard asks for verdicts, else from `stricter_policy`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from typing import Any

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.catalog import Catalog
from noai_guard.core.decision_table import DecisionTable, PathClass, strictest_usages
from noai_guard.core.guard import Guard, Needs, replaced
from noai_guard.core.identity.refusing import RefusedOperators
from noai_guard.core.model import (
    Action,
    Agent,
    Claim,
    Identity,
    Mode,
    PathPolicy,
    SeveralClaims,
    Verdict,
)
from noai_guard.core.path_patterns import PathMatcher, by_specificity
from noai_guard.core.policy import Exemptions, Policy
from noai_guard.core.questions import Count, Examination
from noai_guard.core.request import ClaimKey, Request
from noai_guard.core.uses import Use


def strictest_action(actions: Iterable[Action]) -> Action:
    """Return the strictest of several actions."""
    return max(actions, key=lambda action: action.strictness)


def sections_within(policy: Policy, pattern: str) -> tuple[PathPolicy, ...]:
    """Return the sections of a policy that may be in force on a path that the pattern matches, where no more specific
    pattern does; all that really are, perhaps more. The section of that pattern alone, if there is one."""
    own = [section for section in policy.path_policies if section.pattern == pattern]
    if own or pattern == "/**":
        return (own[0] if own else policy.whole_site,)
    others = policy.path_policies
    ranked = [pattern, *(section.pattern for section in others)]
    order = by_specificity(ranked)
    sections = []
    for number in order[order.index(0) + 1 :]:
        section = others[number - 1]
        if _may_overlap(section.pattern, pattern):
            sections.append(section)
        if _covers(section.pattern, pattern):
            return tuple(sections)
    return (*sections, policy.whole_site)


def _covers(wide: str, narrow: str) -> bool:
    """Return True only if surely every path that `narrow` matches is one that `wide` matches."""
    directory = wide.removesuffix("/**")
    if directory == wide or set("*?") & set(directory):
        return False
    return narrow == directory or narrow.startswith(f"{directory}/")


def _may_overlap(one: str, other: str) -> bool:
    """Return False only if surely no path matches both patterns."""
    if not set("*?") & set(other):
        return PathMatcher([one]).first(other) >= 0
    # `/a/**` matches `/a` too, which whatever else matches it begins to spell.
    begins, starts = (re.split(r"[*?]", pattern, maxsplit=1)[0] for pattern in (one, other))
    return begins.startswith(starts) or starts.startswith(begins)


def swapped_sections(before: Policy, after: Policy) -> tuple[tuple[str, str], ...]:
    """Return the pairs of patterns of both policies of which on a path that both may match the first counts before,
    and the second after: of equally specific ones, that which stands first in the file."""
    old, new = map(_with_wildcards, (before, after))
    shared = set(old).intersection(new)
    old, new = ([pattern for pattern in each if pattern in shared] for each in (old, new))
    if old == new:
        return ()
    rank = {pattern: number for number, pattern in enumerate(new)}
    return tuple((a, b) for a, b in combinations(old, 2) if rank[b] < rank[a] and _may_overlap(a, b))


def _with_wildcards(policy: Policy) -> list[str]:
    """Return the patterns of which several may match one path though they are equally specific, as they count."""
    patterns = [section.pattern for section in policy.path_policies]
    return [
        patterns[number] for number in by_specificity(patterns) if set("*?") & set(patterns[number].removesuffix("/**"))
    ]


def all_patterns(policies: Sequence[Policy]) -> tuple[str, ...]:
    """Return the patterns of the sections of all policies, each once."""
    return tuple(dict.fromkeys(section.pattern for policy in policies for section in policy.path_policies))


def stricter_policy(policies: Sequence[Policy]) -> Policy:
    """Return a policy that declares what is in force when the strictest of several counts.

    It is no looser than any of them in its sections, in what it declares, and in what happens when nobody knows. Facts
    about the site and how it runs are those of the first.
    """
    first = policies[0]
    shared = set(first.exemptions.paths).intersection(*(set(each.exemptions.paths) for each in policies))
    exempt = frozenset.intersection(*(each.exemptions.agents for each in policies))
    addresses = {each.exemptions.addresses for each in policies}
    return replace(
        first,
        mode=Mode.ENFORCE if any(each.mode is Mode.ENFORCE for each in policies) else Mode.MONITOR,
        usages=strictest_usages([each.whole_site for each in policies]),
        path_policies=_strictest_sections(policies),
        rules=tuple(dict.fromkeys(rule for each in policies for rule in each.rules)),
        exemptions=Exemptions(
            tuple(path for path in first.exemptions.paths if path in shared),
            exempt,
            addresses.pop() if len(addresses) == 1 else Exemptions().addresses,
        ),
        on_unknown=strictest_action(each.on_unknown for each in policies),
        unreadable=strictest_action(each.unreadable for each in policies),
        identity=replace(first.identity, spoofed=strictest_action(each.identity.spoofed for each in policies)),
        throttle=min((each.throttle for each in policies), key=lambda rate: rate.requests / rate.seconds),
        declarations=_declarations(policies),
        second_look=any(each.second_look for each in policies),
        uses=tuple(declared for use in first.uses for declared in _declared(use, policies)),
        notices=tuple(dict.fromkeys(notice for each in policies for notice in each.notices)),
        creators=replace(first.creators, decide=all(each.creators.decide for each in policies)),
        partners=tuple(partner for partner in first.partners if _is_in_all(partner.name, policies)),
    )


def _strictest_sections(policies: Sequence[Policy]) -> tuple[PathPolicy, ...]:
    patterns = all_patterns(policies)
    found = {pattern: [s for each in policies for s in sections_within(each, pattern)] for pattern in patterns}
    joint = replace(policies[0], path_policies=tuple(PathPolicy(pattern, {}) for pattern in patterns))
    for policy in policies:
        for counted, other in swapped_sections(policy, joint):
            found[other] += sections_within(policy, counted)
    return tuple(PathPolicy(pattern, strictest_usages(sections)) for pattern, sections in found.items())


def _is_in_all(partner: str, policies: Sequence[Policy]) -> bool:
    return all(partner in [each.name for each in policy.partners] for policy in policies)


def _declared(use: Use, policies: Sequence[Policy]) -> Iterator[Use]:
    """Yield a use, unless it trains and a policy does not say so: then what was said of it before."""
    if not use.trains_generative_models or all(use in policy.uses for policy in policies):
        yield use
        return
    before = (each for policy in policies for each in policy.uses if (each.use, each.by) == (use.use, use.by))
    yield from islice((each for each in before if not each.trains_generative_models), 1)


def _declarations(policies: Sequence[Policy]) -> Mapping[str, Any]:
    """Return the values under `declarations:` with which everything is declared that one of the policies declares."""
    first, *others = policies
    values = dict(first.declarations)
    for policy in others:
        for key in (*values, *policy.declarations):
            if policy.declares(key) and not first.declares(key):
                values[key] = policy.declarations.get(key, "merge" if key == "robots_txt" else True)
    return values


PROMISED = "a stricter policy was promised, and holds until a looser one may take its place"
"""The reason of a verdict that another policy than the first decided."""


@dataclass(frozen=True, slots=True)
class ClaimsByPolicy(SeveralClaims):
    """The claims of one client as each of several policies reads them, in their order."""

    claims: tuple[Claim, ...]  # type: ignore[assignment]


class StricterTable(DecisionTable):
    """The tables of several policies as one. `policy` is what is declared, as `stricter_policy` returns it."""

    def __init__(self, tables: Sequence[DecisionTable]) -> None:
        self.tables = tuple(tables)
        self.policy = stricter_policy([table.policy for table in tables])
        self.catalog = _catalog_of(tables)
        self.path_policies = self.policy.all_path_policies
        self.identity = tables[0].identity
        self._joint: BoundedCache[tuple[PathClass, ...], PathClass] = BoundedCache(self._class_of)
        self._combined = BoundedCache(_strictest_of)
        self.path_classes: BoundedCache[str, PathClass] = BoundedCache(
            lambda path: self._joint[tuple(each.path_classes[path] for each in tables)]
        )
        self.target_classes: BoundedCache[tuple[bytes, ...], PathClass] = BoundedCache(
            lambda target: self._joint[tuple(each.target_classes[target] for each in tables)]
        )

    def path_class(self, path: str) -> PathClass:
        return self._joint[tuple(table.path_class(path) for table in self.tables)]

    def works_of(self, paths: Sequence[str | bytes]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for table in self.tables for name in table.works_of(paths)))

    def wished(self, path_class: PathClass, number: int) -> PathClass:
        parts = zip(self.tables, path_class.readings, strict=True)
        return self._joint[tuple(table.wished(part, number) for table, part in parts)]

    def unread(self, path: str = "/") -> PathClass:
        return self._joint[tuple(table.unread(path) for table in self.tables)]

    def changed(self, change: Callable[[Policy], Policy]) -> "StricterTable":
        return StricterTable([table.changed(change) for table in self.tables])

    def facts(self, agent: Agent) -> tuple[Any, ...]:
        return tuple(table.facts(table.catalog.agent(agent.name) or agent) for table in self.tables)

    def owns(self, claim: Claim) -> tuple[Claim, ...]:
        """Return a claim as each policy knows it: an agent may be another to a policy with agents of its own."""
        if isinstance(claim, ClaimsByPolicy):
            return claim.claims
        if isinstance(claim, Agent):
            return tuple(table.catalog.agent(claim.name) or claim for table in self.tables)
        return (claim,) * len(self.tables)

    def _class_of(self, classes: tuple[PathClass, ...]) -> PathClass:
        sections = [each.path_policy for each in classes]
        patterns = [section.pattern for section in sections]
        pattern = patterns[by_specificity(patterns)[0]]
        joint = PathClass(
            PathPolicy(pattern, strictest_usages(sections)),
            tuple(rule for each in classes for rule in each.rules),
            all(each.exempt for each in classes),
            classes,
            any(each.unread for each in classes),
        )
        return self._judging(joint)

    def verdict(self, claim: Claim, path_class: PathClass) -> Verdict:
        # Each policy says what the identity of an unchecked claim is.
        return path_class.verdicts[claim, Identity.UNVERIFIED]

    def decide(self, claim: Claim, identity: Identity, path_class: PathClass) -> Verdict:
        """Return the strictest verdict of the policies. UNVERIFIED stands for a claim that was not checked."""
        verdicts = []
        for table, own, each in zip(self.tables, self.owns(claim), path_class.readings, strict=True):
            unchecked = identity is Identity.UNVERIFIED
            verdicts.append(table.verdict(own, each) if unchecked else each.verdicts[own, identity])
        return self.strictest(verdicts, path_class)

    def strictest(self, verdicts: Sequence[Verdict], path_class: PathClass) -> Verdict:
        """Return the strictest of the policies' verdicts on a path, with the section that is declared there."""
        return self._combined[path_class.path_policy, tuple(verdicts)]


def _strictest_of(key: tuple[PathPolicy, tuple[Verdict, ...]]) -> Verdict:
    section, verdicts = key
    verdict = max(verdicts, key=_weight)
    reasons = verdict.reasons if verdict is verdicts[0] else (*verdict.reasons, PROMISED)
    return replace(verdict, path_policy=section, reasons=reasons)


def _weight(verdict: Verdict) -> tuple[int, int, bool]:
    """Return what orders verdicts by strictness: a refusal that is not enforced lets in."""
    action = verdict.action
    done = action if verdict.enforced or not action.restricts else Action.LOG
    return done.strictness, action.strictness, verdict.agent is not None


def _catalog_of(tables: Sequence[DecisionTable]) -> Catalog:
    """Return the catalogue of the first table, with the agents that only others know."""
    first, *others = tables
    missing = {
        agent.name.lower(): agent
        for table in others
        if table.catalog is not first.catalog
        for agent in table.catalog.agents
        if first.catalog.agent(agent.name) is None
    }
    return first.catalog.extended(tuple(missing.values()))


class StricterGuard(Guard):
    """The guards of several policies as one, for one catalogue. The strictest verdict counts; of equals, the first."""

    def __init__(self, policies: Sequence[Policy], catalog: Catalog) -> None:
        self._guards = tuple(Guard(policy, catalog) for policy in policies)
        self.table: StricterTable = StricterTable([guard.table for guard in self._guards])
        self.policy = self.table.policy
        self.catalog = self.table.catalog
        self.identity = self._guards[0].identity
        self.origins = next((guard.origins for guard in self._guards if guard.origins is not None), None)
        self.uses_address = any(guard.uses_address for guard in self._guards)
        self.claims: BoundedCache[ClaimKey, Claim] = BoundedCache(self._read)
        self._replaced = BoundedCache(replaced)

    def _read(self, key: ClaimKey) -> Claim:
        claims = tuple(guard.claims[key] for guard in self._guards)
        return claims[0] if all(claim is claims[0] for claim in claims) else ClaimsByPolicy(claims)

    def use_operators(self, operators: RefusedOperators) -> None:
        for guard in self._guards:
            guard.use_operators(operators)

    def _parts(self, claim: Claim, path_class: PathClass) -> Iterable[tuple[Guard, Claim, PathClass]]:
        return zip(self._guards, self.table.owns(claim), path_class.readings, strict=True)

    def needs(self, claim: Claim, path_class: PathClass) -> Needs:
        needs = Needs.NOTHING
        for guard, own, part in self._parts(claim, path_class):
            needed = guard.needs(own, part)
            verdict = guard.table.verdict(own, part)
            if not needed and verdict.enforced and verdict.action is Action.DENY:
                return Needs.NOTHING  # nothing is stricter
            needs |= needed
        return needs

    def examine(
        self,
        request: Request,
        address: str | None = None,
        received_at: float = 0.0,
        *,
        path_class: PathClass | None = None,
        is_proven: bool = True,
        doubt: str | None = None,
    ) -> Examination[Verdict]:
        """Judge one request by every policy. A question that several ask is asked once."""
        path_class = path_class or self.table.path_classes[request.path]
        answers: dict[Any, Any] = {}
        verdicts = []
        for guard, part in zip(self._guards, path_class.readings, strict=True):
            examination = guard.examine(
                request, address, received_at, path_class=part, is_proven=is_proven, doubt=doubt
            )
            verdicts.append((yield from _asking_once(examination, answers)))
        return self.table.strictest(verdicts, path_class)


def _asking_once(examination: Examination[Verdict], answers: dict[Any, Any]) -> Examination[Verdict]:
    """Return the result of an examination, whose questions are asked if they were not before."""
    answer = None
    try:
        while True:
            question = examination.send(answer)
            # A request counts once, whatever the limit is that its count is compared with.
            key = (question.key, question.seconds) if isinstance(question, Count) else question
            if key not in answers:
                answers[key] = yield question
            answer = answers[key]
    except StopIteration as done:
        verdict: Verdict = done.value
        return verdict
