"""Decide groups of logged requests: by the judge itself, without a network, and as far as a log tells.

What a log does not hold (header fields, signatures) counts as not sent; what only the network knows (names of
addresses, keys) as unanswered, and the policy's `on_unknown` decides.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.client_address import client_address
from noai_guard.core.decision_table import PathClass
from noai_guard.core.guard import Needs
from noai_guard.core.identity import ranges
from noai_guard.core.identity.addresses import doubt as address_doubt
from noai_guard.core.identity.proof import Claimed
from noai_guard.core.model import UNCLAIMED_AGENTS, Action, Agent, Claim, Identity, Usage, Verdict, agent_of
from noai_guard.core.paths import normal_path
from noai_guard.core.questions import Count, Question, run
from noai_guard.core.request import PlainRequest
from noai_guard.errors import Unanswered
from noai_guard.stores.memory import MemoryStore

DOCUMENT = "document"
"""Rule of requests for a declaration (robots.txt ...), which everybody is sent."""

NOT_LOGGED = "not-logged"
"""Rule of requests whose user agent the log does not hold: nobody can be judged by what is not known."""

_ABSOLUTE_FORM = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/]*")


@dataclass(frozen=True, slots=True)
class Decision:
    """What one policy says about a group of requests. `agent` is the name that the client gives, empty if it gives
    none, and `unclaimed` says that it names nobody in the catalogue. `unchecked`: somebody who was not asked might
    have said who it is. `by_headers`: header fields, which no log holds, might have changed the verdict."""

    agent: str
    operator: str
    usage: Usage | None
    identity: Identity
    action: Action
    rule: str
    unchecked: bool = False
    by_headers: bool = False

    @property
    def refused(self) -> bool:
        """True if the client would get an error response instead of what it asks for."""
        return self.action.restricts

    @property
    def unclaimed(self) -> bool:
        """True if the client is let in as somebody whom no catalogue knows."""
        return not self.agent and self.rule not in (DOCUMENT, NOT_LOGGED)

    @property
    def spoofed(self) -> bool:
        """True if the client is shown not to be the agent that it names."""
        return self.identity is Identity.SPOOFED

    @property
    def undecided(self) -> bool:
        """True if a client that names an agent is let in, and header fields might have it refused."""
        return self.by_headers and bool(self.agent) and not self.refused


@dataclass(frozen=True, slots=True)
class PathFacts:
    """What the policies say about a path: its classes, and whether a document is published there."""

    classes: tuple[PathClass, ...]
    documents: tuple[bool, ...]


class Judge:
    """Decides by one or several policies, in their order. `at` is when their lists of networks count as read, in
    seconds since 1970: ranges are as they are on this disk, whenever the requests came."""

    def __init__(self, policies: Sequence[CompiledPolicy], at: float) -> None:
        self.policies = tuple(policies)
        self._at = at
        self._counts = [MemoryStore() for _ in policies]
        for policy in policies:
            # Whether so many claims fail that addresses cannot be believed is a question of time; a report shows both.
            policy.guard.identity.operators = _NeverStopped()  # type: ignore[assignment]
            policy.guard.identity.ask_every_time()

    def claims(self, user_agent: bytes) -> tuple[Claim, ...]:
        """Return what a user agent claims, to each policy's catalogue."""
        return tuple(policy.guard.claims[user_agent] for policy in self.policies)

    def path(self, raw: bytes) -> PathFacts:
        """Return what is known of a path as it was sent, without its query."""
        raw = _without_host(raw)
        path = _normal(raw)
        return PathFacts(
            tuple(policy.guard.table.target_classes[(raw,)] for policy in self.policies),
            tuple(path in policy.documents for policy in self.policies),
        )

    def work(self, raw: bytes) -> str:
        """Return the name of the work that a path, as it was sent, is part of; empty if none."""
        return self.policies[0].policy.works.work_of(_normal(raw))

    def needs(self, claims: tuple[Claim, ...], facts: PathFacts) -> Needs:
        """Return what has to be known beside user agent and path, by any of the policies."""
        needs = Needs.NOTHING
        for policy, claim, path_class in zip(self.policies, claims, facts.classes, strict=True):
            needs |= policy.guard.needs(claim, path_class)
            agent = agent_of(claim)
            if agent is not None and self._has_networks(policy, agent):
                needs |= Needs.ADDRESS
        return needs

    def decide(
        self, user_agent: bytes | None, facts: PathFacts, reads: bool, address: str = "", at: float | None = None
    ) -> tuple[Decision, ...]:
        """Return what each policy says about a request. `reads`: the method is GET or HEAD; `at` is its own time, where
        the policy counts requests; without one, none is over its rate."""
        decisions = []
        for number, policy in enumerate(self.policies):
            if facts.documents[number] and reads:
                decisions.append(_SERVED)
            elif user_agent is None:
                decisions.append(_UNKNOWN)
            else:
                decisions.append(self._decide(number, policy, user_agent, facts.classes[number], address, at))
        return tuple(decisions)

    def _decide(
        self, number: int, policy: CompiledPolicy, user_agent: bytes, path_class: PathClass, address: str,
        at: float | None,
    ) -> Decision:  # fmt: skip
        request = PlainRequest("/", ((b"user-agent", user_agent),))
        client = client_address(address or None, ())
        doubt = address_doubt(client, (), policy.policy.trusted_proxies)
        store = _Offline(self._counts[number], at)
        guard = policy.guard
        verdict = run(
            guard.examine(request, client.address, self._at, path_class=path_class, doubt=doubt),
            store,
            store.unanswered,
        )
        identity = verdict.identity
        if identity is Identity.UNVERIFIED and verdict.agent is not None and self._has_networks(policy, verdict.agent):
            # The judge asks only where the verdict depends on it; a report says it of all.
            claimed = Claimed(verdict.agent, request, client.address, self._at, guard.identity.settings, doubt)
            identity = run(guard.identity.identify(claimed), _Offline(self._counts[number], at), _nothing).identity
        # Few policies look at header fields; those that do not need not be asked for each group.
        by_headers = guard.origins is not None and bool(
            guard.needs(guard.claims[user_agent], path_class) & Needs.HEADERS
        )
        return decision(verdict, identity, store.failed, by_headers)

    def _has_networks(self, policy: CompiledPolicy, agent: Agent) -> bool:
        return ranges.WAY in policy.guard.identity.ways[agent]


def _nothing(question: Question[Any], error: Exception) -> None:
    """Leave a question unanswered."""


def _without_host(raw: bytes) -> bytes:
    return raw if raw[:1] == b"/" else _ABSOLUTE_FORM.sub(b"", raw, count=1) or b"/"


def _normal(raw: bytes) -> str:
    return normal_path(unquote_to_bytes(_without_host(raw)).decode("utf-8", "replace"))


class _Offline:
    """Answers counts; who would have to be asked over the network does not answer."""

    def __init__(self, counts: MemoryStore, at: float | None) -> None:
        self.failed = False
        self._counts = counts
        self._at = at

    def answer(self, question: Question[Any]) -> Any:
        if isinstance(question, Count):
            if self._at is None:
                return 1
            return self._counts.answer(Count(question.key, question.seconds, self._at, question.limit))
        raise Unanswered("a replay asks nobody")

    def unanswered(self, question: Question[Any], error: Exception) -> None:
        self.failed = True


class _NeverStopped:
    """In place of `RefusedOperators`: every claim that fails counts."""

    stopped: frozenset[str] = frozenset()

    def proven(self, operator: str, at: float) -> None: ...

    def failed(self, operator: str, block: str, at: float) -> bool:
        return True


def decision(verdict: Verdict, identity: Identity, unchecked: bool, by_headers: bool) -> Decision:
    """Return what a report says of a verdict."""
    agent = verdict.agent
    names_agent = agent is not None and agent not in UNCLAIMED_AGENTS
    return Decision(
        agent.name if agent is not None and names_agent else "",
        agent.operator if agent is not None and names_agent else "",
        verdict.usage, identity, verdict.action, verdict.rule, unchecked, by_headers,
    )  # fmt: skip


_SERVED = Decision("", "", None, Identity.UNCLAIMED, Action.ALLOW, DOCUMENT)
_UNKNOWN = Decision("", "", None, Identity.UNCLAIMED, Action.ALLOW, NOT_LOGGED)
