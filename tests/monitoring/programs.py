"""Programs that these tests run when they are installed."""

import subprocess
from pathlib import Path

from tests.servers import require_program

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "examples" / "monitoring" / "prometheus"


def promtool(*arguments: str, given: str | None = None) -> None:
    """Fails with what promtool says."""
    done = subprocess.run(
        [require_program("promtool", "prometheus"), *arguments],
        cwd=RULES,
        input=given,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
