"""Events: the facts of single requests, and the interface of what receives them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from noai_guard.core.client_address import ClientAddress, SeenClient
from noai_guard.core.model import Agent, HeaderField, Usage, Verdict
from noai_guard.core.request import Peer
from noai_guard.core.trusted_proxies import NOBODY, TrustedProxies
from noai_guard.core.works import Works

MAX_CHARS = {"method": 16, "host": 255, "path": 1024, "user_agent": 512}
"""Characters that sinks keep of the client's words."""


_PEOPLE = frozenset({Usage.PLAYER, Usage.FEED})
"""Usages of clients with which people listen."""


def is_of_people(agent: Agent | None) -> bool:
    """Return True if a client is a person's: a browser, a player, a podcast app. The record keeps nothing of them
    unless they are refused."""
    return agent is None or _PEOPLE.issuperset(agent.usages)


@dataclass(slots=True, eq=False)
class PolicyInForce:
    """What an event says of the policy by which its request was judged.

    `digest` is that of the policy, `ledger` the number of its entry in the ledger, or None. `trusted` and
    `peer_is_real` say how a client's address is worked out (`SeenClient`); `reads_headers` if header fields matter.
    """

    digest: str = ""
    ledger: int | None = None
    works: Works = field(default_factory=Works)
    trusted: TrustedProxies = NOBODY
    peer_is_real: bool = True
    reads_headers: bool = field(init=False)

    def __post_init__(self) -> None:
        self.reads_headers = self.trusted.header_name is not None


@dataclass(slots=True, eq=False)
class Event:
    """One request that was not plainly allowed; for the record also one of a client that names itself.

    `time` is in seconds since 1970, `path` is the normal path. `method`, `host`, `path` and `user_agent` are the
    client's words, of any length and content. Verdicts are shared by many requests; what is true of one request only
    stands here. Not frozen, because that triples the time of construction.

    What follows is for the record, which gets an event when the response has ended. `client` may be None there: then
    `peer` and the lines of the head in `told` are what it is worked out from. `served` names the declarations that went
    with the response, `document` is the path of the declaration that it was. `status` and `bytes` are None where
    another server sent it.
    """

    time: float
    verdict: Verdict
    method: str
    host: bytes
    path: str
    user_agent: bytes
    client: ClientAddress | None
    peer: Peer = None
    told: Sequence[HeaderField] = ()
    policy: PolicyInForce | None = None
    served: tuple[str, ...] = ()
    document: str = ""
    status: int | None = None
    bytes: int | None = None

    @property
    def address(self) -> str | None:
        """The address of the client, as `ClientAddress.address`."""
        if self.client is not None:
            return self.client.address
        policy = self.policy or PolicyInForce()
        return SeenClient(self.peer, self.told, policy.trusted, policy.peer_is_real).seen()[0].address


class Sink(Protocol):
    """A receiver of events. It keeps a bounded amount of them and does not block."""

    def wants(self, verdict: Verdict) -> bool:
        """Return True if an event with this verdict is to be built and written."""

    def write(self, event: Event) -> None:
        """Receive one event. What it raises is counted as a failure of the guard; the request goes on."""
