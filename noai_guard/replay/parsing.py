"""Turn a block of lines into tables, with polars: the same tables for every format."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from noai_guard.replay.blocks import Block, agents_of, block_of, distinct, engine
from noai_guard.replay.log_format import FIELDS, LogFormat
from noai_guard.replay.objects import read_objects

if TYPE_CHECKING:
    import polars as pl

MAX_BAD_SAMPLES = 5
"""Bad lines that are shown."""

_MAX_SAMPLE_CHARS = 300


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
    """Return the columns that `block_of` takes, and `unread`, from text columns with the names of FIELDS."""
    pl = engine()
    return table.with_columns(pl.col("status").cast(pl.Int32, strict=False)).select(
        "address",
        "time",
        "user_agent",
        pl.col("method").is_in(["GET", "HEAD"]).alias("reads"),
        _without_query(pl.col("target")),
        *_sums(pl.col("status"), pl.col("bytes"), pl.col("referer")),
        pl.any_horizontal(pl.col("address", "target", "status").is_null()).alias("unread"),
        *columns,
    )


def _without_query(target: "pl.Expr") -> "pl.Expr":
    pl = engine()
    path = target.str.split_exact("?", 1).struct.field("field_0")
    chosen = pl.when(target.str.contains("?", literal=True)).then(path).otherwise(target)
    return chosen.alias("target")  # type: ignore[no-any-return]


def _sums(status: "pl.Expr", size: "pl.Expr", referer: "pl.Expr") -> "Sequence[pl.Expr]":
    """Return the columns of Block that say what was sent."""
    pl = engine()
    return (
        (status.is_between(200, 299) | status.is_in([0, 304])).alias("taken"),
        pl.lit(1, pl.Int64).alias("requests"),
        size.cast(pl.Int64, strict=False).fill_null(0).clip(0, 1 << 50).alias("bytes"),
        (status == 206).cast(pl.Int64).alias("ranges"),
        referer.str.starts_with("http").fill_null(False).cast(pl.Int64).alias("refers"),
    )


def _sorted_out(
    rows: "pl.DataFrame", line: "pl.Expr", columns: Sequence[str]
) -> "tuple[pl.DataFrame, int, int, int, Sequence[str]]":
    """Return the rows that could be read, and what a Block counts: lines, bad ones, empty ones, samples. `line` is the
    text of a row, made of the extra `columns`; `unread` rows are bad if they are not `empty`."""
    pl = engine()
    extra = ("unread", "empty", *columns)
    if not rows["unread"].any():
        return rows.drop(extra), rows.height, 0, 0, ()
    others = rows.filter("unread")
    bad = others.filter(~pl.col("empty"))
    samples = bad.head(MAX_BAD_SAMPLES).select(line.str.head(_MAX_SAMPLE_CHARS).alias("line"))["line"].to_list()
    left = rows.filter(~pl.col("unread")).drop(extra)
    return left, rows.height, bad.height, others.height - bad.height, samples


_PARTS = ("head", "request", "numbers", "referrer", "between", "user_agent", "rest")
_QUOTES = len(_PARTS) - 1
_HEADER = b'"' * _QUOTES + b"\n"
_TIME = len("10/Oct/2026:13:55:36 +0000] ")


def _split(text: bytes) -> Block:
    """Read the combined format by its quotes: in half the time of the expression, with the same result."""
    pl = engine()
    # The first line tells the reader how many columns there are.
    is_told = text[: text.index(b"\n")].count(b'"') == _QUOTES
    table = pl.read_csv(
        text if is_told else _HEADER + text, has_header=False, separator='"', quote_char=None,
        schema=dict.fromkeys(_PARTS, pl.String), truncate_ragged_lines=True,
    ).slice(0 if is_told else 1)  # fmt: skip
    if table["head"].null_count():
        table = table.filter(~pl.all_horizontal(pl.col("head", "request").is_null()))
    heads, head = _heads(table["head"])
    requests, request = _requests(table["request"])
    user_agents, agent = distinct(table["user_agent"].fill_null(""))
    numbers = pl.col("numbers")
    table = table.with_columns(numbers.str.slice(1, 3).cast(pl.Int32, strict=False).alias("status"))
    # ` 200 512 `: what else stands there is no line of this format.
    is_whole = (
        heads["begins"].gather(head)
        & pl.col("head").str.ends_with("] ")
        & numbers.str.starts_with(" ")
        & (pl.col("between") == " ")
        & ~pl.col("rest").str.contains(r"^[^ \t\r]").fill_null(False)
    ).fill_null(False)
    has_target = requests["target"].is_not_null().gather(request) & pl.col("status").is_not_null()
    rows = table.select(
        *_PARTS,
        pl.col("head").alias("time"),
        agent.alias("agent"),
        request.alias("path"),
        head.alias("client"),
        requests["reads"].gather(request),
        *_sums(pl.col("status"), numbers.str.slice(5).str.strip_chars(" "), pl.col("referrer")),
        (is_whole & requests["none"].gather(request)).alias("empty"),
        (~(is_whole & has_target)).alias("unread"),
    )
    line = pl.concat_str([pl.col(name) for name in _PARTS], separator='"', ignore_nulls=True)
    read, lines, bad, empty, samples = _sorted_out(rows, line, _PARTS)
    return Block(
        read, agents_of(user_agents), requests.select("target"), heads.select("address"), lines, bad, empty, samples
    )


def _heads(texts: "pl.Series") -> "tuple[pl.DataFrame, pl.Series]":
    """Return the distinct heads (`address - user [time] `) with their `address`, and which one each row has. `begins`:
    the head could be whole."""
    pl = engine()
    # Without the time, heads repeat.
    known, at = distinct(texts.str.head(-_TIME))
    if not known.str.contains(" [", literal=True).fill_null(False).all():
        known, at = distinct(texts)
    first = pl.col("head").str.split_exact(" ", 1).struct.field("field_0")
    table = known.to_frame("head").select(
        pl.col("head").str.contains(" [", literal=True).alias("begins"),
        first.str.strip_chars_end(",").fill_null("").alias("address"),
    )
    return table, at


def _requests(texts: "pl.Series") -> "tuple[pl.DataFrame, pl.Series]":
    """Return the distinct requests, and which one each row has. `none`: the client sent no request."""
    pl = engine()
    known, at = distinct(texts)
    words = pl.col("request").str.split_exact(" ", 2).struct.rename_fields(["method", "target", "version"])
    table = known.to_frame("request").select("request", words.alias("words")).unnest("words")
    table = table.select(
        pl.col("method").is_in(["GET", "HEAD"]).alias("reads"),
        _without_query(pl.col("target")),
        pl.col("request").fill_null("").is_in(["", "-"]).alias("none"),
    )
    return table, at


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
    return block_of(*_sorted_out(rows, pl.col("line"), ("line",)))


def _from_objects(text: bytes, form: LogFormat) -> Block:
    pl = engine()
    table, unreadable = read_objects(text, form)
    empty = pl.lit(False).alias("empty")
    columns = _columns(table.lazy(), empty, pl.col("target").alias("line")).collect()
    rows, lines, bad, none, samples = _sorted_out(columns, pl.col("line"), ("line",))
    shown = [*(line[:_MAX_SAMPLE_CHARS] for line in unreadable[:MAX_BAD_SAMPLES]), *samples][:MAX_BAD_SAMPLES]
    return block_of(rows, lines + len(unreadable), bad + len(unreadable), none, shown)
