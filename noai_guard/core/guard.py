"""Judge requests: the facts of a request in, a Verdict out. No I/O, no clock, no framework."""

import re
from dataclasses import replace
from enum import IntFlag
from functools import cached_property

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.catalog import Catalog
from noai_guard.core.client_address import address_block
from noai_guard.core.decision_table import DecisionTable, PathClass, disallows, strictest
from noai_guard.core.evidence import user_agent_description
from noai_guard.core.identity.check import IdentityCheck
from noai_guard.core.identity.proof import Claimed, Identified
from noai_guard.core.identity.refusing import RefusedOperators
from noai_guard.core.model import (
    NAMELESS,
    UNKNOWN_BOT,
    Action,
    Agent,
    Claim,
    Identity,
    PartlyRead,
    SeveralClaims,
    SignedAs,
    SingleClaim,
    Verdict,
    agent_of,
    single_claims,
)
from noai_guard.core.origins import Origins
from noai_guard.core.partners import Grant, admission, may_prove
from noai_guard.core.policy import Policy
from noai_guard.core.questions import Count, Examination
from noai_guard.core.request import ClaimKey, Request
from noai_guard.core.user_agent_matcher import decoded, excerpt, is_read_closely, wholly_decoded

# CUBOT is looked for behind the word, so that every alternative begins with a letter and the engine skips to one.
CALLS_ITSELF_A_BOT = re.compile(rb"(?:bot(?<!cubot)|crawler|spider|scraper|fetcher|archiver)(?![a-z])")
"""Words, in lower case, that make a client without a known name an unknown bot. CUBOT makes phones."""

_CHECKED = (Identity.UNVERIFIED, Identity.VERIFIED, Identity.SPOOFED)

_BOT_ANYWHERE = re.compile(CALLS_ITSELF_A_BOT.pattern, re.IGNORECASE)


SINGLE_WORD = re.compile(rb"[!-$&'*,-\x5b\x5d-~]{0,256}")
"""User agents that name nobody: none, `-`, or one word with or without a version. Not one in which something is
encoded: apps write their blanks as `%20`."""


def calls_itself_a_bot(user_agent: bytes) -> bool:
    """Return True if a user agent says that it is a bot. Meant for those that name no known agent."""
    text = excerpt(user_agent)
    forms = {text, decoded(text)} if b"%" in text or b"\\" in text else {text}
    return any(CALLS_ITSELF_A_BOT.search(form.lower()) for form in forms)


class Needs(IntFlag):
    """Facts that a verdict depends on beside the agent and the path class."""

    NOTHING = 0
    ADDRESS = 1
    """The client's address."""
    COUNT = 2
    """The number of requests that the client has made."""
    IDENTITY = 4
    """Whether the client is the agent that it claims to be."""
    PARTNER = 8
    """Whether the client is a partner with a licence."""
    HEADERS = 16
    """Header fields beside User-Agent."""


class Guard:
    """Judge of requests by one policy and one catalogue. It never changes after construction, except for its caches.

    Outside of the middleware, call `run(guard.examine(request, address, received_at), store, on_failure)`, or
    `judged(path, user_agent)` if `needs` is NOTHING.
    """

    def __init__(self, policy: Policy, catalog: Catalog) -> None:
        self.policy = policy
        self.table = DecisionTable(policy, catalog)
        self.identity = IdentityCheck(self.table.identity)
        self.claims: BoundedCache[ClaimKey, Claim] = BoundedCache(self._read)
        self._checked: BoundedCache[tuple[Claim, PathClass], tuple[SingleClaim, ...]] = BoundedCache(
            self._claims_to_check
        )
        self._identified: BoundedCache[tuple[Verdict, tuple[str, ...], str], Verdict] = BoundedCache(_with_reasons)
        self.catalog = self.table.catalog
        origins = Origins(self.table)
        self.origins = origins if origins else None
        self._replaced: BoundedCache[tuple[Verdict, Action, str, str], Verdict] = BoundedCache(replaced)
        self._granted: BoundedCache[tuple[Verdict, Grant], Verdict] = BoundedCache(_with_grant)
        self.uses_address = bool(policy.exemptions.addresses)

    def _read(self, key: ClaimKey) -> Claim:
        """Return the claim of a `Request.claim_key`."""
        if isinstance(key, bytes):
            return self._read_user_agent(key)
        user_agent, signature_agent = key
        signed = self.catalog.signature_agents.named(signature_agent) or (UNKNOWN_BOT,)
        return SeveralClaims((self._read_user_agent(user_agent), *map(SignedAs, signed)))

    def _read_user_agent(self, user_agent: bytes) -> Agent | PartlyRead | None:
        read = self.catalog.read(user_agent)
        agent, hidden = (read.agent, read.hidden) if isinstance(read, PartlyRead) else (read, frozenset())
        if agent is not None:
            return read
        if self._is_unknown_bot(user_agent):
            agent = UNKNOWN_BOT
        elif SINGLE_WORD.fullmatch(user_agent.strip()):
            agent = NAMELESS
        if agent is None and not is_read_closely(user_agent):
            forms = (user_agent, wholly_decoded(user_agent))
            hidden |= {UNKNOWN_BOT} if any(map(_BOT_ANYWHERE.search, forms)) else set()
        return PartlyRead(agent, hidden) if hidden else agent

    def _is_unknown_bot(self, user_agent: bytes) -> bool:
        if calls_itself_a_bot(user_agent):
            return True
        description = user_agent_description.describe(user_agent) if self.policy.second_look else None
        return description is not None and description.is_bot

    def judged(self, path: str, user_agent: ClaimKey) -> Verdict:
        """Return the verdict by path and user agent alone: dictionary look-ups if both were seen before."""
        return self.table.verdict(self.claims[user_agent], self.table.path_classes[path])

    def needs(self, claim: Claim, path_class: PathClass) -> Needs:
        """Return the facts that have to be known, beside claim and path class, before the verdict is final."""
        needs = Needs.ADDRESS if self.uses_address else Needs.NOTHING
        if self.table.verdict(claim, path_class).action is Action.THROTTLE:
            needs |= Needs.ADDRESS | Needs.COUNT
        if self._checked[claim, path_class]:
            needs |= Needs.ADDRESS | Needs.IDENTITY
        if self.policy.partners and self._may_be_refused(claim, path_class):
            needs |= Needs.ADDRESS | Needs.PARTNER
        if self.origins is not None:
            by_address, by_headers = self.origins.needs(claim, path_class)
            needs |= Needs.ADDRESS if by_address else Needs.NOTHING
            needs |= Needs.HEADERS if by_headers else Needs.NOTHING
        return needs

    def _claims_to_check(self, key: tuple[Claim, PathClass]) -> tuple[SingleClaim, ...]:
        """Return the claims to be checked on paths of a class: none if one is refused whatever comes out."""
        claim, path_class = key
        claims = single_claims(claim)
        checked = tuple(each for each in claims if self._depends_on_identity(each, path_class))
        others = (self.table.verdict(each, path_class) for each in claims if each not in checked)
        return () if any(verdict.action.refuses for verdict in others) else checked

    def _may_be_refused(self, claim: Claim, path_class: PathClass) -> bool:
        """Return True if a client may be refused or rationed, whoever it turns out to be."""
        checked = self._checked[claim, path_class]
        verdicts = [path_class.verdicts[each, identity] for each in checked for identity in _CHECKED]
        return any(verdict.action.restricts for verdict in (*verdicts, self.table.verdict(claim, path_class)))

    def _depends_on_identity(self, claim: SingleClaim, path_class: PathClass) -> bool:
        """Return True if a claim can be checked, and the verdict depends on what comes out."""
        agent = agent_of(claim)
        if agent is None or not self.identity.ways[agent]:
            return False
        verdicts = [path_class.verdicts[claim, identity] for identity in _CHECKED]
        if all(verdict.action.refuses for verdict in verdicts):
            return False
        return len({(verdict.action, verdict.rule) for verdict in verdicts}) > 1

    @cached_property
    def checked_agents(self) -> frozenset[Agent]:
        """The agents that a user agent may name and whose claims are checked somewhere: who names one may be refused
        for not being it."""
        policy = self.policy
        if not policy.identity.spoofed.restricts and not any(rule.identities for rule in policy.rules):
            return frozenset()
        exempt = policy.exemptions.agents
        named = (agent for agent in self.catalog.agents if agent.expected_user_agent)
        return frozenset(agent for agent in named if self.identity.ways[agent] and agent.name.lower() not in exempt)

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
        """Judge one request. Yield the questions of the ways to verify its claims, and a `Count` if the policy says
        throttle; return the Verdict.

        `address` is `ClientAddress.address`, or None if it is not known, and `is_proven` as there; `doubt` is what
        `identity.addresses.doubt` says of it. `received_at` is in seconds since 1970. `path_class` is that of the
        request's path, if it is known.
        """
        table = self.table
        claim = self.claims[request.claim_key]
        path_class = path_class or table.path_classes[request.path]
        doubt = doubt if is_proven else doubt or "address_not_proven"
        if self.origins is not None:
            proven = address if is_proven else None
            claim, path_class = self.origins.judged_as(claim, path_class, proven, request.headers)
        verdict = table.verdict(claim, path_class)
        exempt = self.policy.exemptions.addresses
        if self.uses_address and is_proven and address is not None and address in exempt:
            return self._replaced[verdict, Action.ALLOW, "exempt-address", "the client's address is exempt"]
        checked = self._checked[claim, path_class]
        verdicts = [table.verdict(each, path_class) for each in single_claims(claim) if each not in checked]
        for each in checked:
            agent = agent_of(each)
            assert agent is not None
            claimed = Claimed(agent, request, address, received_at, self.identity.settings, doubt)
            identified = yield from self.identity.identify(claimed)
            verdicts.append(self._verdict_of_identified(each, path_class, identified))
        verdict = strictest(verdicts)
        if verdict.action.restricts and self.policy.partners:
            verdict = yield from self._after_partners(verdict, claim, request, None if doubt else address, received_at)
        if verdict.action is not Action.THROTTLE:
            return verdict
        limit = self.policy.throttle
        name = verdict.agent.name if verdict.agent else "unclaimed"
        block = address_block(address) if address else "unknown"
        count = yield Count(f"{name}|{block}", limit.seconds, received_at, limit.requests)
        rate = f"{limit.requests} requests in {limit.seconds} s"
        if count is None:
            reason = f"requests could not be counted; on_unknown says {self.policy.on_unknown}"
            return self._replaced[verdict, self.policy.on_unknown, verdict.rule, reason]
        if count <= limit.requests:
            return self._replaced[verdict, Action.ALLOW, verdict.rule, f"within {rate}"]
        return self._replaced[verdict, Action.THROTTLE, verdict.rule, f"more than {rate}"]

    def _verdict_of_identified(self, claim: SingleClaim, path_class: PathClass, identified: Identified) -> Verdict:
        verdict = self._identified[path_class.verdicts[claim, identified.identity], identified.reasons, identified.by]
        on_unknown = self.policy.on_unknown
        if identified.unanswered and on_unknown.strictness > verdict.action.strictness:
            reason = f"the claim could not be checked; on_unknown says {on_unknown}"
            return self._replaced[verdict, on_unknown, verdict.rule, reason]
        return verdict

    def _after_partners(
        self, verdict: Verdict, claim: Claim, request: Request, address: str | None, received_at: float
    ) -> Examination[Verdict]:
        """Return a verdict that restricts, or what the grant of the partner that the request comes from makes of it.

        Where a proof cannot be looked at, the verdict stays: a grant is an exception.
        """
        partners = self.policy.partners
        if not may_prove(partners, request, address):
            return verdict
        admitted = yield from admission(
            partners, request, claim, verdict.path_policy, address, self.policy.authorities, received_at
        )
        if admitted.grant is not None and any(
            disallows(verdict.path_policy, agent_of(each)) for each in single_claims(claim)
        ):
            reason = f"{admitted.grant.partner.name} has a grant of the site, and the creator of the work says no"
            return self._replaced[verdict, verdict.action, verdict.rule, reason]
        if admitted.grant is not None:
            return self._granted[verdict, admitted.grant]
        if admitted.unanswered:
            reason = "a partner's proof could not be checked, so the policy without its grant holds"
            return self._replaced[verdict, verdict.action, verdict.rule, reason]
        return verdict

    def use_operators(self, operators: RefusedOperators) -> None:
        """Go on with what a guard before this one knew of whose claims are let in although they fail."""
        self.identity.operators = operators

    def with_action(self, verdict: Verdict, action: Action, reason: str) -> Verdict:
        """Return the same verdict with another action and one more reason; one object for equal arguments."""
        return self._replaced[verdict, action, verdict.rule, reason]


def _with_grant(key: tuple[Verdict, Grant]) -> Verdict:
    """Return the verdict on a request of a partner: let in and logged, or refused with a sentence that says why."""
    verdict, grant = key
    partner = grant.partner
    if grant.granted:
        until = f" until {partner.until}" if partner.until else ""
        reason = f"{partner.name} has proved itself ({', '.join(partner.proofs)}), and its grant holds{until}"
        return replace(
            verdict, action=Action.LOG, rule=partner.rule, reasons=(*verdict.reasons, reason), retry_after=0, message=""
        )
    message = f"{verdict.message.rstrip('.')}. {grant.sentence}" if verdict.message else grant.sentence
    return replace(verdict, rule=partner.rule, reasons=(*verdict.reasons, grant.sentence), message=message)


def _with_reasons(key: tuple[Verdict, tuple[str, ...], str]) -> Verdict:
    """Return a verdict with the reasons of its identity behind those of the claim, and the way that proved it."""
    verdict, reasons, proof = key
    claim, *rest = verdict.reasons
    return replace(verdict, reasons=(claim, *reasons, *rest), proof=proof)


def replaced(key: tuple[Verdict, Action, str, str]) -> Verdict:
    """Return a verdict with another action, rule, and one more reason."""
    verdict, action, rule, reason = key
    retry_after = verdict.retry_after if action is Action.THROTTLE else 0
    return replace(verdict, action=action, rule=rule, reasons=(*verdict.reasons, reason), retry_after=retry_after)
