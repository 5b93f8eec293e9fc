"""A bounded memory of a pure function."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(dict[K, V], Generic[K, V]):
    """Remembers `function(key)`; `memo[key]` costs one dictionary look-up when the key was seen before.

    Bounded in count and in weight (bytes of the keys, by `len`), because keys come from strangers. A full memo
    forgets everything at once: recomputing costs microseconds, while keeping an order of use would cost every
    look-up. A key heavier than `heaviest` is computed each time and never kept.
    """

    __slots__ = ("_function", "_heaviest", "_most", "_weight", "_weight_left")

    def __init__(
        self,
        function: Callable[[K], V],
        *,
        most: int = 16_384,
        weight: int = 4 * 1024 * 1024,
        heaviest: int = 1024,
    ) -> None:
        super().__init__()
        self._function = function
        self._most = most
        self._weight = weight
        self._weight_left = weight
        self._heaviest = heaviest

    def __missing__(self, key: K) -> V:
        value = self._function(key)
        weight = len(key) if isinstance(key, (str, bytes, tuple)) else 1
        if weight > self._heaviest:
            return value
        self._weight_left -= weight
        if self._weight_left < 0 or len(self) >= self._most:
            self.clear()
            self._weight_left = self._weight - weight
        self[key] = value
        return value
