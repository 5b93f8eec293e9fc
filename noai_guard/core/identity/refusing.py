"""Operators of whose claims so many fail, in such a way, that the addresses are probably not the clients'.

Behind a proxy that leaves no trace in the request, every real crawler comes from the proxy's few addresses, and all of
them would be refused. An operator whose claims all fail, many times and from few addresses, is let in instead until one
of its claims is proven: that shows that the addresses are true.
"""

from dataclasses import dataclass, field

WINDOW_SECONDS = 3600
MIN_FAILURES = 30
"""Failed claims in a window before refusing stops. Googlebot asks a small site for as much in a day, a large one in
seconds; a listing in a search engine outlives hours of refusals."""
MAX_BLOCKS = 8
"""Address blocks that are few. A proxy that leaves no trace has one or a handful of addresses."""
TRUSTED_SECONDS = 24 * 3600
"""Seconds for which a proven claim shows that the addresses are the clients'."""


@dataclass(slots=True)
class _Operator:
    window_ends: float = 0.0
    failures: int = 0
    blocks: set[str] = field(default_factory=set)
    trusted_until: float = 0.0
    stopped_until: float = 0.0


class RefusedOperators:
    """What became of the claims of each operator. Its size is bounded by the catalogue. May be used by several threads,
    which may lose a count."""

    __slots__ = ("_operators", "stopped")

    def __init__(self) -> None:
        self._operators: dict[str, _Operator] = {}
        self.stopped: frozenset[str] = frozenset()
        """Operators whose claims are not refused for failing. Replaced when it changes."""

    def proven(self, operator: str, at: float) -> None:
        """Note a claim that was proven at a time, in seconds since 1970."""
        known = self._operators.setdefault(operator, _Operator())
        known.trusted_until = at + TRUSTED_SECONDS
        if operator in self.stopped:
            known.failures, known.stopped_until = 0, 0.0
            known.blocks.clear()
            self.stopped -= {operator}

    def failed(self, operator: str, block: str, at: float) -> bool:
        """Note a claim from an address block that was disproven at a time, in seconds since 1970.

        Return True if it is to be refused.
        """
        known = self._operators.setdefault(operator, _Operator())
        if known.trusted_until > at:
            return True
        # After a step of the clock, too, a window is never longer than WINDOW_SECONDS.
        if not 0 <= known.window_ends - at <= WINDOW_SECONDS:
            known.window_ends, known.failures = at + WINDOW_SECONDS, 0
            known.blocks.clear()
        known.failures += 1
        if len(known.blocks) <= MAX_BLOCKS:
            known.blocks.add(block)
        if known.failures >= MIN_FAILURES and len(known.blocks) <= MAX_BLOCKS:
            known.stopped_until = at + TRUSTED_SECONDS
            self.stopped |= {operator}
        elif operator in self.stopped and known.stopped_until <= at:
            self.stopped -= {operator}
        return operator not in self.stopped
