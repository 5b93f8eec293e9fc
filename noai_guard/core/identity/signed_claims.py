"""A claim checked by the signature of the request (Web Bot Auth)."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from noai_guard.core.identity.proof import Basis, Claimed, Finding, Proof, Way
from noai_guard.core.identity.settings import IdentitySettings
from noai_guard.core.identity.signature_agents import SignatureAgents, hosts_of
from noai_guard.core.identity.web_bot_auth import (
    WELL_KNOWN,
    SignatureOutcome,
    SignedRequest,
    check_signatures,
    directory_address,
    is_signed,
)
from noai_guard.core.model import Agent
from noai_guard.core.questions import Examination

REASONS = {
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


_PROVEN = re.compile(r"the key ([A-Za-z0-9_-]{43}) of .* has signed the request")

_OUTCOMES = {reason: outcome for outcome, reason in REASONS.items()}


def failure_of(reasons: Iterable[str]) -> SignatureOutcome | None:
    """Return why the signature of a request proved nothing, from the reasons of its verdict; None if it was not signed,
    or not checked, or is right."""
    outcomes = (_OUTCOMES.get(reason) for reason in reasons)
    return next((outcome for outcome in outcomes if outcome not in (None, SignatureOutcome.NOT_SIGNED)), None)


def signing_key(reasons: Iterable[str]) -> str:
    """Return the thumbprint of the key that has proved a claim, from the reasons of its verdict; empty if none has."""
    return next((match[1] for match in map(_PROVEN.fullmatch, reasons) if match), "")


def is_own(agent: Agent, directory: str) -> bool:
    """Return True if the key directory at an address is one of those that the agent's operator names.

    A host stands for its well-known directory alone: at other paths there may be what its users have put there.
    """
    if directory in map(directory_address, agent.verify.get("web_bot_auth", ())):
        return True
    parts = urlsplit(directory)
    is_well_known = parts.path == WELL_KNOWN and not parts.query and parts.port is None
    return is_well_known and bool(SignatureAgents((agent,)).named(directory.encode()))


def _applies(agent: Agent, settings: IdentitySettings) -> bool:
    return bool(hosts_of(agent))


def _check_claim(claimed: Claimed) -> Examination[Proof]:
    agent, request = claimed.agent, claimed.request
    if not is_signed(request.headers):
        return Proof(Finding.SILENT, REASONS[SignatureOutcome.NOT_SIGNED])
    signed = SignedRequest(request.method, request.target, request.headers, claimed.settings.authorities)
    check = yield from check_signatures(signed, claimed.received_at, lambda directory, key: is_own(agent, directory))
    if check.verified:
        return Proof(Finding.PROVEN, f"the key {check.thumbprint} of {agent.name} has signed the request")
    # Who sends a wrong signature could have sent none, so that nothing follows from it: a proxy may have changed what
    # was signed.
    return Proof(Finding.UNANSWERED if check.unanswered else Finding.SILENT, REASONS[check.outcome])


WAY = Way("signature", Basis.REQUEST, _applies, _check_claim)
