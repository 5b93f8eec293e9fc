"""Eight workers of two hosts behind one nginx let a limit through once, while their Redis is killed and comes back."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers import require, require_program

ROOT = Path(__file__).resolve().parents[2]


def test_the_fleet_lets_in_what_the_policy_says(tmp_path: Path) -> None:
    require("aiohttp", "h11", "httptools", "redis", "uvicorn", "uvloop", "websockets")
    for program in ("nginx", "redis-server"):
        require_program(program)
    command = [sys.executable, "-m", "examples.many_hosts"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "20 requests while Redis is dead: 20 got 200" in run.stdout


@pytest.mark.thorough
def test_with_on_unknown_deny_nobody_is_let_in_uncounted(tmp_path: Path) -> None:
    require("aiohttp", "h11", "httptools", "redis", "uvicorn", "uvloop", "websockets")
    for program in ("nginx", "redis-server"):
        require_program(program)
    from examples.many_hosts.__main__ import LIMIT, Fleet, story

    with ExitStack() as stack:
        fleet = Fleet(tmp_path, stack, on_unknown="deny")
        parts = story(fleet)
    let_in = sum(statuses[200] for statuses in parts.values())
    unknown = sum(statuses[403] for statuses in parts.values())
    assert set().union(*parts.values()) <= {200, 403, 429}
    assert let_in <= fleet.most()
    assert let_in + unknown >= LIMIT
