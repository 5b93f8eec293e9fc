"""What a policy and the catalogue say about checking claims."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from noai_guard.core.identity.published import PublishedRanges
from noai_guard.core.model import Action
from noai_guard.core.networks import NetworkSet

SECONDS_PER_DAY = 86_400

STALE_AFTER_DAYS = 14
"""Days after which a list is too old to refuse by: operators add networks at any time, and say so in the list only."""


@dataclass(frozen=True, slots=True)
class IdentityPolicy:
    """The settings under `identity:`.

    `spoofed` is the action for clients that are not the agent they name. A list of networks proves nothing against
    somebody when it is older than `stale_after` days. `networks` holds, by agent (name in lower case), those that the
    site vouches for in place of the published ones. `edge_ranges`: servers that carry out the policy by themselves
    refuse by networks too, as these were when their configuration was generated.
    """

    spoofed: Action = Action.DENY
    stale_after: int = STALE_AFTER_DAYS
    networks: Mapping[str, NetworkSet] = field(default_factory=dict)
    edge_ranges: bool = False


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """A policy's settings, the published networks by their address (`ips_uri` of an agent), and the names of the site
    that requests are signed for."""

    policy: IdentityPolicy = field(default_factory=IdentityPolicy)
    ranges: Mapping[str, PublishedRanges] = field(default_factory=dict)
    authorities: tuple[str, ...] = ()
