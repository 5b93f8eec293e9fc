"""Licensed partners: clients that prove who they are, and are let in for what they have a licence for."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import inf

from noai_guard.core.identity.web_bot_auth import SignatureCheck, SignedRequest, check_signatures, is_signed
from noai_guard.core.model import (
    UNCLAIMED_AGENTS,
    Agent,
    Claim,
    HeaderField,
    PartlyRead,
    PathPolicy,
    Usage,
    agent_of,
    single_claims,
)
from noai_guard.core.networks import NetworkSet
from noai_guard.core.path_patterns import PathMatcher
from noai_guard.core.paths import readings
from noai_guard.core.questions import Examination
from noai_guard.core.request import Request
from noai_guard.core.text import listed

RULE_PREFIX = "partner:"
"""Rule id of a verdict that a partner's grant decided: the prefix and the partner's name. No rule's id has a colon."""

_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/-]{16,512}=*)", re.IGNORECASE)
"""RFC 6750 section 2.1. A shorter token is no key of ours."""


@dataclass(frozen=True, slots=True, eq=False)
class Partner:
    """A partner with a licence: an entry under `partners:`. Compared by identity.

    `usages` under `paths` are granted from `starts` until before `ends`, in seconds since 1970; `begins` and `until`
    are the first and the last day as the policy writes them, empty if there is none.

    Every proof that is given has to hold. `api_keys` are SHA-256 digests, of which one has to match; `key_ids` are
    thumbprints of keys in `directory`, all of them if empty. `named`: the policy page may name the partner.
    """

    name: str
    usages: frozenset[Usage]
    paths: PathMatcher = field(default_factory=lambda: PathMatcher(["/**"]))
    starts: float = -inf
    ends: float = inf
    begins: str = ""
    until: str = ""
    api_keys: tuple[bytes, ...] = ()
    networks: NetworkSet = field(default_factory=NetworkSet)
    directory: str = ""
    key_ids: frozenset[str] = frozenset()
    named: bool = False

    @property
    def rule(self) -> str:
        """The rule id of verdicts that this grant decides."""
        return RULE_PREFIX + self.name

    @property
    def proofs(self) -> tuple[str, ...]:
        """The kinds of proof that have to hold, in the order in which they are looked at."""
        kinds = {"API key": self.api_keys, "network": self.networks, "signature": self.directory}
        return tuple(kind for kind, given in kinds.items() if given)


class GrantOutcome(StrEnum):
    """What a grant says to a request of its partner."""

    GRANTED = "granted"
    NOT_YET = "not_yet"
    ENDED = "ended"
    WIDER_USAGE = "wider_usage"
    WIDER_PATH = "wider_path"


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer of a partner's grant, and the sentence for whoever is refused; empty if it is granted."""

    partner: Partner
    outcome: GrantOutcome
    sentence: str = ""

    @property
    def granted(self) -> bool:
        """True if the request is let in."""
        return self.outcome is GrantOutcome.GRANTED


@dataclass(frozen=True, slots=True)
class Admission:
    """Who of the partners has proved itself and what its grant says, None if nobody has; with the steps for people.

    `unanswered`: somebody who should have answered did not, so that a proof could not be looked at.
    """

    grant: Grant | None
    steps: tuple[str, ...]
    unanswered: bool = False


def midnight(date: str, days: int = 0) -> float:
    """Return the beginning (UTC) of a day (YYYY-MM-DD), or of the day `days` later, in seconds since 1970.

    Raises ValueError.
    """
    return (datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days)).timestamp()


def bearer_digest(headers: Iterable[HeaderField]) -> bytes:
    """Return the SHA-256 digest of the token in `Authorization: Bearer`, b"" if there is not exactly one such line."""
    values = [value.strip(b" \t") for name, value in headers if name == b"authorization"]
    match = _BEARER.fullmatch(values[0]) if len(values) == 1 else None
    return hashlib.sha256(match[1]).digest() if match else b""


def may_prove(partners: Sequence[Partner], request: Request, address: str | None) -> bool:
    """Return True if the request carries anything that a partner could prove itself with."""
    if any(name in (b"authorization", b"signature-input") for name, _ in request.headers):
        return True
    return address is not None and any(address in partner.networks for partner in partners)


def admission(
    partners: Sequence[Partner],
    request: Request,
    claim: Claim,
    path_policy: PathPolicy,
    address: str | None,
    authorities: tuple[str, ...],
    received_at: float,
) -> Examination[Admission]:
    """Find the partner that a request comes from, and ask its grant.

    `claim` is that of the user agent, `address` the client's, None if it is not known to be; `authorities` are the
    names of the site. `received_at` is in seconds since 1970. Of several partners that prove themselves, the first
    whose grant lets the request in counts, else the first.
    """
    steps: list[str] = []
    digest = bearer_digest(request.headers)
    # Every digest is compared, and each in constant time: how long it takes says nothing of a key.
    matching = {
        partner
        for partner in partners
        if sum(hmac.compare_digest(digest, known) for known in partner.api_keys)  # sum: never stops at the first
    }
    signed: SignatureCheck | None = None
    grants: list[Grant] = []
    unanswered = False
    for partner in partners:
        proven = bool(partner.proofs)
        for kind in partner.proofs:
            if kind == "API key":
                proven = partner in matching
                missing = "is not the partner's" if digest else "is not in Authorization: Bearer"
                steps.append(f"{partner.name}: the API key {'matches' if proven else missing}")
            elif kind == "network":
                proven = address is not None and address in partner.networks
                where = "is not known" if address is None else "is in none of the partner's networks"
                steps.append(f"{partner.name}: the address {'is in its networks' if proven else where}")
            else:
                if signed is None and is_signed(request.headers):  # one check for all who sign
                    signed = yield from _signature(partners, request, authorities, received_at)
                proven = signed is not None and signed.verified and _has_signed(partner, signed)
                unanswered = unanswered or (signed is not None and signed.unanswered)
                said = signed.steps if signed is not None else ("the request is not signed",)
                steps += (f"{partner.name}: {step}" for step in said)
            if not proven:
                break
        if proven:
            grants.append(_grant(partner, request, claim, path_policy, received_at))
            steps.append(f"{partner.name}: {grants[-1].sentence or 'its grant covers the request'}")
    granting = next((grant for grant in grants if grant.granted), grants[0] if grants else None)
    return Admission(granting, tuple(steps), unanswered and granting is None)


def _signature(
    partners: Sequence[Partner], request: Request, authorities: tuple[str, ...], received_at: float
) -> Examination[SignatureCheck]:
    def is_expected(directory: str, thumbprint: str) -> bool:
        return any(_is_key_of(partner, directory, thumbprint) for partner in partners)

    signed = SignedRequest(request.method, request.target, request.headers, authorities)
    return (yield from check_signatures(signed, received_at, is_expected))


def _has_signed(partner: Partner, check: SignatureCheck) -> bool:
    return _is_key_of(partner, check.directory, check.thumbprint)


def _is_key_of(partner: Partner, directory: str, thumbprint: str) -> bool:
    return bool(directory) and directory == partner.directory and (not partner.key_ids or thumbprint in partner.key_ids)


def _grant(partner: Partner, request: Request, claim: Claim, path_policy: PathPolicy, received_at: float) -> Grant:
    if received_at < partner.starts:
        return Grant(partner, GrantOutcome.NOT_YET, f"The grant of {partner.name} begins on {partner.begins}")
    if received_at >= partner.ends:
        return Grant(partner, GrantOutcome.ENDED, f"The grant of {partner.name} ended on {partner.until}")
    wider = sorted(_needed(claim, path_policy) - partner.usages)
    if wider:
        covered = listed(sorted(partner.usages))
        sentence = f"The grant of {partner.name} covers {covered}, not {listed(wider)}"
        return Grant(partner, GrantOutcome.WIDER_USAGE, sentence)
    if not _covers_path(partner, request):
        return Grant(partner, GrantOutcome.WIDER_PATH, f"The grant of {partner.name} does not cover this path")
    return Grant(partner, GrantOutcome.GRANTED)


def _needed(claim: Claim, path_policy: PathPolicy) -> frozenset[Usage]:
    """Return the usages that a grant has to cover: those that are refused to whoever the user agent names.

    A partner that names nobody is known by its proof, and its usages are those of its grant.
    """
    agents: set[Agent | None] = set()
    for each in single_claims(claim):
        agents |= {agent_of(each), *(each.hidden if isinstance(each, PartlyRead) else ())}
    named = [agent for agent in agents if agent is not None and agent not in UNCLAIMED_AGENTS]
    usages = frozenset(usage for agent in named for usage in agent.usages)
    # Where a rule refuses the agent, no single usage of it is refused.
    return frozenset(usage for usage in usages if path_policy.usages[usage].restricts) or usages


def _covers_path(partner: Partner, request: Request) -> bool:
    """Return True if every path that servers may read in the request's is granted."""
    for path in request.raw_paths or (request.path,):
        ways = readings(path)
        if not ways.complete or any(partner.paths.first(way) < 0 for way in (ways.plain, *ways.others)):
            return False
    return True
