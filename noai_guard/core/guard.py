"""Judge requests: the facts of a request in, a Verdict out. No I/O, no clock, no framework."""

import re
from dataclasses import replace
from enum import IntFlag

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.catalog import Catalog
from noai_guard.core.client_address import address_block
from noai_guard.core.evidence import user_agent_description
from noai_guard.core.model import NAMELESS, UNKNOWN_BOT, Action, Claim, PartlyRead, Verdict
from noai_guard.core.origins import Origins
from noai_guard.core.policy import DecisionTable, PathClass, Policy
from noai_guard.core.questions import Count, Examination
from noai_guard.core.request import Request
from noai_guard.core.user_agent_matcher import decoded, excerpt, is_read_closely, wholly_decoded

# CUBOT is looked for behind the word, so that every alternative begins with a letter and the engine skips to one.
CALLS_ITSELF_A_BOT = re.compile(rb"(?:bot(?<!cubot)|crawler|spider|scraper|fetcher|archiver)(?![a-z])")
"""Words, in lower case, that make a client without a known name an unknown bot. CUBOT makes phones."""

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
    HEADERS = 4
    """Header fields beside User-Agent."""


class Guard:
    """Judge of requests by one policy and one catalogue. It never changes after construction, except for its caches.

    Outside of the middleware, call `run(guard.examine(request, address, received_at), store, on_failure)`, or
    `judged(path, user_agent)` if `needs` is NOTHING.
    """

    def __init__(self, policy: Policy, catalog: Catalog) -> None:
        self.policy = policy
        self.table = DecisionTable(policy, catalog)
        self.catalog = self.table.catalog
        origins = Origins(self.table)
        self.origins = origins if origins else None
        self.claims: BoundedCache[bytes, Claim] = BoundedCache(self._read)
        self._replaced: BoundedCache[tuple[Verdict, Action, str, str], Verdict] = BoundedCache(_replace)
        self.uses_address = bool(policy.exemptions.addresses)

    def _read(self, user_agent: bytes) -> Claim:
        claim = self.catalog.read(user_agent)
        agent, hidden = (claim.agent, claim.hidden) if isinstance(claim, PartlyRead) else (claim, frozenset())
        if agent is not None:
            return claim
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

    def judged(self, path: str, user_agent: bytes) -> Verdict:
        """Return the verdict by path and user agent alone: dictionary look-ups if both were seen before."""
        return self.table.verdict(self.claims[user_agent], self.table.path_classes[path])

    def needs(self, claim: Claim, path_class: PathClass) -> Needs:
        """Return the facts that have to be known, beside claim and path class, before the verdict is final."""
        needs = Needs.ADDRESS if self.uses_address else Needs.NOTHING
        if self.table.verdict(claim, path_class).action is Action.THROTTLE:
            needs |= Needs.ADDRESS | Needs.COUNT
        if self.origins is not None:
            by_address, by_headers = self.origins.needs(claim, path_class)
            needs |= Needs.ADDRESS if by_address else Needs.NOTHING
            needs |= Needs.HEADERS if by_headers else Needs.NOTHING
        return needs

    def examine(
        self,
        request: Request,
        address: str | None = None,
        received_at: float = 0.0,
        *,
        path_class: PathClass | None = None,
        is_proven: bool = True,
    ) -> Examination[Verdict]:
        """Judge one request. Yield a `Count` if the policy says throttle; return the Verdict.

        `address` is `ClientAddress.address`, or None if it is not known, and `is_proven` as there. `received_at` is in
        seconds of any clock that does not go backwards. `path_class` is that of the request's path, if it is known.
        """
        table, claim = self.table, self.claims[request.user_agent]
        path_class = path_class or table.path_classes[request.path]
        if self.origins is not None:
            proven = address if is_proven else None
            claim, path_class = self.origins.judged_as(claim, path_class, proven, request.headers)
        verdict = table.verdict(claim, path_class)
        exempt = self.policy.exemptions.addresses
        if self.uses_address and is_proven and address is not None and address in exempt:
            return self._replaced[verdict, Action.ALLOW, "exempt-address", "the client's address is exempt"]
        if verdict.action is not Action.THROTTLE:
            return verdict
        limit = self.policy.throttle
        agent = verdict.agent.name if verdict.agent else "unclaimed"
        block = address_block(address) if address else "unknown"
        count = yield Count(f"{agent}|{block}", limit.seconds, received_at)
        rate = f"{limit.requests} requests in {limit.seconds} s"
        if count is None:
            reason = f"requests could not be counted; on_unknown says {self.policy.on_unknown}"
            return self._replaced[verdict, self.policy.on_unknown, verdict.rule, reason]
        if count <= limit.requests:
            return self._replaced[verdict, Action.ALLOW, verdict.rule, f"within {rate}"]
        return self._replaced[verdict, Action.THROTTLE, verdict.rule, f"more than {rate}"]

    def with_action(self, verdict: Verdict, action: Action, reason: str) -> Verdict:
        """Return the same verdict with another action and one more reason; one object for equal arguments."""
        return self._replaced[verdict, action, verdict.rule, reason]


def _replace(key: tuple[Verdict, Action, str, str]) -> Verdict:
    verdict, action, rule, reason = key
    retry_after = verdict.retry_after if action is Action.THROTTLE else 0
    return replace(verdict, action=action, rule=rule, reasons=(*verdict.reasons, reason), retry_after=retry_after)
