"""The shape of a way to verify a claim: what it is told, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from noai_guard.core.identity.settings import IdentitySettings
from noai_guard.core.model import Agent, Identity
from noai_guard.core.questions import Examination
from noai_guard.core.request import Request


class Finding(StrEnum):
    """What one way to verify a claim found out."""

    PROVEN = "proven"
    """The client is the agent. One such finding outweighs all others."""
    DISPROVEN = "disproven"
    """The client is not the agent, unless another way proves that it is."""
    SILENT = "silent"
    """Nothing follows, either way."""
    UNANSWERED = "unanswered"
    """Somebody who should have answered did not: our fault, or our network's."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The finding of one way, and why: a sentence made from the catalogue, the policy and the keys of key directories
    only, never from what a client sent, so that the number of different ones is bounded.

    `by` is the name of the way.
    """

    finding: Finding
    reason: str
    by: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim to be checked.

    `address` is the client's, canonical as `ClientAddress.address`; None if it is not known to be the client's, and
    then `doubt` is one of `addresses.DOUBTS`. `received_at` is in seconds since 1970.
    """

    agent: Agent
    request: Request
    address: str | None
    received_at: float
    settings: IdentitySettings
    doubt: str | None = None


class Basis(StrEnum):
    """What the answer of a way depends on, beside the agent. Answers by address or block are remembered for a while,
    and asked for only where the address is known to be the client's."""

    REQUEST = "request"
    """The request itself: asked each time, and first, because such a proof goes with the client wherever it is."""
    ADDRESS = "address"
    BLOCK = "block"
    """The address, which stands for its whole `address_block`: for what is dear to find out."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to verify a claim.

    `applies` says whether the agent has published what is needed for it. `check` is asked only then; it may yield
    questions.
    """

    name: str
    basis: Basis
    applies: Callable[[Agent, IdentitySettings], bool]
    check: Callable[[Claimed], Examination[Proof]]


@dataclass(frozen=True, slots=True)
class Identified:
    """The result of all ways: an identity, with the reason of each way in the order they were asked.

    `unanswered`: somebody did not answer, and no other way decided. `by` is the name of the way that decided, empty if
    none did.
    """

    identity: Identity
    reasons: tuple[str, ...] = ()
    unanswered: bool = False
    by: str = field(default="", compare=False)


def conclusion(proofs: tuple[Proof, ...]) -> Identified:
    """Return what follows from the findings together: proven outweighs disproven, which outweighs the others."""
    by = {proof.finding: proof.by for proof in reversed(proofs)}
    reasons = tuple(proof.reason for proof in proofs)
    if Finding.PROVEN in by:
        return Identified(Identity.VERIFIED, reasons, by=by[Finding.PROVEN])
    if Finding.DISPROVEN in by:
        return Identified(Identity.SPOOFED, reasons, by=by[Finding.DISPROVEN])
    return Identified(Identity.UNVERIFIED, reasons, Finding.UNANSWERED in by)
