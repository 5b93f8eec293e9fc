"""Replay logs: read, judge, add up."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.text import listed
from noai_guard.errors import LogsInvalid, Problem
from noai_guard.replay.blocks import Block, engine, shaped
from noai_guard.replay.formats import FORMAT_NAMES, MAX_SAMPLE_LINES, format_named, found_format
from noai_guard.replay.judge import Judge
from noai_guard.replay.log_format import LogFormat
from noai_guard.replay.parsing import MAX_BAD_SAMPLES, parsed
from noai_guard.replay.shapes import Shapes
from noai_guard.replay.sources import BLOCK_BYTES, Source
from noai_guard.replay.summary import LogFacts, Summary, summary
from noai_guard.replay.tally import Tally

_READERS = 2
"""Threads that turn blocks into columns, while another judges. More would take memory and wait for each other."""

_MAX_WAITING = 3

_SAMPLE_BYTES = 256 * 1024

_MAX_SAMPLE_LINE = 8192
"""Characters of a line by which a format is found: expressions take long for what somebody has made longer."""

_FEW_LINES = 20


_WITHOUT_TIMES = (
    "the groups of a cluster have no times: the days are not known, and no request counts as over the rate of throttle"
)


class UnknownFormat(LogsInvalid):
    """No format reads the first lines of a log."""

    def __init__(self, name: str, lines: Sequence[str] = ()) -> None:
        hint = f"--log-format names one: {', '.join(FORMAT_NAMES)}"
        if any(line.startswith('{"log":"') for line in lines):
            hint = f"Docker has put them into JSON: jq -rj .log {name} | noai-guard replay -"
        super().__init__([Problem("R003", "its first lines are of no known format", hint, name)])


class Replay:
    """A replay under way: logs in, a Summary out. `at` is in seconds since 1970: when lists of networks are read.

    A log of which no format is found is read in that of one `beside` it, if it is known.
    """

    def __init__(self, policies: Sequence[CompiledPolicy], names: Sequence[str], at: float) -> None:
        engine()
        self.tally = Tally(Judge(policies, at))
        self.logs: list[LogFacts] = []
        self.beside: LogFormat | None = None
        self._names = names
        self._shapes = Shapes.of(policies)

    def read(self, source: Source, log_format: str = "", block_bytes: int = BLOCK_BYTES) -> None:
        """Read a log. Raises UnknownFormat if its format is not named and cannot be found, OSError if it cannot be
        opened."""
        facts = LogFacts(source.name)
        self.logs.append(facts)
        blocks = source.blocks(block_bytes)
        first = next(blocks, None)
        if first is None:
            facts.damage = source.damage
            return
        try:
            form = chosen_format(source.name, _sample(first), log_format)
        except UnknownFormat:
            if self.beside is None:
                raise
            form = self.beside
        facts.format, facts.records = form.title, form.records
        self.tally.begin(form)
        for block in _ahead(_chained(first, blocks), lambda text: self._read(text, form)):
            self._add(facts, form, block)
        facts.lines += source.overlong
        facts.bad += source.overlong
        facts.damage = source.damage

    def read_on_spark(self, master: str, logs: Sequence[str], log_format: str = "") -> None:
        """Read logs on a cluster, all of one format. Raises UnknownFormat, NoTextFormat, MissingExtra and
        ClusterFailed."""
        from noai_guard.replay import spark

        with spark.on_cluster(master) as session:
            facts = LogFacts(listed(logs))
            self.logs.append(facts)
            form = chosen_format(facts.name, spark.first_lines(session, logs), log_format)
            facts.format, facts.records = form.title, _WITHOUT_TIMES
            self.tally.begin(form)
            groups = spark.Groups(session, logs, form, self._shapes)
            for block in groups.blocks():
                self.tally.add(block)
        facts.lines, facts.bad, facts.empty, facts.samples = groups.lines, groups.bad, groups.empty, groups.samples

    def _read(self, text: bytes, form: LogFormat) -> Block:
        return shaped(parsed(text, form), self._shapes)

    def _add(self, facts: LogFacts, form: LogFormat, block: Block) -> None:
        facts.lines += block.lines
        facts.bad += block.bad
        facts.empty += block.empty
        facts.samples += block.samples[: MAX_BAD_SAMPLES - len(facts.samples)]
        self.tally.add(block)
        times = block.rows["time"]
        for text in (times[0], times[-1]) if len(times) else ():
            at = _seconds(text, form.seconds)
            if at is not None:
                facts.first = at if facts.first is None else min(facts.first, at)
                facts.last = at if facts.last is None else max(facts.last, at)

    def summary(self) -> Summary:
        """Return what came out so far."""
        return summary(self.tally, self.logs, self._names)


def _sample(block: bytes) -> list[str]:
    lines = block[:_SAMPLE_BYTES].decode("utf-8", "replace").split("\n")
    return [line for line in lines if len(line) <= _MAX_SAMPLE_LINE][:MAX_SAMPLE_LINES]


def surveyed(names: Sequence[str]) -> tuple[list[Problem], LogFormat | None]:
    """Return the problems of the files of these names whose first lines cannot be read, and the first format that is
    found. Raises OSError.

    A log of a few lines has just been rotated, and scanners often come first: beside others, it is no problem.
    """
    problems: list[Problem] = []
    form: LogFormat | None = None
    short: set[str] = set()
    for name in names:
        # A pipe can be read once.
        if Path(name).is_file():
            try:
                with closing(Source(name).blocks(2 * _SAMPLE_BYTES)) as blocks:
                    for first in islice(blocks, 1):
                        short |= {name} if first.count(b"\n") <= _FEW_LINES else set()
                        found = chosen_format(name, _sample(first))
                        form = form or found
            except LogsInvalid as error:
                problems += error.problems
    return [each for each in problems if form is None or each.file not in short], form


def chosen_format(name: str, lines: Sequence[str], log_format: str = "") -> LogFormat:
    """Return the format of a log, as its first lines have it. Raises UnknownFormat."""
    if log_format:
        return format_named(log_format, lines)
    found = found_format(lines)
    if found is None:
        raise UnknownFormat(name, lines)
    return found


def _seconds(text: str | None, seconds: Callable[[str], float]) -> float | None:
    try:
        return None if text is None else seconds(text)
    except (ValueError, OverflowError):
        return None


def _chained(first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from blocks


def _ahead(blocks: Iterable[bytes], read: Callable[[bytes], Block]) -> Iterator[Block]:
    """Yield what `read` makes of the blocks, in their order, a few blocks ahead of who takes them."""
    waiting: deque[Future[Block]] = deque()
    with ThreadPoolExecutor(_READERS) as threads:
        for block in blocks:
            waiting.append(threads.submit(read, block))
            if len(waiting) >= _MAX_WAITING:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
