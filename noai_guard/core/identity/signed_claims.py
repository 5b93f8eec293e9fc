"""A claim checked by the signature of the request (Web Bot Auth)."""

from noai_guard.core.identity.proof import Claimed, Finding, Proof, Way
from noai_guard.core.identity.settings import IdentitySettings
from noai_guard.core.identity.web_bot_auth import (
    SignatureOutcome,
    SignedRequest,
    check_signatures,
    directory_address,
    is_signed,
)
from noai_guard.core.model import Agent
from noai_guard.core.questions import Examination

_REASONS = {
    SignatureOutcome.NOT_SIGNED: "the request is not signed",
    SignatureOutcome.MALFORMED: "the signature cannot be read, or lacks what the profile asks for",
    SignatureOutcome.NOT_COVERED: "the signature does not cover the host and the signature agent",
    SignatureOutcome.WINDOW: "the signature would hold for longer than a day",
    SignatureOutcome.NOT_YET: "the signature was made in the future, by the clock of this server",
    SignatureOutcome.EXPIRED: "the signature has expired, by the clock of this server",
    SignatureOutcome.DIRECTORY_UNSUPPORTED: "the signature names no https key directory",
    SignatureOutcome.DIRECTORY_UNKNOWN: "the signature names a key directory that is not the agent's",
    SignatureOutcome.DIRECTORY_UNAVAILABLE: "the key directory could not be read in time",
    SignatureOutcome.KEY_UNKNOWN: "the key directory does not have the key of the signature",
    SignatureOutcome.KEY_OUT_OF_DATE: "the key of the signature does not hold at this time",
    SignatureOutcome.WRONG: "the signature does not match the request",
    SignatureOutcome.REPLAYED: "the signature has been used before",
    SignatureOutcome.REPLAY_UNKNOWN: "the store did not say whether the signature was used before",
    SignatureOutcome.HOST_UNKNOWN: "the policy does not say which host this is (site: url)",
    SignatureOutcome.NOT_INSTALLED: "signatures cannot be checked without noai-guard[identity]",
}


def directories(agent: Agent) -> frozenset[str]:
    """Return the addresses of the key directories that an agent's operator names."""
    named = agent.verify.get("web_bot_auth", ())
    return frozenset(directory_address(str(each)) for each in named if isinstance(named, tuple | list)) - {""}


def _applies(agent: Agent, settings: IdentitySettings) -> bool:
    return bool(directories(agent))


def _check_claim(claimed: Claimed) -> Examination[Proof]:
    agent, request = claimed.agent, claimed.request
    if not is_signed(request.headers):
        return Proof(Finding.SILENT, _REASONS[SignatureOutcome.NOT_SIGNED])
    own = directories(agent)
    signed = SignedRequest(request.method, request.target, request.headers, claimed.settings.authorities)
    check = yield from check_signatures(signed, claimed.received_at, lambda directory, key: directory in own)
    if check.verified:
        return Proof(Finding.PROVEN, f"a key of {check.directory} has signed the request")
    # Who sends a wrong signature could have sent none, so that nothing follows from it: a proxy may have changed what
    # was signed.
    return Proof(Finding.UNANSWERED if check.unanswered else Finding.SILENT, _REASONS[check.outcome])


WAY = Way("web_bot_auth", _applies, _check_claim, by_address=False)
