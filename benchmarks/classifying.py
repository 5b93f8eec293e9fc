"""`noai-guard classify`, lines a second, its start included."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.measure import Bound, Effort, Row, processes
from benchmarks.visitors import MIX, unique

_CASES = (("repeated", 1_000_000, 200_000.0), ("unique", 250_000, 50_000.0))
_ROUNDS = 5


def rows(effort: Effort) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="noai-benchmarks-") as folder:
        for kind, usual, bound in _CASES:
            count = effort.of(usual, 100)
            lines = unique(MIX, count) if kind == "unique" else unique(MIX, 300) * (count // 300 + 1)
            file = Path(folder) / kind
            file.write_bytes(b"\n".join(lines) + b"\n")
            commands = {
                name: ["sh", "-c", f'exec "$0" {arguments} < "$1"', sys.executable, str(file)]
                for name, arguments in (("ours", "-m noai_guard classify"), ("echo", f"-c '{_ECHO}'"))
            }
            timings = processes(commands, max(1, min(_ROUNDS, effort.rounds)))
            ours, echo = (len(lines) / median(timings[name].cpu) for name in ("ours", "echo"))
            yield Row(
                f"classify, {kind} lines",
                "a loop that prints {ua} as JSON",
                echo,
                ours,
                "1/s",
                ours,
                "lines/s",
                low=len(lines) / max(timings["ours"].cpu),
                high=len(lines) / min(timings["ours"].cpu),
                wall=len(lines) / median(timings["ours"].wall),
                bound=Bound(bound, at_most=False),
            )


_ECHO = (
    "import sys, json\n"
    'for line in sys.stdin.buffer: sys.stdout.write(json.dumps({"ua": line[:-1].decode("latin-1")}) + "\\\\n")'
)
