"""Read lines that are JSON objects: those that look as servers write them with polars, all others one by one.

What polars reads is what Python reads: of its lines, each key that is asked for stands there once, with a value of its
kind, and nothing is escaped.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from noai_guard.replay.blocks import engine
from noai_guard.replay.formats import is_comment
from noai_guard.replay.log_format import FIELDS, Key, LogFormat, Row

if TYPE_CHECKING:
    import polars as pl

_MAX_LINE = 1900
"""Bytes of a line that polars reads: longer ones may hold more levels than Python reads."""

_SLICE = 4096
"""Lines that are parsed at once, in bounded memory: if one of them is no JSON, all are read one by one."""


def read_objects(text: bytes, form: LogFormat) -> "tuple[pl.DataFrame, list[str]]":
    """Return the requests of a block with the columns FIELDS, in the order of the lines, and the lines that could not
    be read."""
    pl = engine()
    lines = pl.scan_lines(io.BytesIO(text), name="line").collect().with_row_index("at")
    slices = (_usual(each, form) for each in lines.iter_slices(_SLICE))
    tables = [each for each in slices if each is not None]
    others = lines
    if tables:
        others = lines.join(pl.concat(tables).select("at"), on="at", how="anti", maintain_order="left")
    rows: list[tuple[int, *Row]] = []
    bad: list[str] = []
    for at, line in others.iter_rows():
        if is_comment(form, line):
            continue
        row = form.read(line)
        if row is None:
            bad.append(line)
        else:
            rows.append((at, *map(_encodable, row)))
    if rows or not tables:
        tables.append(pl.DataFrame(rows, {"at": pl.UInt32, **dict.fromkeys(FIELDS, pl.String)}, orient="row"))
    return pl.concat(tables).sort("at").drop("at"), bad


def _usual(lines: "pl.DataFrame", form: LogFormat) -> "pl.DataFrame | None":
    """Return the lines (`at`) that polars reads, with their FIELDS; None if it reads none."""
    pl = engine()
    keys = form.keys
    if not keys:
        return None
    line = pl.col("line")
    names = "|".join(sorted({name for key in keys.values() for name in key.path}))
    typed = "|".join(sorted({pattern for key in keys.values() for pattern in key.patterns}))
    chosen = lines.filter(
        line.str.starts_with("{") & line.str.ends_with("}") & (line.str.len_bytes() <= _MAX_LINE),
        ~line.str.contains("\\", literal=True),
    )
    chosen = chosen.with_columns(line.str.count_matches(f'"(?:{names})":').alias("keys"))
    chosen = chosen.filter(pl.col("keys") == line.str.count_matches(typed))
    try:
        decoded = chosen.with_columns(line.str.json_decode(_schema(keys.values())))
    except pl.exceptions.ComputeError:
        # One of the lines is no JSON.
        return None
    nodes = {key.path[:depth] for key in keys.values() for depth in range(1, len(key.path) + 1)}
    present = pl.sum_horizontal(_at(path).is_not_null().cast(pl.UInt32) for path in sorted(nodes))
    needed = pl.all_horizontal(_at(key.path).is_not_null() for key in keys.values() if key.needed)
    read = decoded.filter((present == pl.col("keys")) & needed)
    return read.select("at", *(_value(keys[name]).alias(name) for name in FIELDS))


def _at(path: Sequence[str]) -> "pl.Expr":
    value = engine().col("line")
    for name in path:
        value = value.struct.field(name)
    return value  # type: ignore[no-any-return]


def _value(key: Key) -> "pl.Expr":
    pl = engine()
    value = _at(key.path)
    text = value.list.first() if key.kind == "texts" else value.cast(pl.String)
    return text if key.default is None else text.fill_null(key.default)


def _schema(keys: Iterable[Key]) -> Any:
    """Return the type of an object that has these keys."""
    pl = engine()
    kinds = {"number": pl.Int64, "texts": pl.List(pl.String)}
    tree: dict[str, Any] = {}
    for key in keys:
        inner = tree
        for name in key.path[:-1]:
            inner = inner.setdefault(name, {})
        inner[key.path[-1]] = kinds.get(key.kind, pl.String)

    def struct(fields: Mapping[str, Any]) -> Any:
        return pl.Struct({name: struct(kind) if isinstance(kind, dict) else kind for name, kind in fields.items()})

    return struct(tree)


def _encodable(value: object) -> str | None:
    """Return a value as text that UTF-8 can hold: JSON can spell halves of surrogate pairs."""
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
