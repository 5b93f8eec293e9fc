"""The requests of a block of lines as tables: what repeats is kept once, and worked on once.

polars was chosen by trial (docs/benchmarks.md): it reads, splits and groups 10 million lines in half the time of DuckDB
and in less memory. Needs `pip install 'noai-guard[replay]'`.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from noai_guard.errors import MissingExtra
from noai_guard.replay.shapes import LONGEST_WORK, MAX_PLAIN, PLAIN, Shapes

if TYPE_CHECKING:
    import polars as pl

SEED = secrets.randbits(64)
"""Nobody can make two texts that get the same number."""


def engine() -> Any:
    """Return the module polars. Raises MissingExtra."""
    # polars' allocator (jemalloc) reads it once: one arena keeps a third less (measured 2026-11-29).
    os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0")
    try:
        import polars
    except ImportError:
        raise MissingExtra("replay", "noai-guard replay") from None
    return polars


@dataclass(frozen=True, slots=True)
class Block:
    """The requests of a block, one a row of `rows`, in the order of the lines.

    The columns `agent`, `path` and `client` of `rows` are rows of the tables `agents` (`user_agent`, and `said`, a
    number for it), `paths` (`target`, without query) and `clients` (`address`). A table may hold a text twice, and
    texts that no row has. Texts are as the log has them, null where it does not, and so is `time`. `reads`: the method
    is GET or HEAD; `taken`: the response was content, or the log does not tell. The rest are sums: `requests` (1),
    `bytes`, `ranges` (responses with part of a file), `refers` (requests with a Referer).

    `bad` lines could not be read, `samples` are some of them; `empty` ones are of connections that sent no request.
    """

    rows: "pl.DataFrame"
    agents: "pl.DataFrame"
    paths: "pl.DataFrame"
    clients: "pl.DataFrame"
    lines: int
    bad: int = 0
    empty: int = 0
    samples: Sequence[str] = ()


def distinct(texts: "pl.Series") -> "tuple[pl.Series, pl.Series]":
    """Return the distinct texts, and for each row which one it has."""
    pl = engine()
    numbers = texts.hash(SEED)
    firsts = numbers.arg_unique()
    at = pl.int_range(len(firsts), dtype=pl.UInt32, eager=True)
    return texts.gather(firsts), numbers.replace_strict(numbers.gather(firsts), at, return_dtype=pl.UInt32)


def agents_of(user_agents: "pl.Series") -> "pl.DataFrame":
    """Return the table `agents` of a Block."""
    numbers = user_agents.hash(SEED).alias("said")
    return user_agents.to_frame("user_agent").with_columns(numbers)


def block_of(rows: "pl.DataFrame", lines: int, bad: int = 0, empty: int = 0, samples: Sequence[str] = ()) -> Block:
    """Return a block of rows that have `user_agent`, `target` and `address` in place of the rows of tables."""
    user_agents, agent = distinct(rows["user_agent"])
    targets, path = distinct(rows["target"])
    addresses, client = distinct(rows["address"])
    numbered = rows.drop("user_agent", "target", "address").with_columns(
        agent.alias("agent"), path.alias("path"), client.alias("client")
    )
    return Block(
        numbered, agents_of(user_agents), targets.to_frame("target"), addresses.to_frame("address"),
        lines, bad, empty, samples,
    )  # fmt: skip


def shaped(block: Block, shapes: Shapes) -> Block:
    """Return a block whose paths have `shape` (a number, null for a path that is judged by itself) and `work` (a name,
    null for none, and where `shape` is null)."""
    pl = engine()
    target = pl.col("target")
    if not shapes.usable:
        nothing = pl.lit(None, pl.UInt64).alias("shape"), pl.lit(None, pl.String).alias("work")
        return replace(block, paths=block.paths.with_columns(*nothing))
    tests = [*(target.str.contains(each) for each in shapes.patterns), *(target == each for each in shapes.exact)]
    number = pl.lit(0, pl.UInt64)
    for bit, test in enumerate(tests):
        number = number + test.cast(pl.UInt64) * (1 << bit)
    is_plain = target.str.contains(PLAIN) & (target.str.len_bytes() <= MAX_PLAIN)
    for each in shapes.wished:
        is_plain &= ~target.str.contains(each)
    is_name = pl.col("work").str.len_bytes().is_between(1, LONGEST_WORK)
    named = pl.when(pl.col("shape").is_not_null() & is_name).then("work").alias("work")
    paths = block.paths.with_columns(
        pl.when(is_plain).then(number).alias("shape"), _works(block.paths["target"], shapes)
    )
    return replace(block, paths=paths.with_columns(named))


def _works(targets: "pl.Series", shapes: Shapes) -> "pl.Series":
    """Return the name of the work that each path is part of, null for none."""
    pl = engine()
    works = pl.repeat(None, len(targets), dtype=pl.String, eager=True).alias("work")
    for start, pattern in zip(shapes.work_starts, shapes.works, strict=True):
        # To compare beginnings first takes a tenth of the time of the expression.
        at = (targets.str.starts_with(start) & works.is_null()).arg_true()
        works = works.scatter(at, targets.gather(at).str.extract(pattern, 1))
    return works  # type: ignore[no-any-return]
