"""Clients run as the programs they are, on loopback, in a home of their own."""

import os
import subprocess
from pathlib import Path

from tests.servers import require_program

PACKAGES = {
    "ffprobe": "ffmpeg",
    "gpo": "gpodder",
    "setpriv": "util-linux",
}
"""The Debian package of a program, where it has another name."""


def environment(home: Path) -> dict[str, str]:
    """A home without settings, and a proxy that is not there for a client that would ask the world over HTTPS.

    Not for HTTP: VLC would send requests for loopback there too.
    """
    nowhere = "http://127.0.0.1:9"
    return {
        "HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "dumb",
        "https_proxy": nowhere, "HTTPS_PROXY": nowhere,
    }  # fmt: skip


def run(home: Path, program: str, *arguments: str | Path, code: int = 0) -> str:
    """Runs a program in its home; returns what it said, and fails when its exit code is another."""
    command = [require_program(program, PACKAGES.get(program, "")), *map(str, arguments)]
    done = subprocess.run(
        command, cwd=home, env=environment(home), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False,
    )  # fmt: skip
    said = done.stdout.decode(errors="replace")
    assert done.returncode == code, f"{program} ended with {done.returncode}:\n{said[-4000:]}"
    return said
