"""Programs that these tests run when they are installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "examples" / "monitoring" / "prometheus"


def program(name: str) -> str:
    """Where it is. Skips the test when it is not installed, or fails it where NOAI_REQUIRE=all."""
    found = shutil.which(name)
    if found is None and os.environ.get("NOAI_REQUIRE") == "all":
        pytest.fail(f"{name} is not installed (apt-get install prometheus), and NOAI_REQUIRE=all")
    if found is None:
        pytest.skip(f"{name} is not installed (apt-get install prometheus)")
    return found


def promtool(*arguments: str, given: str | None = None) -> None:
    """Fails with what promtool says."""
    done = subprocess.run(
        [program("promtool"), *arguments], cwd=RULES, input=given, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
