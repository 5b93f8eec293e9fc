"""Add up what a judge says of the rows of a log, in memory that does not grow with the log.

The totals are exact: they are as many as the policy and the catalogue have kinds of decisions. Clients are as many as
strangers like; of those, the busiest are kept. Distinct works are counted exactly up to a bound, and from there on as
"at least".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.client_address import address_block
from noai_guard.core.guard import Needs
from noai_guard.replay.bounded import SUMS, Clients, Pairs
from noai_guard.replay.formats import COMBINED, LogFormat
from noai_guard.replay.judge import Decision, Judge, PathFacts
from noai_guard.replay.kinds import ASSET, AUDIO
from noai_guard.replay.parsing import engine

if TYPE_CHECKING:
    import polars as pl

Outcome = tuple[Decision, ...]
"""What each policy says, in their order."""

_CACHED_KEYS = 50_000
_CACHED_BYTES = 8 * 1024 * 1024

_PATH_BITS = 20
_PATH_MASK = (1 << _PATH_BITS) - 1
_MAX_CODES = 32_768
"""Numbers after which those of another block begin again. A block has fewer rows than _PATH_MASK leaves room for."""

_BY_ADDRESS, _BY_TIME = -1, -2

_CANONICAL_BLOCK = r"^((?:[1-9a-f][0-9a-f]{0,3}:){4})"
"""The first half of an IPv6 address, where RFC 5952 leaves no choice of how to write it."""

_PRIVATE = ("10.", "127.", "192.168.", "172.17.", "172.18.", "::1")
"""Beginnings of addresses that proxies of a site usually have, those of Docker among them."""


@dataclass(slots=True)
class Sum:
    """Requests and bytes with one outcome."""

    requests: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Codes:
    """Numbers for what was met in this log so far: claims, and classes of paths. Forgotten when they are too many."""

    claims: dict[object, int] = field(default_factory=dict)
    said: dict[int, int] = field(default_factory=dict)
    user_agents: list[bytes | None] = field(default_factory=list)
    paths: dict[object, int] = field(default_factory=dict)
    facts: list[PathFacts] = field(default_factory=list)
    shapes: dict[int, int] = field(default_factory=dict)


class Tally:
    """Everything that is counted of a log, or of several."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.outcomes: list[Outcome] = []
        self.sums: list[Sum] = []
        self.works = Pairs()
        self.clients = Clients()
        self.client_works = Pairs()
        self.private = 0
        self._numbers: dict[Outcome, int] = {}
        self._codes = _Codes()
        self._settled: BoundedCache[int, int] = BoundedCache(self._settle, max_entries=_CACHED_KEYS)
        self._refused_claims: set[int] = set()
        self.begin(COMBINED)

    def begin(self, form: LogFormat) -> None:
        """Begin with a log of another format."""
        self._form = form
        self._codes.said.clear()
        self._odd_paths = BoundedCache(self._odd_path, max_entries=_CACHED_KEYS, max_weight=_CACHED_BYTES)
        self._odd_blocks = BoundedCache(_block, max_entries=_CACHED_KEYS, max_weight=_CACHED_BYTES)
        self._examined: BoundedCache[tuple[int, str], int] = BoundedCache(self._examine, max_entries=_CACHED_KEYS)

    def _claim(self, text: str | None) -> int:
        codes = self._codes
        user_agent = None if text is None else b"" if text == "-" else self._form.unescape(text)
        key: object = None
        if user_agent is not None:
            key = self.judge.claims(user_agent)
        number = codes.claims.setdefault(key, len(codes.user_agents))
        if number == len(codes.user_agents):
            codes.user_agents.append(user_agent)
        return number

    def _path(self, target: str) -> int:
        """Return the number of the class of a path."""
        codes, facts = self._codes, self.judge.path(self._form.target(target))
        number = codes.paths.setdefault(facts, len(codes.facts))
        if number == len(codes.facts):
            codes.facts.append(facts)
        return number

    def _odd_path(self, target: str) -> tuple[int, str | None]:
        """Return the class of a path without a shape, and the work that it is part of."""
        return self._path(target), self.judge.work(self._form.target(target)) or None

    def _settle(self, key: int) -> int:
        """Return the outcome of a group, or what has to be known of each row before."""
        claim, path, reads = key >> _PATH_BITS + 1, key >> 1 & _PATH_MASK, key & 1
        user_agent, facts = self._codes.user_agents[claim], self._codes.facts[path]
        if user_agent is not None and not (reads and all(facts.documents)):
            needs = self.judge.needs(self.judge.claims(user_agent), facts)
            if needs & Needs.COUNT:
                return _BY_TIME
            if needs & (Needs.ADDRESS | Needs.IDENTITY | Needs.PARTNER):
                return _BY_ADDRESS
        return self._decide(key, "", None)

    def _examine(self, key: tuple[int, str]) -> int:
        return self._decide(*key, None)

    def _decide(self, key: int, address: str, at: float | None) -> int:
        claim, path, reads = key >> _PATH_BITS + 1, key >> 1 & _PATH_MASK, bool(key & 1)
        outcome = self.judge.decide(self._codes.user_agents[claim], self._codes.facts[path], reads, address, at)
        if outcome[0].refused:
            self._refused_claims.add(claim)
        number = self._numbers.setdefault(outcome, len(self.outcomes))
        if number == len(self.outcomes):
            self.outcomes.append(outcome)
            self.sums.append(Sum())
        return number

    def _at(self, time: str | None) -> float | None:
        try:
            return None if time is None else self._form.seconds(time)
        except (ValueError, OverflowError):
            return None

    def add(self, rows: "pl.DataFrame") -> None:
        """Judge the rows of a `Block` and add them."""
        pl = engine()
        if rows.is_empty():
            return
        codes = self._codes
        if len(codes.said) > _MAX_CODES or len(codes.facts) > _MAX_CODES:
            self._codes = _Codes()
            self._refused_claims.clear()
            for cache in (self._odd_paths, self._settled, self._examined):
                cache.clear()
        rows = rows.with_columns(self._claimed(rows), *self._paths(rows))
        key = pl.col("claim") * (_PATH_MASK + 1) * 2 + pl.col("path") * 2 + pl.col("reads")
        rows = rows.with_columns(key.alias("key"))
        rows = rows.with_columns(self._outcomes(rows))
        self._add_sums(rows)
        self._add_works(rows)
        self._add_clients(rows)

    def _claimed(self, rows: "pl.DataFrame") -> "pl.Series":
        """Return the number of the claim that each row's user agent makes."""
        said, known = rows["said"], self._codes.said
        for number, text in _firsts(rows, "said", "user_agent", known):
            known[number] = self._claim(text)
        return _looked_up(said, known).alias("claim")

    def _paths(self, rows: "pl.DataFrame") -> "tuple[pl.Series, pl.Series]":
        """Return the class and the work of each row's path."""
        pl = engine()
        shapes, known, works = rows["shape"], self._codes.shapes, rows["work"]
        for shape, target in _firsts(rows, "shape", "target", known):
            known[shape] = self._path(target or "")
        paths = _looked_up(shapes, known).alias("path")
        odd = shapes.is_null().arg_true()
        if len(odd):
            read = [self._odd_paths[target] for target in rows["target"].gather(odd).to_list()]
            paths = paths.scatter(odd, [number for number, _ in read])
            works = works.scatter(odd, pl.Series([work for _, work in read], dtype=pl.String))
        return paths, works

    def _outcomes(self, rows: "pl.DataFrame") -> "pl.Series":
        """Return the number of the outcome of each row: of a group where that is enough, else of the row."""
        pl = engine()
        keys, settled = rows["key"], self._settled
        unique = keys.unique().to_list()
        outcomes = keys.replace_strict(unique, [settled[key] for key in unique], return_dtype=pl.Int32).alias("outcome")
        at = (outcomes == _BY_ADDRESS).arg_true()
        if len(at):
            examined = self._examined
            pairs = zip(keys.gather(at).to_list(), rows["address"].gather(at).to_list(), strict=True)
            outcomes = outcomes.scatter(at, [examined[pair] for pair in pairs])
        at = (outcomes == _BY_TIME).arg_true()
        if len(at):
            columns = (keys.gather(at), rows["address"].gather(at), rows["time"].gather(at))
            each = zip(*(column.to_list() for column in columns), strict=True)
            outcomes = outcomes.scatter(at, [self._decide(key, address, self._at(time)) for key, address, time in each])
        return outcomes

    def _add_sums(self, rows: "pl.DataFrame") -> None:
        pl = engine()
        for number, requests, size in rows.group_by("outcome").agg(pl.sum("requests", "bytes")).iter_rows():
            self.sums[number].requests += requests
            self.sums[number].bytes += size
        is_private = pl.any_horizontal(pl.col("address").str.starts_with(start) for start in _PRIVATE)
        self.private += int(rows.lazy().select(pl.col("requests").filter(is_private).sum()).collect().item())

    def _add_works(self, rows: "pl.DataFrame") -> None:
        pl = engine()
        if not self.judge.policies[0].policy.works.patterns:
            return
        taken = rows.lazy().filter(pl.col("taken") & pl.col("work").is_not_null())
        self.works.add(
            taken.select(pl.col("outcome").cast(pl.UInt64).alias("whose"), pl.col("work").hash()).unique().collect()
        )

    def _add_clients(self, rows: "pl.DataFrame") -> None:
        """Add the clients that are refused somewhere, and those that name nobody and take works."""
        pl = engine()
        refused = [number for number, outcome in enumerate(self.outcomes) if outcome[0].refused]
        unclaimed = [number for number, outcome in enumerate(self.outcomes) if outcome[0].unclaimed]
        is_of_refused, is_refused = pl.col("claim").is_in(list(self._refused_claims)), pl.col("outcome").is_in(refused)
        takes = pl.col("taken") & pl.col("work").is_not_null()
        columns = ("said", "user_agent", "address", "outcome", "requests", "bytes", "taken", "work")
        of_refused = rows.lazy().filter(is_of_refused).select(*columns, "ranges", "refers", "target").collect()
        if not of_refused.is_empty():
            requests, target = pl.col("requests"), pl.col("target")
            audio, asset = target.str.contains(AUDIO), target.str.contains(ASSET)
            sums = {
                "outcome": pl.when(is_refused).then(pl.col("outcome")).otherwise(-1).max(),
                "refused": (requests * is_refused).sum(),
                "pages": (requests * ~(audio | asset)).sum(),
                "audio": (requests * audio).sum(),
                "assets": (requests * asset).sum(),
                "ranges": pl.sum("ranges"),
                "refers": pl.sum("refers"),
            }
            self._add_to_clients(of_refused, sums)
        taking = rows.lazy().filter(takes & pl.col("outcome").is_in(unclaimed) & ~is_of_refused)
        none = {name: pl.lit(0, pl.Int64) for name in SUMS if name not in ("requests", "bytes")}
        self._add_to_clients(taking.select(columns).collect(), {"outcome": pl.lit(-1, pl.Int32), **none})

    def _add_to_clients(self, rows: "pl.DataFrame", sums: "Mapping[str, pl.Expr]") -> None:
        pl = engine()
        if rows.is_empty():
            return
        rows = rows.with_columns(self._blocks(rows["address"]))
        rows = rows.with_columns(pl.struct("said", "client").hash().alias("whose"))
        totals = {"requests": pl.sum("requests"), "bytes": pl.sum("bytes"), **sums}
        by_client = rows.lazy().group_by("whose")
        self.clients.add(by_client.agg(*(each.alias(name) for name, each in totals.items())).collect(), rows)
        taken = rows.lazy().filter(pl.col("taken") & pl.col("work").is_not_null())
        self.client_works.add(taken.select("whose", pl.col("work").hash()).unique().collect())

    def _blocks(self, addresses: "pl.Series") -> "pl.Series":
        """Return what counts as one client of each address: IPv4 the address, IPv6 the network of a home."""
        pl = engine()
        table = addresses.to_frame("address").select(
            "address",
            pl.when(pl.col("address").str.contains(":", literal=True))
            .then(pl.col("address").str.extract(_CANONICAL_BLOCK, 1) + ":/64")
            .otherwise(pl.col("address"))
            .alias("client"),
        )
        odd = table["client"].is_null().arg_true()
        if not len(odd):
            return table["client"]
        blocks = self._odd_blocks
        read = [blocks[text] for text in addresses.gather(odd).to_list()]
        return table["client"].scatter(odd, pl.Series(read, dtype=pl.String))


def _firsts(rows: "pl.DataFrame", number: str, text: str, known: Mapping[int, int]) -> Iterable[tuple[int, str | None]]:
    """Return each number of a column that is not known yet, with the first text beside it."""
    pl = engine()
    new = [each for each in rows[number].unique().to_list() if each is not None and each not in known]
    if not new:
        return ()
    return rows.lazy().filter(pl.col(number).is_in(new)).group_by(number).agg(pl.first(text)).collect().iter_rows()


def _looked_up(numbers: "pl.Series", known: Mapping[int, int]) -> "pl.Series":
    """Return what the numbers stand for; -1 for null."""
    pl = engine()
    met = numbers.unique().drop_nulls()
    values = pl.Series([known[number] for number in met.to_list()], dtype=pl.Int64)
    return numbers.replace_strict(met, values, default=-1, return_dtype=pl.Int64)


def _block(address: str) -> str:
    """Return what counts as one client of IPv6: the network of a home."""
    return address_block(address) or address
