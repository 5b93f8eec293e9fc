"""Turn a block of lines into columns, with polars: the same columns for every format.

polars was chosen by trial (docs/benchmarks.md): it reads, splits and groups 10 million lines in half the time of DuckDB
and in less memory. Needs `pip install 'noai-guard[replay]'`.
"""

import io
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from noai_guard.errors import MissingExtra
from noai_guard.replay.formats import FIELDS, LogFormat, Row, is_comment
from noai_guard.replay.shapes import LONGEST_WORK, MAX_PLAIN, PLAIN, Shapes

if TYPE_CHECKING:
    import polars as pl

MAX_BAD_SAMPLES = 5
"""Bad lines that are shown."""

_MAX_SAMPLE_CHARS = 300


_SEED = secrets.randbits(64)
"""Nobody can make two user agents that get the same number."""


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
    """The requests of a block, one a row, in the order of the lines.

    Columns: `address`, `target` (without query), `user_agent` and `time` as the log has them, null where it does not;
    `reads` (the method is GET or HEAD), `taken` (the response was content, or the log does not tell), and the sums
    `requests` (1), `bytes`, `ranges` (responses with part of a file), `refers` (requests with a Referer).
    `bad` lines could not be read; `empty` ones are of connections that sent no request.
    """

    rows: "pl.DataFrame"
    lines: int
    bad: int = 0
    empty: int = 0
    samples: Sequence[str] = ()


def numbered(rows: "pl.DataFrame") -> "pl.DataFrame":
    """Return rows with `said`, a number for the user agent."""
    return rows.with_columns(engine().col("user_agent").hash(_SEED).alias("said"))


def shaped(rows: "pl.DataFrame", shapes: Shapes) -> "pl.DataFrame":
    """Return the rows of a Block with `shape` (a number, null for a path that is judged by itself), `work` (a name,
    null for none, and where `shape` is null) and `said` (a number for the user agent)."""
    pl = engine()
    target = pl.col("target")
    rows = numbered(rows)
    if not shapes.usable:
        return rows.with_columns(pl.lit(None, pl.UInt64).alias("shape"), pl.lit(None, pl.String).alias("work"))
    tests = [*(target.str.contains(each) for each in shapes.patterns), *(target == each for each in shapes.exact)]
    number = pl.lit(0, pl.UInt64)
    for bit, test in enumerate(tests):
        number = number + test.cast(pl.UInt64) * (1 << bit)
    works = [target.str.extract(each, 1) for each in shapes.works]
    work = pl.coalesce(*works) if works else pl.lit(None, pl.String)
    is_plain = target.str.contains(PLAIN) & (target.str.len_bytes() <= MAX_PLAIN)
    for each in shapes.wished:
        is_plain &= ~target.str.contains(each)
    is_name = pl.col("work").str.len_bytes().is_between(1, LONGEST_WORK)
    marked = rows.lazy().with_columns(pl.when(is_plain).then(number).alias("shape"), work.alias("work"))
    return marked.with_columns(pl.when(pl.col("shape").is_not_null() & is_name).then(pl.col("work"))).collect()


def parsed(block: bytes, form: LogFormat) -> Block:
    """Return the requests in whole lines of a format. No line makes it fail."""
    text = block if block.isascii() else _in_utf8(block, form)
    if form.row is not None:
        return _from_objects(text, form)
    splits = form.quoted and form.name == "combined" and not _escapes_quotes(text)
    return _split(text) if splits else _matched(text, form)


def _escapes_quotes(text: bytes) -> bool:
    """Return True if a quote stands behind a backslash: then quotes do not tell where fields end.

    Looks for backslashes alone, which few lines have: to look for both takes a fifth of the time of everything else.
    """
    at = text.find(b"\\")
    while at >= 0:
        if text[at + 1] == 0x22:
            return True
        at = text.find(b"\\", at + 1)
    return False


def _in_utf8(block: bytes, form: LogFormat) -> bytes:
    """Return a block as UTF-8: JSON is, and of other formats each byte becomes one character."""
    if form.row is not None:
        return block.decode("utf-8", "replace").encode()
    return block.decode("latin-1").encode()


def _columns(table: "pl.LazyFrame", *columns: "pl.Expr") -> "pl.LazyFrame":
    """Return the columns of Block from text columns with the names of FIELDS, each row with `line`."""
    pl = engine()
    status = pl.col("status").cast(pl.Int32, strict=False)
    return table.select(
        "address",
        pl.col("time"),
        pl.col("method").is_in(["GET", "HEAD"]).alias("reads"),
        pl.col("target").str.split_exact("?", 1).struct.field("field_0").alias("target"),
        (status.is_between(200, 299) | status.is_in([0, 304])).alias("taken"),
        pl.lit(1, pl.Int64).alias("requests"),
        pl.col("bytes").cast(pl.Int64, strict=False).fill_null(0).clip(0, 1 << 50).alias("bytes"),
        (status == 206).cast(pl.Int64).alias("ranges"),
        pl.col("referer").str.starts_with("http").fill_null(False).cast(pl.Int64).alias("refers"),
        "user_agent",
        *columns,
    )


def _sorted_out(rows: "pl.DataFrame", line: "pl.Expr", columns: Sequence[str]) -> Block:
    """Return a block of the rows that could be read. `line` is the text of a row, made of the extra `columns`; the
    column `empty` says that it holds no request."""
    pl = engine()
    unread = rows["address"].is_null() | rows["target"].is_null() | rows["taken"].is_null()
    if not unread.any():
        return Block(rows.drop("empty", *columns), rows.height)
    others = rows.filter(unread)
    bad = others.filter(~pl.col("empty"))
    samples = bad.head(MAX_BAD_SAMPLES).select(line.str.head(_MAX_SAMPLE_CHARS).alias("line"))["line"].to_list()
    left = rows.filter(~unread).drop("empty", *columns)
    return Block(left, rows.height, bad.height, others.height - bad.height, samples)


_PARTS = ("head", "request", "numbers", "referrer", "between", "agent", "rest")
_HEADER = b'"' * (len(_PARTS) - 1) + b"\n"


def _split(text: bytes) -> Block:
    """Read the combined format by its quotes: in half the time of the expression, with the same result."""
    pl = engine()
    # The first line tells the reader how many columns there are.
    table = pl.read_csv(
        _HEADER + text, has_header=False, separator='"', quote_char=None, schema=dict.fromkeys(_PARTS, pl.String),
        truncate_ragged_lines=True,
    ).slice(1).lazy().filter(~pl.all_horizontal(pl.col("head", "request").is_null()))  # fmt: skip
    request, numbers = pl.col("request").str.split_exact(" ", 2).struct, pl.col("numbers")
    # `address - user [time] "`, ` 200 512 `: what else stands there is no line of this format.
    is_whole = (
        (pl.col("between") == " ")
        & pl.col("head").str.contains(" [", literal=True)
        & pl.col("head").str.ends_with("] ")
        & numbers.str.starts_with(" ")
    ).fill_null(False)
    table = table.with_columns(
        pl.when(is_whole).then(pl.col("head").str.split_exact(" ", 1).struct.field("field_0")).alias("address"),
        pl.col("head").alias("time"),
        request.field("field_0").alias("method"),
        request.field("field_1").alias("target"),
        numbers.str.slice(1, 3).alias("status"),
        numbers.str.slice(5).str.strip_chars(" ").alias("bytes"),
        pl.col("referrer").alias("referer"),
        pl.col("agent").fill_null("").alias("user_agent"),
        (is_whole & pl.col("request").fill_null("").is_in(["", "-"])).alias("empty"),
    )
    line = pl.concat_str([pl.col(name) for name in _PARTS], separator='"', ignore_nulls=True)
    return _sorted_out(_columns(table, *map(pl.col, ("empty", *_PARTS))).collect(), line, _PARTS)


def _matched(text: bytes, form: LogFormat) -> Block:
    """Read a format by its expression."""
    pl = engine()
    lines = pl.scan_lines(io.BytesIO(text), name="line").filter(pl.col("line").str.contains("[^ \t\r]"))
    if form.comment:
        lines = lines.filter(~pl.col("line").str.starts_with(form.comment))
    groups = lines.select("line", pl.col("line").str.extract_groups(form.pattern).alias("fields"))
    table = groups.unnest("fields")
    missing = [pl.lit(None, pl.String).alias(name) for name in FIELDS if f"?P<{name}>" not in form.pattern]
    empty = pl.col("line").str.contains(r'"-?" [0-9]{3} |<BADREQ>').alias("empty")
    rows = _columns(table.with_columns(*missing), pl.col("line"), empty).collect()
    return _sorted_out(rows, pl.col("line"), ("line",))


def _from_objects(text: bytes, form: LogFormat) -> Block:
    pl = engine()
    rows: list[Row] = []
    bad: list[str] = []
    lines = [line for line in text.decode().split("\n") if not is_comment(form, line)]
    for line in lines:
        row = form.read(line)
        if row is None:
            bad.append(line)
        else:
            rows.append(tuple(_encodable(value) for value in row))
    table = pl.DataFrame(rows, schema=dict.fromkeys(FIELDS, pl.String), orient="row")
    empty = pl.lit(False).alias("empty")
    block = _sorted_out(
        _columns(table.lazy(), empty, pl.col("target").alias("line")).collect(), pl.col("line"), ("line",)
    )
    samples = [*(line[:_MAX_SAMPLE_CHARS] for line in bad[:MAX_BAD_SAMPLES]), *block.samples]
    return Block(block.rows, len(lines), block.bad + len(bad), block.empty, samples[:MAX_BAD_SAMPLES])


def _encodable(value: object) -> str | None:
    """Return a value as text that UTF-8 can hold: JSON can spell halves of surrogate pairs."""
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
