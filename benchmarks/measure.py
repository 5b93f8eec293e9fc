"""Interleaved measurement, and the rows it gives.

Contenders run in turns, a batch each, in an order that turns over every round, and are compared round by round:
what else the machine does in a second falls on all of them. CPU time decides, wall time stands beside it.
"""

import gc
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter, thread_time

Batch = Callable[[], int]
"""Does some work and returns how many operations that was."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: `rounds` of batches of `share` times the usual size."""

    rounds: int
    share: float

    def of(self, usual: int, least: int = 1) -> int:
        return max(least, int(usual * self.share))


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds an operation, one value a round."""

    cpu: tuple[float, ...]
    wall: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    limit: float
    at_most: bool = True

    def met_by(self, figure: float) -> bool:
        return figure <= self.limit if self.at_most else figure >= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `base` and `ours` are medians in `unit`; `figure` in `figure_unit` is what the bound is about,
    `low` and `high` its quartiles over the rounds, `best` the figure from the fastest rounds, `wall` the one by
    wall time. None where there is no such thing.
    """

    what: str
    baseline: str
    base: float | None
    ours: float
    unit: str
    figure: float
    figure_unit: str
    low: float | None = None
    high: float | None = None
    best: float | None = None
    wall: float | None = None
    bound: Bound | None = None

    @property
    def met(self) -> bool | None:
        return None if self.bound is None else self.bound.met_by(self.figure)


def interleaved(
    contenders: Mapping[str, Batch],
    rounds: int,
    before_each: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = thread_time,
) -> dict[str, Timing]:
    """Runs every contender once to warm up, then `rounds` times in turns. `before_each` is not measured.

    `clock` gives the CPU seconds that are compared.
    """
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    for name in order:
        before_each()
        contenders[name]()
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        for name in order:
            before_each()
            wall_start, cpu_start = perf_counter(), clock()
            operations = contenders[name]()
            cpu[name].append((clock() - cpu_start) / operations)
            wall[name].append((perf_counter() - wall_start) / operations)
        order.reverse()
    gc.unfreeze()
    return {name: Timing(tuple(cpu[name]), tuple(wall[name])) for name in contenders}


def processes(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, Timing]:
    """As `interleaved`, for child processes; their CPU time is what the kernel says they used.

    Raises CalledProcessError when one fails.
    """

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    cpu: dict[str, list[float]] = {name: [] for name in commands}
    wall: dict[str, list[float]] = {name: [] for name in commands}
    order = list(commands)
    for turn in range(rounds + 1):
        for name in order:
            wall_start, cpu_start = perf_counter(), spent()
            subprocess.run(commands[name], check=True, stdout=subprocess.DEVNULL)
            if turn:
                cpu[name].append(spent() - cpu_start)
                wall[name].append(perf_counter() - wall_start)
        order.reverse()
    return {name: Timing(tuple(cpu[name]), tuple(wall[name])) for name in commands}


def ratio(what: str, ours: Timing, base: Timing, baseline: str, bound: float | None = None, unit: str = "µs") -> Row:
    """How many times the baseline ours takes."""
    return _compared(what, ours, base, baseline, unit, "x", lambda a, b: a / b, _at_most(bound))


def faster(what: str, ours: Timing, base: Timing, baseline: str, bound: float | None = None, unit: str = "µs") -> Row:
    """The rate of ours against that of the baseline, from time an operation."""
    wanted = None if bound is None else Bound(bound, at_most=False)
    return _compared(what, ours, base, baseline, unit, "x", lambda a, b: b / a, wanted)


def percent_added(what: str, ours: Timing, base: Timing, baseline: str, bound: float | None = None) -> Row:
    return _compared(what, ours, base, baseline, "µs", "% added", lambda a, b: (a / b - 1) * 100, _at_most(bound))


def added(what: str, ours: Timing, base: Timing, baseline: str, bound: float | None = None) -> Row:
    """What ours takes more, in microseconds."""
    return _compared(what, ours, base, baseline, "µs", "µs added", lambda a, b: (a - b) * 1e6, _at_most(bound))


def _at_most(limit: float | None) -> Bound | None:
    return None if limit is None else Bound(limit)


_SCALE = {"ns": 1e9, "µs": 1e6, "ms": 1e3, "s": 1.0}


def _compared(
    what: str,
    ours: Timing,
    base: Timing,
    baseline: str,
    unit: str,
    figure_unit: str,
    figure: Callable[[float, float], float],
    bound: Bound | None,
) -> Row:
    by_round = [figure(a, b) for a, b in zip(ours.cpu, base.cpu, strict=True)]
    low, _, high = quantiles(by_round, n=4) if len(by_round) > 1 else by_round * 3
    return Row(
        what,
        baseline,
        median(base.cpu) * _SCALE[unit],
        median(ours.cpu) * _SCALE[unit],
        unit,
        median(by_round),
        figure_unit,
        low,
        high,
        figure(min(ours.cpu), min(base.cpu)),
        median(figure(a, b) for a, b in zip(ours.wall, base.wall, strict=True)),
        bound,
    )


def python(code: str) -> list[str]:
    """The command that runs `code` in a fresh interpreter of this environment."""
    return [sys.executable, "-c", code]


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
