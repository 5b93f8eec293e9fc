"""The judge: facts of a request in, verdict out. No I/O, no clock, no framework."""

import re

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.catalog import Catalog
from noai_guard.core.client_address import address_block
from noai_guard.core.evidence import user_agent_description
from noai_guard.core.model import UNKNOWN_BOT, Action, Agent, Request, Verdict
from noai_guard.core.policy import DecisionTable, Policy
from noai_guard.core.questions import Count, Examination
from noai_guard.core.user_agent_matcher import excerpt

# CUBOT is looked for behind the word, so that every alternative begins with a letter and the engine skips to one.
CALLS_ITSELF_A_BOT = re.compile(rb"(?:bot(?<!cubot)|crawler|spider|scraper|fetcher|archiver)(?![a-z])")
"""What an unknown client must say, in lower case, to count as an unknown bot. CUBOT makes phones."""


def calls_itself_a_bot(user_agent: bytes) -> bool:
    """Whether a user agent that names no known agent says that it is a bot."""
    return CALLS_ITSELF_A_BOT.search(excerpt(user_agent).lower()) is not None


class Guard:
    """Judges requests by one policy and one catalogue; never changes after it was made.

    Usable without ASGI: `run(guard.examine(request), answerer, on_failure)`, or, where `asks` says that nothing
    from outside is needed, `judged(path, user_agent)`.
    """

    def __init__(self, policy: Policy, catalog: Catalog) -> None:
        self.policy = policy
        self.catalog = catalog
        self.table = DecisionTable(policy, catalog)
        self.agents: BoundedCache[bytes, Agent | None] = BoundedCache(self._recognised)
        self._after: BoundedCache[tuple[Verdict, Action, str, str], Verdict] = BoundedCache(lambda key: _instead(*key))
        self.asks_address = bool(policy.exemptions.addresses)

    def _recognised(self, user_agent: bytes) -> Agent | None:
        agent = self.catalog.find(user_agent)
        if agent is None and (calls_itself_a_bot(user_agent) or self._looks_like_a_bot(user_agent)):
            return UNKNOWN_BOT
        return agent

    def _looks_like_a_bot(self, user_agent: bytes) -> bool:
        if not self.policy.second_look:
            return False
        description = user_agent_description.describe(user_agent)
        return description is not None and description.is_bot

    def judged(self, path: str, user_agent: bytes) -> Verdict:
        """The verdict by path (normalised) and user agent alone; three dictionary look-ups when seen before."""
        return self.table.path_classes[path].verdicts[self.agents[user_agent]]

    def examine(self, request: Request) -> Examination[Verdict]:
        """Judges one request. Asks `Count` when the policy says throttle; returns the Verdict."""
        verdict = self.judged(request.path, request.user_agent)
        if self.asks_address and self._is_exempt(request.address):
            return self._after[verdict, Action.ALLOW, "exempt-address", "the client's address is exempt"]
        if verdict.action is not Action.THROTTLE:
            return verdict
        limit = self.policy.throttle
        agent = verdict.agent.name if verdict.agent else "unclaimed"
        block = address_block(request.address) if request.address else "unknown"
        count = yield Count(f"{agent}|{block}", limit.seconds, request.received_at)
        rate = f"{limit.requests} requests in {limit.seconds} s"
        if count is None:
            why = f"requests could not be counted; on_unknown says {self.policy.on_unknown}"
            return self._after[verdict, self.policy.on_unknown, verdict.rule, why]
        if count <= limit.requests:
            return self._after[verdict, Action.ALLOW, verdict.rule, f"within {rate}"]
        return self._after[verdict, Action.THROTTLE, verdict.rule, f"more than {rate}"]

    def instead(self, verdict: Verdict, action: Action, why: str) -> Verdict:
        """The same verdict with another action; one object for equal arguments."""
        return self._after[verdict, action, verdict.rule, why]

    def _is_exempt(self, address: str | None) -> bool:
        return address is not None and address in self.policy.exemptions.addresses

    def asks(self, verdict: Verdict) -> bool:
        """Whether this judged verdict is only the beginning: it takes an address or an answer from outside."""
        return self.asks_address or verdict.action is Action.THROTTLE


def _instead(verdict: Verdict, action: Action, rule: str, why: str) -> Verdict:
    return Verdict(
        action=action,
        rule=rule,
        agent=verdict.agent,
        usage=verdict.usage,
        identity=verdict.identity,
        reasons=(*verdict.reasons, why),
        path_policy=verdict.path_policy,
        enforced=verdict.enforced,
        retry_after=verdict.retry_after if action is Action.THROTTLE else 0,
        message=verdict.message,
    )
