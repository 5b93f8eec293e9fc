"""What strangers could make endless, in bounded memory: clients, and the distinct works that somebody took."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from noai_guard.replay.blocks import SEED, engine

if TYPE_CHECKING:
    import polars as pl

MAX_CLIENTS = 100_000
"""Clients that are looked at one by one: about 400 bytes each."""

MAX_PAIRS = 1_000_000
"""Pairs with a distinct work that are kept, of 16 bytes each."""

SUMS = ("requests", "refused", "bytes", "pages", "audio", "assets", "ranges", "refers")
"""What is added up for a client."""

_NAMES = ("user_agent", "client")

_MAX_NAME = 256
"""Characters of each name that are kept."""


class Pairs:
    """Distinct pairs of whose (a number) and work (a number). `add` takes them in any number of times.

    Of more than `max_pairs`, those of who has most are kept; `complete` is False from then on.
    """

    def __init__(self, max_pairs: int = MAX_PAIRS) -> None:
        self.complete = True
        self._max = max_pairs
        self._kept: pl.DataFrame | None = None
        self._pending: list[pl.DataFrame] = []
        self._waiting = 0

    def add(self, pairs: "pl.DataFrame") -> None:
        """Take in a table with the columns `whose` and `work`."""
        pl = engine()
        # One number for a pair is told apart in half the time of two.
        firsts = pairs.select(pl.struct("whose", "work").hash(SEED)).to_series().arg_unique()
        pairs = pairs.select(pl.all().gather(firsts))
        self._pending.append(pairs)
        self._waiting += pairs.height
        if self._waiting > self._max // 2:
            self._compact()

    def _compact(self) -> None:
        pl = engine()
        tables = [table for table in (self._kept, *self._pending) if table is not None]
        self._pending, self._waiting = [], 0
        if not tables:
            return
        # In parts: at once, it would take 200 bytes for each pair.
        kept = pl.concat(tables).lazy().unique().collect(engine="streaming")
        if kept.height > self._max:
            self.complete = False
            most = kept.group_by("whose").len().sort("len", "whose", descending=True)
            fitting = most.filter(pl.col("len").cum_sum() <= self._max // 2)["whose"]
            if fitting.is_empty():
                kept = kept.head(self._max // 2)
            else:
                kept = kept.join(fitting.to_frame(), on="whose", how="semi")
        self._kept = kept

    def counts(self) -> "pl.DataFrame":
        """Return the number of works of each, with the columns `whose` and `works`."""
        pl = engine()
        self._compact()
        if self._kept is None:
            return pl.DataFrame(schema={"whose": pl.UInt64, "works": pl.UInt32})  # type: ignore[no-any-return]
        return self._kept.group_by("whose").agg(pl.len().alias("works"))

    def counts_of(self, groups: Mapping[int, int]) -> dict[int, int]:
        """Return the number of works of each group, of the group of each `whose`; others do not count."""
        pl = engine()
        self._compact()
        if self._kept is None or not groups:
            return {}
        of = pl.DataFrame(
            {"whose": list(groups), "group": list(groups.values())}, schema_overrides={"whose": pl.UInt64}
        )
        members = self._kept.lazy().join(of.lazy(), on="whose").select("group", "work")
        distinct = members.unique().collect(engine="streaming")
        return dict(distinct.group_by("group").len().iter_rows())


class Clients:
    """Sums by client: a user agent from an address block. `dropped` counts those that were not kept."""

    def __init__(self, max_clients: int = MAX_CLIENTS) -> None:
        self.dropped = 0
        self._max = max_clients
        self._kept: pl.DataFrame | None = None
        self._pending: list[pl.DataFrame] = []
        self._waiting = 0

    def add(self, sums: "pl.DataFrame") -> None:
        """Take in a table with `whose`, `outcome`, the sums, `user_agent` and `client`, one row for each client."""
        self._pending.append(sums.select("whose", "outcome", *SUMS, *_copied(_NAMES)))
        self._waiting += sums.height
        if self._waiting > 2 * self._max:
            self._compact()

    def _compact(self) -> None:
        pl = engine()
        tables = [table for table in (self._kept, *self._pending) if table is not None]
        self._pending, self._waiting = [], 0
        if not tables:
            return
        kept = pl.concat(tables).group_by("whose").agg(pl.max("outcome"), pl.sum(SUMS), pl.first(_NAMES))
        if kept.height > self._max:
            self.dropped += kept.height - self._max // 2
            kept = kept.sort("requests", "whose", descending=True).head(self._max // 2)
        self._kept = kept.with_columns(*_copied(_NAMES))

    def table(self) -> "pl.DataFrame | None":
        """Return the clients that were kept, with `user_agent` and `client`; None if there are none."""
        self._compact()
        return self._kept


def _copied(names: Sequence[str]) -> "Sequence[pl.Expr]":
    """Return texts that do not keep the memory of the block that they were read from."""
    pl = engine()
    return [pl.concat_str(pl.col(name).fill_null("").str.head(_MAX_NAME), pl.lit("")).alias(name) for name in names]
