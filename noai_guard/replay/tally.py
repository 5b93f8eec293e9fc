"""Add up what a judge says of the rows of a log, in memory that does not grow with the log.

The totals are exact: they are as many as the policy and the catalogue have kinds of decisions. Clients are as many as
strangers like; of those, the busiest are kept. Distinct works are counted exactly up to a bound, and from there on as
"at least".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from noai_guard.core.address_headers import parse_node
from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.client_address import address_block
from noai_guard.core.guard import Needs
from noai_guard.replay.addresses import PRIVATE
from noai_guard.replay.blocks import SEED, Block, engine
from noai_guard.replay.bounded import SUMS, Clients, Pairs
from noai_guard.replay.judge import Decision, Judge, PathFacts
from noai_guard.replay.kinds import ASSET, AUDIO
from noai_guard.replay.log_format import LogFormat
from noai_guard.replay.text_formats import COMBINED

if TYPE_CHECKING:
    import polars as pl

Outcome = tuple[Decision, ...]
"""What each policy says, in their order."""


def is_reported(outcome: Outcome) -> bool:
    """Return True if a report tells the distinct works that were taken with an outcome."""
    first = outcome[0]
    return first.refused or first.spoofed or any(each.action is not first.action for each in outcome)


_CACHED_KEYS = 50_000
_CACHED_BYTES = 8 * 1024 * 1024

_PATH_BITS = 20
_PATH_MASK = (1 << _PATH_BITS) - 1
_MAX_CODES = 32_768
"""Numbers after which those of another block begin again. A block has fewer rows than _PATH_MASK leaves room for."""

_BY_ADDRESS, _BY_TIME = -1, -2

_CANONICAL_BLOCK = r"^((?:[1-9a-f][0-9a-f]{0,3}:){4})"
"""The first half of an IPv6 address, where RFC 5952 leaves no choice of how to write it."""


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
        self._refused: list[int] = []
        self._unclaimed: list[int] = []
        self._reported: list[int] = []
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
            if outcome[0].refused:
                self._refused.append(number)
            if outcome[0].unclaimed:
                self._unclaimed.append(number)
            if is_reported(outcome):
                self._reported.append(number)
        return number

    def _at(self, time: str | None) -> float | None:
        try:
            return None if time is None else self._form.seconds(time)
        except (ValueError, OverflowError):
            return None

    def add(self, block: Block) -> None:
        """Judge the requests of a block whose paths are shaped, and add them."""
        pl = engine()
        if block.rows.is_empty():
            return
        codes = self._codes
        if len(codes.said) > _MAX_CODES or len(codes.facts) > _MAX_CODES:
            self._codes = _Codes()
            self._refused_claims.clear()
            for cache in (self._odd_paths, self._settled, self._examined):
                cache.clear()
        agents = block.agents.with_columns(self._claims(block.agents))
        paths = block.paths.with_columns(*self._classes(block.paths))
        rows, agent, path = block.rows, block.rows["agent"], block.rows["path"]
        rows = rows.with_columns(agents["claim"].gather(agent), paths["class"].gather(path), paths["work"].gather(path))
        key = (pl.col("claim") * (_PATH_MASK + 1) + pl.col("class")) * 2 + pl.col("reads")
        rows = rows.with_columns(key.alias("key"))
        outcomes = self._outcomes(rows, block.clients["address"])
        rows = rows.with_columns(outcomes)
        self._add_sums(rows, block.clients["address"])
        self._add_works(rows)
        self._add_clients(rows, agents, paths["target"], block.clients["address"])

    def _claims(self, agents: "pl.DataFrame") -> "pl.Series":
        """Return the number of the claim that each user agent makes."""
        pl = engine()
        known, numbers = self._codes.said, agents["said"].to_list()
        claims = list(map(known.get, numbers))
        if None in claims:
            new = [at for at, claim in enumerate(claims) if claim is None]
            for at, text in zip(new, agents["user_agent"].gather(new).to_list(), strict=True):
                claims[at] = known[numbers[at]] = self._claim(text)
        return pl.Series("claim", claims, pl.Int64)  # type: ignore[no-any-return]

    def _classes(self, paths: "pl.DataFrame") -> "tuple[pl.Series, pl.Series]":
        """Return the class of each path, and a number for the work that it is part of, null for none."""
        pl = engine()
        shapes, targets, known, works = paths["shape"], paths["target"], self._codes.shapes, paths["work"]
        met = shapes.unique().drop_nulls()
        for shape in met.to_list():
            if shape not in known:
                known[shape] = self._path(targets.filter(shapes == shape)[0])
        values = pl.Series([known[shape] for shape in met.to_list()], dtype=pl.Int64)
        classes = shapes.replace_strict(met, values, default=-1, return_dtype=pl.Int64)
        odd = (shapes.is_null() & targets.is_not_null()).arg_true()
        if len(odd):
            read = [self._odd_paths[target] for target in targets.gather(odd).to_list()]
            classes = classes.scatter(odd, [number for number, _ in read])
            works = works.scatter(odd, pl.Series([work for _, work in read], dtype=pl.String))
        numbers = pl.select(pl.when(works.is_not_null()).then(works.hash(SEED))).to_series()
        return classes.alias("class"), numbers.alias("work")

    def _outcomes(self, rows: "pl.DataFrame", addresses: "pl.Series") -> "pl.Series":
        """Return the number of the outcome of each row: of a group where that is enough, else of the row."""
        pl = engine()
        keys, settled = rows["key"], self._settled
        unique = keys.unique().to_list()
        outcomes = keys.replace_strict(unique, [settled[key] for key in unique], return_dtype=pl.Int32).alias("outcome")
        at = (outcomes == _BY_ADDRESS).arg_true()
        if len(at):
            pairs = rows.select(pl.col("key", "client").gather(at))
            met = pairs.unique()
            each = zip(met["key"].to_list(), addresses.gather(met["client"]).to_list(), strict=True)
            examined = pl.Series("outcome", [self._examined[pair] for pair in each], pl.Int32)
            pairs = pairs.join(met.with_columns(examined), on=["key", "client"], how="left", maintain_order="left")
            outcomes = outcomes.scatter(at, pairs["outcome"])
        at = (outcomes == _BY_TIME).arg_true()
        if len(at):
            columns = (keys.gather(at), addresses.gather(rows["client"].gather(at)), rows["time"].gather(at))
            each_row = zip(*(column.to_list() for column in columns), strict=True)
            decided = [self._decide(key, address, self._at(time)) for key, address, time in each_row]
            outcomes = outcomes.scatter(at, decided)
        return outcomes

    def _add_sums(self, rows: "pl.DataFrame", addresses: "pl.Series") -> None:
        pl = engine()
        for number, requests, size in rows.group_by("outcome").agg(pl.sum("requests", "bytes")).iter_rows():
            self.sums[number].requests += requests
            self.sums[number].bytes += size
        starts = (pl.col(addresses.name).str.starts_with(start) for start in PRIVATE)
        private = addresses.to_frame().select(pl.any_horizontal(starts)).to_series()
        if private.any():
            self.private += int(rows["requests"].filter(private.gather(rows["client"])).sum())

    def _add_works(self, rows: "pl.DataFrame") -> None:
        pl = engine()
        if not self.judge.policies[0].policy.works.patterns:
            return
        is_counted = pl.col("taken") & pl.col("work").is_not_null() & pl.col("outcome").is_in(self._reported)
        self.works.add(rows.filter(is_counted).select(pl.col("outcome").cast(pl.UInt64).alias("whose"), "work"))

    def _add_clients(
        self, rows: "pl.DataFrame", agents: "pl.DataFrame", targets: "pl.Series", addresses: "pl.Series"
    ) -> None:
        """Add the clients that are refused somewhere, and those that name nobody and take works."""
        pl = engine()
        blocks = self._blocks(addresses)
        # Other numbers for blocks than for user agents: a client may say its address.
        whose = agents["said"].gather(rows["agent"]) ^ blocks.hash(SEED ^ 1).gather(rows["client"])
        rows = rows.with_columns(
            whose.alias("whose"),
            agents["claim"].is_in(list(self._refused_claims)).gather(rows["agent"]).alias("is_of_refused"),
        )
        takes, requests = pl.col("taken") & pl.col("work").is_not_null(), pl.col("requests")
        of_refused = rows.filter(pl.col("is_of_refused"))
        if not of_refused.is_empty():
            is_refused = pl.col("outcome").is_in(self._refused)
            of_refused = of_refused.with_columns(targets.gather(of_refused["path"]))
            audio, asset = (pl.col("target").str.contains(kind) for kind in (AUDIO, ASSET))
            sums = {
                "outcome": pl.when(is_refused).then(pl.col("outcome")).otherwise(-1).max(),
                "refused": (requests * is_refused).sum(),
                "pages": (requests * ~(audio | asset)).sum(),
                "audio": (requests * audio).sum(),
                "assets": (requests * asset).sum(),
                "ranges": pl.sum("ranges"),
                "refers": pl.sum("refers"),
            }
            self._add_to_clients(of_refused, sums, agents["user_agent"], blocks)
        taking = rows.filter(takes & pl.col("outcome").is_in(self._unclaimed) & ~pl.col("is_of_refused"))
        none = {name: pl.lit(0, pl.Int64) for name in SUMS if name not in ("requests", "bytes")}
        self._add_to_clients(taking, {"outcome": pl.lit(-1, pl.Int32), **none}, agents["user_agent"], blocks)

    def _add_to_clients(
        self, rows: "pl.DataFrame", sums: "Mapping[str, pl.Expr]", user_agents: "pl.Series", blocks: "pl.Series"
    ) -> None:
        pl = engine()
        if rows.is_empty():
            return
        totals = {"requests": pl.sum("requests"), "bytes": pl.sum("bytes"), **sums}
        firsts = pl.first("agent", "client")
        clients = rows.group_by("whose").agg(*(each.alias(name) for name, each in totals.items()), firsts)
        self.clients.add(
            clients.with_columns(
                user_agents.gather(clients["agent"]).alias("user_agent"), blocks.gather(clients["client"])
            )
        )
        self.client_works.add(rows.filter(pl.col("taken") & pl.col("work").is_not_null()).select("whose", "work"))

    def _blocks(self, addresses: "pl.Series") -> "pl.Series":
        """Return what counts as one client of each address: IPv4 the address, IPv6 the network of a home."""
        pl = engine()
        address = pl.col("address")
        home = pl.when(address.str.contains(":", literal=True)).then(address)
        blocks = addresses.to_frame("address").select(
            pl.when(home.is_null()).then(address).otherwise(home.str.extract(_CANONICAL_BLOCK, 1) + ":/64")
        )
        found = blocks.to_series().alias("client")
        odd = found.is_null().arg_true()
        if len(odd):
            read = [self._odd_blocks[text] for text in addresses.gather(odd).to_list()]
            found = found.scatter(odd, pl.Series(read, dtype=pl.String))
        return found


def _block(address: str) -> str:
    """Return what counts as one client of an address with colons: the network of a home, or IPv4 without its port."""
    return address_block(parse_node(address).address or address).removesuffix("/32") or address
