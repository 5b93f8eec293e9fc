"""The memory of a replay does not grow with the log."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.replaying import write_log
from tests.servers import require

pytestmark = pytest.mark.thorough

_LINES = 260_000
"""Four blocks: of fewer, how many are in memory at once is chance."""


def peak(log: Path) -> int:
    """Return the kilobytes that a replay of a log had in memory at most."""
    command = [sys.executable, "-m", "noai_guard", "replay", str(log)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=log.parent)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_maxrss


def test_eight_times_the_lines_take_little_more_memory(tmp_path: Path) -> None:
    require("polars", "yaml")
    short, long = tmp_path / "short.log", tmp_path / "long.log"
    write_log(short, _LINES)
    with long.open("wb") as output:
        for number in range(8):
            write_log(short, _LINES, seed=number)
            output.write(short.read_bytes())
    assert peak(long) < 1.6 * peak(short)


def test_a_hostile_log_takes_no_more_memory_than_one_of_listeners(tmp_path: Path) -> None:
    usual, hostile = tmp_path / "usual.log", tmp_path / "hostile.log"
    write_log(usual, 200_000)
    with hostile.open("w", encoding="ascii") as output:
        for number in range(60_000):
            output.write(
                f"203.0.{number >> 8 & 255}.{number & 255} - - [10/Oct/2026:13:55:36 +0000] "
                f'"GET /tracks/%7E{number} HTTP/1.1" 200 5 "-" "GPTBot/{number} {"x" * (number % 300)}"\n'
            )
    assert peak(hostile) < 1.6 * peak(usual)
