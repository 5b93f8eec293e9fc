"""Bounded caches: results of a pure function, and values that expire."""

from collections.abc import Callable, Hashable
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(dict[K, V], Generic[K, V]):
    """Results of `function(key)`: `cache[key]` costs one dictionary look-up if the key was seen before.

    Bounded in entries and in weight (bytes of the keys, by `len`, also of those in a tuple), because keys come from
    strangers. A full cache forgets everything at once: recomputing costs microseconds, while keeping an order of use
    would cost every look-up. A key heavier than `max_key_weight` is computed each time and never kept.
    """

    __slots__ = ("_function", "_max_entries", "_max_key_weight", "_max_weight", "_weight_left")

    def __init__(
        self,
        function: Callable[[K], V],
        *,
        max_entries: int = 16_384,
        max_weight: int = 4 * 1024 * 1024,
        max_key_weight: int = 1024,
    ) -> None:
        super().__init__()
        self._function = function
        self._max_entries = max_entries
        self._max_weight = max_weight
        self._weight_left = max_weight
        self._max_key_weight = max_key_weight

    def __missing__(self, key: K) -> V:
        value = self._function(key)
        weight = sum(map(_weight, key)) if isinstance(key, tuple) else _weight(key)
        if weight > self._max_key_weight:
            return value
        self._weight_left -= weight
        if self._weight_left < 0 or len(self) >= self._max_entries:
            self.clear()
            self._weight_left = self._max_weight - weight
        self[key] = value
        return value


def _weight(key: Hashable) -> int:
    return len(key) if isinstance(key, (str, bytes, tuple)) else 1


class ExpiringCache(Generic[K, V]):
    """Values that are kept for `ttl` seconds; at most `max_entries`, of which the oldest go first.

    The caller gives the time, in seconds of any clock that does not go backwards. May be used by several threads.
    """

    __slots__ = ("_entries", "_max_entries", "_ttl")

    def __init__(self, ttl: float, max_entries: int) -> None:
        self._ttl = ttl
        self._max_entries = max_entries
        self._entries: dict[K, tuple[float, V]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K, now: float) -> V | None:
        """Return the value put in less than `ttl` seconds ago, or None."""
        expires, value = self._entries.get(key, (now, None))
        return value if expires > now else None

    def put(self, key: K, value: V, now: float) -> None:
        """Keep a value from `now` on, in place of an earlier one."""
        entries = self._entries
        entries.pop(key, None)
        entries[key] = now + self._ttl, value
        # The entries are in order of time, because all live equally long. Two are removed for each that is added, so
        # expired ones do not pile up and no call takes long.
        for oldest in list(islice(entries, 2)):
            expires, _ = entries.get(oldest, (now, None))
            if expires <= now or len(entries) > self._max_entries:
                entries.pop(oldest, None)

    def discard(self, key: K) -> None:
        """Forget the value of a key, if there is one."""
        self._entries.pop(key, None)
