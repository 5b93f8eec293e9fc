"""Events: the facts of single requests that were not plainly allowed, and the interface of what receives them."""

from dataclasses import dataclass
from typing import Protocol

from noai_guard.core.client_address import ClientAddress
from noai_guard.core.model import Verdict

MAX_CHARS = {"method": 16, "host": 255, "path": 1024, "user_agent": 512}
"""Characters that sinks keep of the client's words."""


@dataclass(frozen=True, slots=True)
class Event:
    """One request that was not plainly allowed.

    `time` is in seconds since 1970, `path` is the normal path. `method`, `host`, `path` and `user_agent` are the
    client's words, of any length and content. Verdicts are shared by many requests; what is true of one request only
    stands here.
    """

    time: float
    verdict: Verdict
    method: str
    host: str
    path: str
    user_agent: bytes
    client: ClientAddress


class Sink(Protocol):
    """A receiver of events. It keeps a bounded amount of them and does not block."""

    def wants(self, verdict: Verdict) -> bool:
        """Return True if an event with this verdict is to be built and written."""

    def write(self, event: Event) -> None:
        """Receive one event. What it raises is counted as a failure of the guard; the request goes on."""
