"""Events: the facts of single requests, and the interface of what receives them."""

from dataclasses import dataclass, field
from typing import Protocol

from noai_guard.core.client_address import ClientAddress, SeenClient
from noai_guard.core.model import Verdict
from noai_guard.core.works import Works

MAX_CHARS = {"method": 16, "host": 255, "path": 1024, "user_agent": 512}
"""Characters that sinks keep of the client's words."""


@dataclass(slots=True, eq=False)
class PolicyInForce:
    """What an event says of the policy by which its request was judged.

    `digest` is that of the policy, `ledger` the number of its entry in the ledger, or None.
    """

    digest: str = ""
    ledger: int | None = None
    works: Works = field(default_factory=Works)


@dataclass(slots=True, eq=False)
class Event:
    """One request that was not plainly allowed, or whose client names itself.

    `time` is in seconds since 1970, `path` is the normal path. `method`, `host`, `path` and `user_agent` are the
    client's words, of any length and content. Verdicts are shared by many requests; what is true of one request only
    stands here. Not frozen, because that triples the time of construction.

    What follows is for sinks that are told when the response has ended. `status` and `bytes` are those of the response,
    None where another server sends it; `served` names the declarations that went with it, `document` is the path of
    the declaration that it was.
    """

    time: float
    verdict: Verdict
    method: str
    host: str
    path: str
    user_agent: bytes
    client: ClientAddress | SeenClient
    policy: PolicyInForce | None = None
    status: int | None = None
    bytes: int | None = None
    served: tuple[str, ...] = ()
    document: str = ""


class Sink(Protocol):
    """A receiver of events. It keeps a bounded amount of them and does not block."""

    def wants(self, verdict: Verdict) -> bool:
        """Return True if an event with this verdict is to be built and written."""

    def write(self, event: Event) -> None:
        """Receive one event. What it raises is counted as a failure of the guard; the request goes on."""
