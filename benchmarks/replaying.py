"""`noai-guard replay`, lines a second and memory, beside ripgrep that counts lines with one of 300 names."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import NamedTuple

from benchmarks.measure import Bound, Effort, Row
from benchmarks.visitors import agents, people, unique
from noai_guard import load_catalog

_LINES = 10_000_000
_NAMES = 300
_SONGS = 60_000
_LISTENING = 3000
_ROUNDS = 3
_POLICY = 'extends: no-ai\nworks: ["/tracks/{work}", "/audio/{work}.mp3", "/hls/{work}/**"]\n'


class _Run(NamedTuple):
    """What one run took: seconds by the clock and of CPU, and megabytes at most."""

    wall: float
    cpu: float
    megabytes: float


def rows(effort: Effort) -> Iterator[Row]:
    rg = shutil.which("rg")
    with tempfile.TemporaryDirectory(prefix="noai-benchmarks-") as name:
        folder = Path(name)
        (folder / "noai.yaml").write_text(_POLICY)
        forms = [form for agent in load_catalog().agents for form in agent.expected_user_agent]
        (folder / "names").write_text("\n".join(forms[:_NAMES]) + "\n")
        count = effort.of(_LINES, 2000)
        log, tenth = folder / "access.log", folder / "tenth.log"
        write_log(log, count)
        write_log(tenth, count // 10)
        ours = [sys.executable, "-m", "noai_guard", "replay", "--policy", str(folder / "noai.yaml"), "--format", "html"]
        if rg is not None:
            names = [rg, "-c", "-F", "-f", str(folder / "names"), str(log)]
            runs = [(_run(names), _run([*ours, str(log)])) for _ in range(max(1, min(_ROUNDS, effort.rounds)))]
            yield _compared(f"replay of {count:,} lines of nginx", count, runs)
        at_length, at_tenth = (_run([*ours, str(file)]).megabytes for file in (log, tenth))
        what = f"memory of a replay of {count:,} lines"
        yield Row(what, "a tenth of the lines", at_tenth, at_length, "MB", at_length, "MB at most", bound=Bound(600))


def _compared(what: str, count: int, runs: Sequence[tuple[_Run, _Run]]) -> Row:
    """Compare by the clock, because both cores are there to be used, and by CPU time of two cores as "fastest"."""
    ratios = [theirs.wall / ours.wall for theirs, ours in runs]
    theirs, ours = (count / median(pair[which].wall for pair in runs) for which in (0, 1))
    return Row(
        what, f"rg -c of {_NAMES} names", theirs, ours, "1/s", median(ratios), "x", min(ratios), max(ratios),
        best=max(2 * theirs.cpu / ours.cpu for theirs, ours in runs), wall=median(ratios),
        bound=Bound(0.5, at_most=False),
    )  # fmt: skip


def _run(command: Sequence[str]) -> _Run:
    start = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    return _Run(perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000)


def write_log(file: Path, count: int, seed: int = 7) -> None:
    """Write lines as nginx writes them: three quarters of people who listen to a song and then to another, some
    thousands at a time, the rest of apps and agents that take songs at random."""
    random = Random(seed)
    chance = random.random
    browsers = unique({"browsers": 1.0}, 5000) if count > 5000 else people()
    others = (*agents(), *(text for text in people() if not text.startswith(b"Mozilla/")))
    listeners = [(_address(random), _escaped(random.choice(browsers))) for _ in range(min(260_000, count // 10 + 1))]
    robots = [(_address(random), _escaped(random.choice(others))) for _ in range(min(8000, count // 100 + 1))]
    here = [(*random.choice(listeners), int(_SONGS * chance() ** 3)) for _ in range(_LISTENING)]
    with file.open("w", encoding="ascii") as output:
        for number in range(count):
            if chance() < 0.75:
                seat = int(_LISTENING * chance())
                address, user_agent, song = here[seat]
                if chance() < 0.05:
                    client = random.choice(listeners) if chance() < 0.5 else (address, user_agent)
                    here[seat] = (*client, int(_SONGS * chance() ** 3))
            else:
                address, user_agent = robots[int(len(robots) * chance() ** 2)]
                song = int(_SONGS * chance())
            path = _path(random, song)
            referer = f"https://music.example/tracks/song-{song}" if chance() < 0.6 else "-"
            status = 206 if path.endswith("mp3") and chance() < 0.5 else 200
            output.write(
                f"{address} - - [{1 + number * 30 // count:02}/Oct/2026:{number % 24:02}:{number % 60:02}:00 +0000] "
                f'"GET {path} HTTP/1.1" {status} {200 + int(chance() * 300_000)} "{referer}" "{user_agent}"\n'
            )


def _address(random: Random) -> str:
    if random.random() < 0.23:
        return (
            "2a02:" + ":".join(f"{random.randrange(1, 65536):x}" for _ in range(3)) + f"::{random.randrange(1, 999):x}"
        )
    return ".".join(str(random.randrange(1, 223)) for _ in range(4))


def _path(random: Random, song: int) -> str:
    draw = random.random()
    for share, path in (
        (0.25, f"/tracks/song-{song}"),
        (0.45, f"/audio/song-{song}.mp3"),
        (0.60, f"/hls/song-{song}/seg{int(random.random() * 40)}.ts"),
        (0.70, f"/artists/artist-{song // 20}"),
        (0.90, f"/static/cover-{song % 97}.jpg"),
        (0.95, f"/search?q={song}&p={int(random.random() * 1e6)}"),
    ):
        if draw < share:
            return path
    return random.choice(("/", "/robots.txt", "/press/kit.zip", "/feed.xml"))


def _escaped(user_agent: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02X}" for byte in user_agent)
