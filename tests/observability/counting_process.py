"""Runs code in processes that share a folder of metrics, and reads the folder."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from noai_guard.observability.multiprocess import WorkersCollector

SETUP = """
import os, signal, sys, threading, time
import prometheus_client
from noai_guard import load_catalog, load_stance
from noai_guard.compiled import CompiledPolicy
from noai_guard.observability.metrics import Telemetry
telemetry = Telemetry()
flush = telemetry.metrics.flush
compiled = CompiledPolicy(load_stance(), load_catalog())
counts = telemetry.counts(compiled.guard.judged("/", b"GPTBot/1.2"))
"""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def start(folder: Path, code: str) -> subprocess.Popen[str]:
    """Start a process that counts; it can be told to go on by a line on its standard input."""
    return subprocess.Popen(
        [sys.executable, "-c", SETUP + code],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, code: str) -> str:
    """Run a process that counts to its end; return what it printed."""
    output, _ = start(folder, code).communicate(timeout=120)
    return output


def samples(folder: Path) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in WorkersCollector(folder).collect()
        for sample in metric.samples
    }


def total(folder: Path, name: str) -> float:
    return sum(value for (sample, _), value in samples(folder).items() if sample == name)


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until `holds()` is true; raise AssertionError if it does not happen in time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def names(folder: Path, pattern: str = "*.db") -> set[str]:
    return {path.name for path in folder.glob(pattern)}
