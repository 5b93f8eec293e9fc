"""The same grouping on an Apache Spark cluster, for logs that outgrow a machine: only the groups come back.

Needs `pip install 'noai-guard[spark]'` and Java. The lines are read, matched and grouped by Spark's own expressions, in
its JVMs; no Python runs on the workers. The judge decides here, on the groups.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from noai_guard.errors import MissingExtra, NoAIGuardError
from noai_guard.replay.blocks import Block, agents_of, engine
from noai_guard.replay.formats import FORMATS, MAX_SAMPLE_LINES
from noai_guard.replay.kinds import ASSET, AUDIO
from noai_guard.replay.log_format import FIELDS, LogFormat
from noai_guard.replay.parsing import MAX_BAD_SAMPLES
from noai_guard.replay.shapes import LONGEST_WORK, MAX_PLAIN, PLAIN, Shapes

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_SEPARATOR = "\x01"

_MAX_LINE = 16_384
"""Characters of the longest line that is matched: Java's expressions recurse for each escaped character."""

_ROWS = 50_000

_KEYS = ("address", "user_agent", "reads", "taken", "shape", "work", "odd", "audio", "assets")


class NoTextFormat(NoAIGuardError):
    """A format that Spark does not read."""


class ClusterFailed(NoAIGuardError):
    """Spark does not start, cannot read the logs, or has given up."""


@contextmanager
def on_cluster(master: str) -> "Iterator[SparkSession]":
    """Yield a session on a cluster: `spark://host:7077`, `yarn`, `local[4]`.

    Raises MissingExtra, and ClusterFailed with the first line of what Spark says of a failure.
    """
    try:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError:
        raise MissingExtra("spark", f"--engine {master}") from None
    try:
        spark = SparkSession.builder.master(master).appName("noai-guard replay").getOrCreate()
        # Spark warns with stack traces of what it then says in an error.
        spark.sparkContext.setLogLevel("ERROR")
        yield spark
    except (PySparkException, Py4JError) as error:
        said = next(iter(str(error).strip().splitlines()), "no reason given")
        raise ClusterFailed(
            f"Spark ({master}) failed: {said[:300]}; it needs Java 17, and logs that it can read"
        ) from error


def first_lines(spark: "SparkSession", logs: Sequence[str]) -> list[str]:
    """Return the lines by which the format of the logs is found."""
    return [row[0] for row in spark.read.text(list(logs)).limit(MAX_SAMPLE_LINES).collect()]


class Groups:
    """The groups of a log, as the cluster has counted them: blocks like those of `parsing`, one row for each group."""

    def __init__(self, spark: "SparkSession", logs: Sequence[str], form: LogFormat, shapes: Shapes) -> None:
        if form.row is not None:
            known = ", ".join(each.name for each in FORMATS if each.row is None)
            raise NoTextFormat(f"--engine reads formats of plain lines, not {form.name}: {known}")
        self.lines = 0
        self.bad = 0
        self.empty = 0
        self.samples: list[str] = []
        self._grouped = _grouped(spark.read.text(list(logs)), form, shapes)

    def blocks(self) -> Iterator[Block]:
        """Yield the groups in blocks for `Tally.add`, and count the lines."""
        pl = engine()
        schema = {
            **dict.fromkeys(("address", "user_agent"), pl.String), "reads": pl.Boolean, "taken": pl.Boolean,
            "shape": pl.UInt64, "work": pl.String, "target": pl.String,
            **dict.fromkeys(("requests", "bytes", "ranges", "refers"), pl.Int64),
        }  # fmt: skip
        waiting: list[tuple[Any, ...]] = []
        for row in self._grouped.toLocalIterator(prefetchPartitions=True):
            self.lines += row["requests"]
            if row["address"] is None:
                self._unread(row)
                continue
            waiting.append(tuple(_as_bytes(row[name]) for name in schema))
            if len(waiting) >= _ROWS:
                yield _block(waiting, schema)
                waiting = []
        yield _block(waiting, schema)

    def _unread(self, row: Any) -> None:
        if row["reads"]:
            self.empty += row["requests"]
        else:
            self.bad += row["requests"]
            self.samples = [row["sample"][:300], *self.samples][:MAX_BAD_SAMPLES]


def _block(values: Sequence[tuple[Any, ...]], schema: Mapping[str, Any]) -> Block:
    """Return groups as a block, each with its own rows of the tables; their times are not known."""
    pl = engine()
    groups = pl.DataFrame(values, schema, orient="row")
    at = pl.int_range(groups.height, dtype=pl.UInt32, eager=True)
    rows = groups.select(
        "reads", "taken", "requests", "bytes", "ranges", "refers", pl.lit(None, pl.String).alias("time"),
        *(at.alias(name) for name in ("agent", "path", "client")),
    )  # fmt: skip
    paths = groups.select("target", "shape", "work")
    return Block(rows, agents_of(groups["user_agent"]), paths, groups.select("address"), groups.height)


def _as_bytes(value: Any) -> Any:
    """Return text with a character for each byte, as `parsing` has it."""
    return value.encode().decode("latin-1") if isinstance(value, str) and not value.isascii() else value


def _grouped(lines: "DataFrame", form: LogFormat, shapes: Shapes) -> "DataFrame":
    from pyspark.sql import functions as F

    line = F.col("value")
    lines = lines.where(line.rlike(r"[^ \t\r]"))
    if form.comment:
        lines = lines.where(~line.startswith(form.comment))
    fields = lines.select(line, *_fields(line, form))
    target, status = F.substring_index("target", "?", 1), F.col("status").cast("int")
    is_read = F.col("address").isNotNull() & status.isNotNull()
    empty = line.rlike(r'"-?" [0-9]{3} |<BADREQ>')
    rows = fields.select(
        F.when(is_read, F.col("address")).alias("address"),
        F.when(is_read, F.col("user_agent")).alias("user_agent"),
        F.when(is_read, F.col("method").isin("GET", "HEAD")).otherwise(empty).alias("reads"),
        F.when(is_read, status.between(200, 299) | status.isin(0, 304)).alias("taken"),
        F.when(is_read, target).alias("target"),
        F.coalesce(F.col("bytes").cast("long"), F.lit(0)).alias("bytes"),
        (status == 206).cast("long").alias("ranges"),
        F.coalesce(F.col("referer").startswith("http"), F.lit(False)).cast("long").alias("refers"),
        F.when(~is_read, line).alias("sample"),
    )
    target = F.col("target")
    is_plain = target.rlike(PLAIN) & (F.length(target) <= MAX_PLAIN) & F.lit(shapes.usable)
    for each in shapes.wished:
        is_plain &= ~target.rlike(each)
    rows = rows.withColumns(
        {
            "shape": F.when(is_plain, _shape(target, shapes)),
            "work": F.when(is_plain, _work(target, shapes)),
            "odd": F.when(~is_plain, target),
            "audio": target.rlike(AUDIO),
            "assets": target.rlike(ASSET),
        }
    )
    return rows.groupBy(*_KEYS).agg(
        F.count("*").alias("requests"), F.sum("bytes").alias("bytes"), F.sum("ranges").alias("ranges"),
        F.sum("refers").alias("refers"), F.min("target").alias("target"), F.min("sample").alias("sample"),
    )  # fmt: skip


def _fields(line: "Column", form: LogFormat) -> "list[Column]":
    """Return the fields of a line, null where the line or the format does not have them: matched once, and split."""
    from pyspark.sql import functions as F

    numbers = re.compile(form.pattern).groupindex
    # Java writes names in another way, and needs none here.
    pattern = f"(?s){re.sub(r'[?]P<[a-z_]+>', '', form.pattern)}.*"
    replaced = F.regexp_replace(line, pattern, _SEPARATOR.join(f"${number}" for number in numbers.values()))
    parts = F.split(F.when(F.length(line) <= _MAX_LINE, replaced).otherwise(line), _SEPARATOR, -1)
    is_whole = F.size(parts) == len(numbers)
    at = {name: index for index, name in enumerate(numbers)}
    return [
        (F.when(is_whole, parts[at[name]]) if name in at else F.lit(None).cast("string")).alias(name)
        for name in FIELDS
        if name != "time"
    ]


def _shape(target: "Column", shapes: Shapes) -> "Column":
    from pyspark.sql import functions as F

    number = F.lit(0).cast("long")
    for bit, test in enumerate([*map(target.rlike, shapes.patterns), *(target == text for text in shapes.exact)]):
        number = number + F.when(test, F.lit(1 << bit)).otherwise(F.lit(0)).cast("long")
    return number


def _work(target: "Column", shapes: Shapes) -> "Column":
    from pyspark.sql import functions as F

    found = [F.when(target.rlike(each), F.regexp_extract(target, each, 1)) for each in shapes.works]
    work = F.coalesce(*found) if found else F.lit(None).cast("string")
    return F.when(F.length(work).between(1, LONGEST_WORK), work)
