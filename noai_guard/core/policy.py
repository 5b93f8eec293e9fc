"""The policy of a site: what it wishes, and what it says about itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from noai_guard.core.event_settings import EventSettings
from noai_guard.core.header_conditions import HeaderCondition
from noai_guard.core.identity.settings import IdentityPolicy
from noai_guard.core.identity.signing_keys import PublicKey
from noai_guard.core.model import (
    Action,
    Agent,
    Identity,
    Mode,
    PathPolicy,
    Usage,
)
from noai_guard.core.networks import NetworkSet
from noai_guard.core.partners import Partner
from noai_guard.core.trusted_proxies import TrustedProxies
from noai_guard.core.uses import Notice, Use
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.works import Works

UNREADABLE = "unreadable"
"""Id of the verdict on a client that names a refused agent, in a request that could not be read closely."""

SPOOFED = "spoofed"
"""Id of the verdict on a client that is not the agent it names."""

WISH = "wish"
"""Id of the verdict by what the creator of a work wishes."""

OWN_RULE_IDS = ("exempt-path", "exempt-agent", "exempt-address", "unclaimed", "unjudged", UNREADABLE, SPOOFED, WISH)
"""Ids of verdicts that neither a rule nor a usage of the policy decided."""

CERTIFICATE_CHECKS = ("/.well-known/acme-challenge/**", "/.well-known/pki-validation/**")
"""Paths that are let in for everyone: an authority that may not look there renews no certificate (RFC 8555 section 8.3,
CA/Browser Forum Baseline Requirements 3.2.2.4.18)."""


@dataclass(frozen=True, slots=True)
class Site:
    """Facts about a site, each empty if the policy does not give it. `contact` is a `mailto:` or web address."""

    url: str = ""
    name: str = ""
    owner: str = ""
    contact: str = ""
    policy_page: str = "/.well-known/noai"
    licence: str = ""
    tdm_policy: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """An action for the requests that meet all conditions; an empty condition is met by every request.

    Names in `agents` and `operators` are in lower case. `networks` are names of `Policy.networks`: the client's address
    has to be in one. All of `headers` have to be met.
    """

    id: str
    action: Action
    agents: frozenset[str] = frozenset()
    operators: frozenset[str] = frozenset()
    usages: frozenset[Usage] = frozenset()
    identities: frozenset[Identity] = frozenset()
    paths: tuple[str, ...] = ()
    message: str = ""
    networks: tuple[str, ...] = ()
    headers: tuple[HeaderCondition, ...] = ()

    @property
    def needs_origin(self) -> bool:
        """True if the rule holds only for some addresses or header fields."""
        return bool(self.networks or self.headers)

    def holds_for(self, agent: Agent | None, identity: Identity) -> bool:
        """Return True if a client meets the conditions other than `paths`, `networks` and `headers`."""
        if self.identities and identity not in self.identities:
            return False
        if agent is None:
            return not (self.agents or self.operators or self.usages)
        return (
            (not self.agents or agent.name.lower() in self.agents)
            and (not self.operators or agent.operator.lower() in self.operators)
            and (not self.usages or not self.usages.isdisjoint(agent.usages))
        )


@dataclass(frozen=True, slots=True)
class Exemptions:
    """Paths, agents (names in lower case) and client addresses that are never refused."""

    paths: tuple[str, ...] = ()
    agents: frozenset[str] = frozenset()
    addresses: NetworkSet = field(default_factory=NetworkSet)


@dataclass(frozen=True, slots=True)
class Throttle:
    """Maximum rate of one agent from one address block (`address_block`): `requests` in a window of `seconds`."""

    requests: int = 60
    seconds: int = 60


@dataclass(frozen=True, slots=True)
class Refresh:
    """Where refreshed lists are kept, as a path relative to the policy file (empty if nowhere), and the hours between
    two refreshes while serving (0 for none)."""

    folder: str = ""
    every: int = 0


@dataclass(frozen=True, slots=True)
class Creators:
    """What creators have a say in: the `source` of their wishes (an address, or the path of a catalogue) and the
    `index` made of it. `asked`: a function of the site is asked about each work instead.

    `decide`: what a creator allows is let in where the site would refuse the usage; else the stricter of both counts.
    """

    source: str = field(default="", repr=False)  # perhaps with a password
    decide: bool = False
    index: WishIndex | None = field(default=None, repr=False)
    asked: bool = False

    @property
    def are_lost(self) -> bool:
        """True if their wishes are to be followed, and nobody says where they are."""
        return not self.source and not self.asked and self.index is not None and not self.index.known


@dataclass(frozen=True, slots=True)
class LedgerPolicy:
    """The folder of the ledger, as a path relative to the policy file; the days of notice that a looser promise owes;
    and the first public key of the ledger, empty if any will do."""

    folder: str
    notice: int = 30
    key: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of a site, complete: `usages` and every path policy hold an action for every usage.

    `store` is the address of what workers know together, perhaps with a password; it has `store_deadline` milliseconds
    for each answer. `declarations` holds the values under `declarations:` by key, `second_look`, `shared_cache` and
    `reload` those under `features:`. `hosts` are those under `signatures:`, `key_sets` the keys in the files named
    there, by the address of the directory and their thumbprint. `page_texts` are the site's own texts for the page for
    people, by the keys of the English ones.
    `agents` are those that the site knows itself, beside the catalogue's; `networks` have the names that rules use.
    `events` is None where no event log is kept. `files` are the paths of all files and folders that were read beside
    the policy's own. `uses` and `notices` are what the site says of itself.
    """

    stance: str
    usages: Mapping[Usage, Action]
    mode: Mode = Mode.ENFORCE
    site: Site = field(default_factory=Site)
    path_policies: tuple[PathPolicy, ...] = ()
    rules: tuple[Rule, ...] = ()
    exemptions: Exemptions = field(default_factory=Exemptions)
    on_unknown: Action = Action.ALLOW
    unreadable: Action = Action.DENY
    identity: IdentityPolicy = field(default_factory=IdentityPolicy)
    trusted_proxies: TrustedProxies = field(default_factory=TrustedProxies)
    throttle: Throttle = field(default_factory=Throttle)
    store: str = field(default="memory:", repr=False)
    store_deadline: int = 50
    declarations: Mapping[str, Any] = field(default_factory=dict)
    second_look: bool = False
    shared_cache: bool = False
    reload: str = "off"
    page_texts: Mapping[str, str] = field(default_factory=dict)
    partners: tuple[Partner, ...] = ()
    hosts: tuple[str, ...] = ()
    key_sets: Mapping[str, Mapping[str, PublicKey]] = field(default_factory=dict)
    refresh: Refresh = field(default_factory=Refresh)
    feeds: tuple[str, ...] = ()
    agents: tuple[Agent, ...] = ()
    networks: Mapping[str, NetworkSet] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    works: Works = field(default_factory=Works)
    creators: Creators = field(default_factory=Creators)
    ledger: LedgerPolicy | None = None
    events: EventSettings | None = None
    uses: tuple[Use, ...] = ()
    notices: tuple[Notice, ...] = ()

    @property
    def authorities(self) -> tuple[str, ...]:
        """The names that requests to this site are signed for: the host of its address, then `hosts`."""
        own = urlsplit(self.site.url).netloc.lower()
        return tuple(dict.fromkeys((own, *self.hosts) if own else self.hosts))

    @property
    def whole_site(self) -> PathPolicy:
        """The path policy of all paths that no other path policy matches."""
        return PathPolicy("/**", self.usages)

    @property
    def all_path_policies(self) -> tuple[PathPolicy, ...]:
        """The path policies in the order of the policy, that of the whole site first."""
        return (self.whole_site, *self.path_policies)

    @property
    def open_paths(self) -> tuple[str, ...]:
        """Patterns of the paths that are let in for everyone: what the policy exempts, and what has to be open always.

        A crawler that may not read robots.txt takes everything for allowed (RFC 9309 section 2.3.1.3); where the guard
        publishes one, no path is judged for it.
        """
        robots = () if self.declares("robots_txt") else ("/robots.txt",)
        return (*self.exemptions.paths, *CERTIFICATE_CHECKS, *robots)

    @property
    def follows_wishes(self) -> bool:
        """True if the policy names a source of wishes for works, or did so and nobody says any more which."""
        return bool(self.works.patterns) and (bool(self.creators.source) or self.creators.are_lost)

    @property
    def reserves_anything(self) -> bool:
        """True if some AI usage is reserved on some path."""
        return any(path_policy.reserves_anything for path_policy in self.all_path_policies)

    def reserves(self, usage: Usage) -> bool:
        """Return True if the usage is reserved on some path."""
        return any(path_policy.reserves(usage) for path_policy in self.all_path_policies)

    def sells(self, path_policy: PathPolicy) -> bool:
        """Return True if somebody may be told to get a licence on the paths of a path policy."""
        actions = (*path_policy.usages.values(), *(rule.action for rule in self.rules))
        return Action.LICENSE_REQUIRED in actions

    @property
    def throttles(self) -> bool:
        """True if some requests are counted for the action throttle."""
        actions = [rule.action for rule in self.rules]
        actions += [action for path_policy in self.all_path_policies for action in path_policy.usages.values()]
        return Action.THROTTLE in actions

    def declares(self, key: str) -> bool:
        """Return True unless the policy switches the declaration `key` off: `no`, or `off` for robots_txt."""
        return self.declarations.get(key, True) not in (False, "off")
