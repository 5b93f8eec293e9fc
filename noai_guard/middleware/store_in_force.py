"""The store that a guard asks: the one that it was given, else the one that its policy names."""

from typing import Any

from noai_guard.core.policy import Policy
from noai_guard.core.questions import AsyncStore, Question, Store
from noai_guard.stores.addresses import MEMORY, full_address, open_store
from noai_guard.stores.memory import MemoryStore
from noai_guard.stores.remote import RemoteStore
from noai_guard.stores.router import AwaitedStore


class StoreInForce:
    """Answers at once (`answer`), or through `awaited`. It is replaced when a reload names another one.

    `given` is an address, a store that answers at once or is awaited, or None for the one that the policy names.
    """

    def __init__(self, given: Store | AsyncStore | str | None = None) -> None:
        self._given = given
        self._opened: tuple[object, ...] = ()
        self._store: Any = MemoryStore()
        self._awaited: Any = AwaitedStore(self._store)
        if given is not None and not isinstance(given, str):
            self._store = self._awaited = given
        self.awaited = _Awaited(self)

    def use(self, policy: Policy) -> None:
        """Use the store of a policy from now on, and close the one before. Connects nothing yet.

        Raises ValueError if the address that was given is none of a store, and MissingExtra.
        """
        if self._given is not None and not isinstance(self._given, str):
            return
        address = full_address(self._given or policy.store)
        site = policy.site.url or policy.site.name
        opened = (address,) if address == MEMORY else (address, site, policy.store_deadline)
        if opened == self._opened:
            return
        before = self._store
        self._store, self._awaited = open_store(address, site, policy.store_deadline / 1000)
        self._opened = opened
        if isinstance(before, RemoteStore):
            before.close()

    @property
    def remote(self) -> RemoteStore | None:
        """The store, if it is one on a server."""
        return self._store if isinstance(self._store, RemoteStore) else None

    def answer(self, question: Question[Any]) -> Any:
        """Return the answer of a store that answers at once; raise what it raises."""
        return self._store.answer(question)

    def start(self) -> None:
        """Connect, in the background."""
        if self.remote is not None:
            self.remote.start()

    def close(self) -> None:
        """Close the connection of this process. A question opens it again."""
        if self.remote is not None:
            self.remote.close()


class _Awaited:
    """The same for those who await answers."""

    def __init__(self, store: StoreInForce) -> None:
        self._in_force = store

    async def answer(self, question: Question[Any]) -> Any:
        return await self._in_force._awaited.answer(question)
