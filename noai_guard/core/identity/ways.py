"""The ways to verify a claim, in the order in which they are asked: what asks nobody comes first."""

from noai_guard.core.identity import ranges, reverse_dns, signed_claims
from noai_guard.core.identity.proof import Way

WAYS: tuple[Way, ...] = (ranges.WAY, reverse_dns.WAY, signed_claims.WAY)
