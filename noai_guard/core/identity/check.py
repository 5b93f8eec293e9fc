"""Check a claim in every way that its agent has published, and remember what came out."""

from dataclasses import replace

from noai_guard.core.bounded_cache import BoundedCache, ExpiringCache
from noai_guard.core.client_address import address_block
from noai_guard.core.identity.proof import Basis, Claimed, Finding, Identified, Proof, Way, conclusion
from noai_guard.core.identity.refusing import RefusedOperators
from noai_guard.core.identity.settings import IdentitySettings
from noai_guard.core.identity.ways import WAYS
from noai_guard.core.model import Agent, Identity
from noai_guard.core.questions import Examination

REMEMBERED_SECONDS = 3600
"""Seconds that an answer holds for an agent and an address. Ranges and names of crawlers change within days."""
UNANSWERED_SECONDS = 30
"""Seconds before somebody who did not answer is asked again."""
MAX_REMEMBERED = 16_384
"""Answers that are remembered: about 300 bytes each."""

_DOUBTED = {
    "address_unknown": "the client's address is not known, so it proves nothing",
    "address_not_public": "the address is a private one, of a proxy perhaps, so it proves nothing",
    "address_not_proven": "the address may have come from a header that nobody vouches for, so it proves nothing",
    "proxy_not_named": "a header shows that a proxy stands in front, and trusted_proxies names none, so the address "
    "proves nothing",
}

NOT_PUBLISHED = Identified(Identity.UNVERIFIED, ("its operator has published nothing that it could be checked by",))


class IdentityCheck:
    """Checks claims by one policy and one catalogue. It never changes after construction, except for what it remembers.

    `operators` knows whose claims are let in although they fail; who replaces a policy by another hands it on.
    """

    def __init__(self, settings: IdentitySettings) -> None:
        self.settings = settings
        self.operators = RefusedOperators()
        self.ways: BoundedCache[Agent, tuple[Way, ...]] = BoundedCache(
            lambda agent: tuple(way for way in WAYS if way.applies(agent, settings))
        )
        self._remembered: ExpiringCache[tuple[Agent, str], Identified] = ExpiringCache(
            REMEMBERED_SECONDS, MAX_REMEMBERED
        )
        self._unanswered: ExpiringCache[tuple[Agent, str], Identified] = ExpiringCache(
            UNANSWERED_SECONDS, MAX_REMEMBERED
        )
        self._by_block: ExpiringCache[tuple[Agent, str, str], Proof] = ExpiringCache(REMEMBERED_SECONDS, MAX_REMEMBERED)
        self._conclusions: BoundedCache[tuple[Proof, ...], Identified] = BoundedCache(conclusion)

    def ask_every_time(self) -> None:
        """Forget who did not answer, each time: a replay counts the requests for which somebody was asked."""
        self._unanswered = ExpiringCache(0, 1)

    def identify(self, claimed: Claimed) -> Examination[Identified]:
        """Return who a client is, as far as its claim can be checked. Yields the questions of the ways."""
        agent = claimed.agent
        ways = self.ways[agent]
        if not ways:
            return NOT_PUBLISHED
        proofs: list[Proof] = []
        for way in ways:
            if way.basis is Basis.REQUEST:
                proofs.append((yield from _checked(way, claimed)))
                if proofs[-1].finding is Finding.PROVEN:
                    return self._conclusions[tuple(proofs)]
        by_address = [way for way in ways if way.basis is not Basis.REQUEST]
        if by_address and (claimed.address is None or claimed.doubt):
            proofs.append(Proof(Finding.SILENT, _DOUBTED[claimed.doubt or "address_unknown"]))
        elif by_address:
            identified = yield from self._by_address(claimed, by_address)
            if not proofs:
                return self._after_failures(claimed, identified)
            finding = _FINDINGS[identified.identity]
            if identified.unanswered:
                finding = Finding.UNANSWERED
            proofs += [Proof(Finding.SILENT, reason) for reason in identified.reasons[:-1]]
            proofs.append(Proof(finding, identified.reasons[-1], identified.by))
        concluded = self._conclusions[tuple(proofs)]
        return self._after_failures(claimed, concluded) if by_address else concluded

    def _by_address(self, claimed: Claimed, ways: list[Way]) -> Examination[Identified]:
        agent, address, at = claimed.agent, claimed.address or "", claimed.received_at
        key = (agent, address)
        known = self._remembered.get(key, at) or self._unanswered.get(key, at)
        if known is not None:
            return known
        proofs: list[Proof] = []
        for way in ways:
            if way.basis is Basis.BLOCK:
                by_block = (agent, way.name, address_block(address))
                proof = self._by_block.get(by_block, at)
                if proof is None:
                    proof = yield from _checked(way, claimed)
                    if proof.finding is not Finding.UNANSWERED:
                        self._by_block.put(by_block, proof, at)
            else:
                proof = yield from _checked(way, claimed)
            proofs.append(proof)
            if proof.finding is Finding.PROVEN:
                break
        identified = self._conclusions[tuple(proofs)]
        is_final = all(proof.finding is not Finding.UNANSWERED for proof in proofs)
        (self._remembered if is_final else self._unanswered).put(key, identified, at)
        return identified

    def _after_failures(self, claimed: Claimed, identified: Identified) -> Identified:
        """Return the result, or `unverified` where too many claims of the operator fail to believe the addresses."""
        operator = claimed.agent.operator
        if identified.identity is Identity.VERIFIED:
            self.operators.proven(operator, claimed.received_at)
        elif identified.identity is Identity.SPOOFED:
            block = address_block(claimed.address)
            if not self.operators.failed(operator, block, claimed.received_at):
                why = (
                    f"but so many claims of {operator} fail, from so few addresses, that these are probably a proxy's: "
                    "refusing is stopped until one is proven; name your proxies under trusted_proxies"
                )
                return Identified(Identity.UNVERIFIED, (*identified.reasons, why))
        return identified


def _checked(way: Way, claimed: Claimed) -> Examination[Proof]:
    """Return the proof of one way, with its name."""
    return replace((yield from way.check(claimed)), by=way.name)


_FINDINGS = {
    Identity.VERIFIED: Finding.PROVEN,
    Identity.SPOOFED: Finding.DISPROVEN,
    Identity.UNVERIFIED: Finding.SILENT,
}
