"""The types of the domain: usages, actions, agents, requests, verdicts, responses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from noai_guard.core.header_conditions import HeaderCondition
from noai_guard.core.networks import NetworkSet


class Usage(StrEnum):
    """The purpose that fetched content is used for. Each standard's own words for it are in that standard's module."""

    TRAIN_AI = "train-ai"
    DATA_BROKER = "data-broker"
    SCRAPER = "scraper"
    AI_AGENT = "ai-agent"
    AI_INPUT = "ai-input"
    AI_SEARCH = "ai-search"
    ARCHIVE = "archive"
    SEO = "seo"
    SEARCH = "search"
    ADS = "ads"
    PREVIEW = "preview"
    FEED = "feed"
    PLAYER = "player"
    MONITORING = "monitoring"
    AUTOMATION = "automation"
    UNKNOWN_BOT = "unknown-bot"
    NAMELESS = "nameless"


AI_USAGES = frozenset(
    {Usage.TRAIN_AI, Usage.DATA_BROKER, Usage.SCRAPER, Usage.AI_AGENT, Usage.AI_INPUT, Usage.AI_SEARCH}
)
"""What a policy against AI reserves: data brokers too, who sell what they fetch for AI among other things."""

NAMED_AI = AI_USAGES - {Usage.DATA_BROKER}
"""Usages of which it may be said that they are AI: a broker sells to anybody, and is called what it is."""


class Action(StrEnum):
    """The treatment of a request, from the mildest to the strictest."""

    ALLOW = "allow"
    LOG = "log"
    THROTTLE = "throttle"
    LICENSE_REQUIRED = "license_required"
    DENY = "deny"

    @property
    def strictness(self) -> int:
        """The rank of this action, 0 for the mildest."""
        return _STRICTNESS[self]

    @property
    def restricts(self) -> bool:
        """True if at least some requests get an error response: throttle, license_required, deny."""
        return self.strictness >= Action.THROTTLE.strictness

    @property
    def refuses(self) -> bool:
        """True if every request gets an error response: license_required, deny."""
        return self.strictness >= Action.LICENSE_REQUIRED.strictness


_STRICTNESS = {action: rank for rank, action in enumerate(Action)}


class Identity(StrEnum):
    """The result of checking the client's claim to be an agent."""

    UNCLAIMED = "unclaimed"
    UNVERIFIED = "unverified"
    VERIFIED = "verified"
    SPOOFED = "spoofed"


class Mode(StrEnum):
    """Refusals are sent (`enforce`), or only counted and logged (`monitor`)."""

    ENFORCE = "enforce"
    MONITOR = "monitor"


@dataclass(frozen=True, slots=True)
class OptOut:
    """A way to keep a search listing and opt out of the AI usages served under the same user agent.

    `by` is a robots-only product token (`Google-Extended`) or the robots directive `noarchive`; empty if the operator
    offers no way, so that a site lets the agent in with the AI usages or refuses it with the others.
    """

    usages: tuple[Usage, ...]
    by: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Agent:
    """A named automated client. Compared and hashed by identity, since a catalogue holds each once.

    Field names follow the Web Bot Auth Signature Agent Card where it has a word for the fact.
    `expected_user_agent` holds token forms (see `noai_guard.core.user_agent_matcher`); empty when the agent exists
    only in robots.txt (`robots_only`) or cannot be told from a browser. `signature_agents` are hosts that it signs
    with, beside those of `verify["web_bot_auth"]`. A request from one of `networks`, or one that meets all `headers`,
    is the agent's too, whatever its user agent.
    """

    name: str
    operator: str
    usages: tuple[Usage, ...]
    expected_user_agent: tuple[str, ...] = ()
    rfc9309_product_token: str | None = None
    robots_txt_tokens: tuple[str, ...] = ()
    trigger: str = "crawler"
    status: str = "stable"
    rfc9309_compliance: str = "unknown"
    robots_only: bool = False
    opt_out: OptOut | None = None
    verify: Mapping[str, Sequence[str]] = field(default_factory=dict)
    signature_agents: tuple[str, ...] = ()
    note: str = ""
    networks: NetworkSet = field(default_factory=NetworkSet)
    headers: tuple[HeaderCondition, ...] = ()

    @property
    def is_recognisable(self) -> bool:
        """True if some request can be told to be the agent's, by whatever means."""
        return bool(self.expected_user_agent or self.networks or self.headers)

    @property
    def ai(self) -> bool:
        """True if at least one usage is named AI."""
        return not NAMED_AI.isdisjoint(self.usages)

    @property
    def all_robots_tokens(self) -> tuple[str, ...]:
        """Every name that the agent obeys in robots.txt, its product token first."""
        product = (self.rfc9309_product_token,) if self.rfc9309_product_token else ()
        return tuple(dict.fromkeys(product + self.robots_txt_tokens))


UNKNOWN_BOT = Agent(name="unknown-bot", operator="unknown", usages=(Usage.UNKNOWN_BOT,))
"""Placeholder for every client that calls itself a bot and is in no catalogue."""

NAMELESS = Agent(name="nameless", operator="unknown", usages=(Usage.NAMELESS,))
"""Placeholder for every client whose user agent is missing or a single word that is in no catalogue."""

UNCLAIMED_AGENTS = (UNKNOWN_BOT, NAMELESS)
"""Placeholders: who is one of these claims to be nobody."""


@dataclass(frozen=True, slots=True)
class PartlyRead:
    """The claim of a user agent that could not all be read closely: `agent` is named in what was, `hidden` hold the
    agents whose names stand somewhere in the rest."""

    agent: Agent | None
    hidden: frozenset[Agent]


@dataclass(frozen=True, slots=True)
class SignedAs:
    """The claim of a Signature-Agent: an agent that signs with the host it names, or UNKNOWN_BOT."""

    agent: Agent


SingleClaim = Agent | PartlyRead | SignedAs | None
"""One claim of a client: an agent, one that was partly read, one that signs, or None if it names nobody."""


@dataclass(frozen=True, slots=True)
class SeveralClaims:
    """The claims of one client: first that of its user agent, then those of its Signature-Agent. The strictest
    counts."""

    claims: tuple[SingleClaim, ...]


Claim = SingleClaim | SeveralClaims
"""All that a client claims to be."""


def single_claims(claim: Claim) -> tuple[SingleClaim, ...]:
    """Return the claims of which a claim consists."""
    return claim.claims if isinstance(claim, SeveralClaims) else (claim,)


def agent_of(claim: Claim) -> Agent | None:
    """Return the agent that a client claims to be, the first if it claims several, or None."""
    if isinstance(claim, SeveralClaims):
        return next((agent for agent in map(agent_of, claim.claims) if agent is not None), None)
    return claim.agent if isinstance(claim, (PartlyRead, SignedAs)) else claim


@dataclass(frozen=True, slots=True)
class Wished:
    """The usages of a work that its creator disallows, and those that the creator allows and has the say in.

    Not `known`: nobody could be asked, and `disallowed` is what the policy refuses then.
    """

    disallowed: frozenset[Usage] = frozenset()
    allowed: frozenset[Usage] = frozenset()
    known: bool = True


NOTHING_WISHED = Wished()


@dataclass(frozen=True, slots=True)
class PathPolicy:
    """The site's wishes for the paths that match a pattern; the pattern of the whole site is `/**`.

    For a work, `wish` is what its creator says, and `usages` are those of both.
    """

    pattern: str
    usages: Mapping[Usage, Action] = field(hash=False)
    wish: Wished = NOTHING_WISHED

    def reserves(self, usage: Usage) -> bool:
        """Return True if this usage is not simply allowed: it is refused, sold or rationed."""
        return self.usages[usage].restricts

    @property
    def reserves_anything(self) -> bool:
        """Return True if some AI usage is not simply allowed."""
        return any(self.reserves(usage) for usage in AI_USAGES)


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The decision about a request, with its reasons.

    Compared and hashed by identity: one object stands for every request of the same agent in the same part
    of the site, so prepared responses can be cached by it. `enforced` is False in monitor mode: the verdict
    is counted and the request passed on. `retry_after` is in seconds, for `throttle`. `proof` is the way by which
    the identity was proven or disproven, as `identity.ways` names it; empty if it was not.
    """

    action: Action
    rule: str
    agent: Agent | None
    usage: Usage | None
    identity: Identity
    reasons: tuple[str, ...]
    path_policy: PathPolicy
    enforced: bool = True
    retry_after: int = 0
    message: str = ""
    proof: str = ""

    @property
    def refuses(self) -> bool:
        """True if the client gets an error response instead of the content."""
        return self.enforced and self.action.restricts


@dataclass(frozen=True, slots=True)
class Document:
    """A file that a declaration publishes at a fixed path of the site. `notes` are sentences for the site's author."""

    path: str
    media_type: str
    body: bytes
    notes: tuple[str, ...] = ()


HeaderField = tuple[bytes, bytes]
"""Lower-case name and value, as ASGI carries them."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete HTTP response, sent without calling the app."""

    status: int
    headers: tuple[HeaderField, ...]
    body: bytes
