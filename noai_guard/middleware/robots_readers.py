"""Who has read robots.txt: agents by client address, here and at the other workers that share the store."""

from collections.abc import Callable
from time import monotonic

from noai_guard.core.bounded_cache import ExpiringCache
from noai_guard.core.client_address import ClientAddress, address_block
from noai_guard.core.model import agent_of
from noai_guard.core.request import Request
from noai_guard.middleware.active_policy import ActivePolicy
from noai_guard.middleware.store_in_force import StoreInForce
from noai_guard.observability.metrics import Telemetry

ROBOTS_KNOWN_SECONDS = 24 * 3600
"""Seconds that a client counts as one that knows robots.txt: copies may be used for 24 h (RFC 9309 section 2.4)."""

_MAX_READERS = 4096


class RobotsReaders:
    """`known` holds the name of the agent and the address block of each; `client` gives the address of a request."""

    def __init__(
        self, telemetry: Telemetry, store: StoreInForce, client: Callable[[Request, ActivePolicy], ClientAddress]
    ) -> None:
        self.known: ExpiringCache[tuple[str, str], bool] = ExpiringCache(ROBOTS_KNOWN_SECONDS, _MAX_READERS)
        self._telemetry = telemetry
        self._store = store
        self._client = client

    def remember(self, active: ActivePolicy, request: Request) -> None:
        """Remember that the client has read robots.txt. Never raises."""
        try:
            agent = agent_of(active.claims[request.claim_key])
            if agent is not None:
                block = address_block(self._client(request, active).address)
                self.known.put((agent.name, block), True, monotonic())
                if self._store.remote is not None:
                    self._store.remote.share(f"{agent.name}|{block}")
        except Exception as error:
            self._telemetry.failed("robots_txt", error)

    def learn(self) -> None:
        """Remember who has read robots.txt at other workers that share the store. Never raises."""
        try:
            remote = self._store.remote
            for member, age in remote.take_shared() if remote is not None else ():
                agent, _, block = member.rpartition("|")
                self.known.put((agent, block), True, monotonic() - age)
        except Exception as error:
            self._telemetry.failed("robots_txt", error)
