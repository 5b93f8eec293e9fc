"""The deployment files: systemd and a linter accept them, and the options in them exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from noai_guard.cli import main
from noai_guard.cli.serve import command
from tests.servers import require_program

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
UNIT = DEPLOY / "noai-guard.service"


@pytest.mark.parametrize("name", [UNIT.name, "noai-guard-refresh.service", "noai-guard-prune.service"])
def test_systemd_accepts_the_unit_and_finds_it_well_sandboxed(tmp_path: Path, name: str) -> None:
    analyze = require_program("systemd-analyze", "systemd")
    unit = tmp_path / name
    unit.write_text((DEPLOY / name).read_text().replace("/opt/noai-guard/bin/noai-guard", sys.executable))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    # In tenths; 2.0 is "OK", a usual service has 9.6. The rest is its access to the network.
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["noai-guard-refresh", "noai-guard-prune"])
def test_systemd_accepts_the_timer(tmp_path: Path, name: str) -> None:
    analyze = require_program("systemd-analyze", "systemd")
    for ending in ("service", "timer"):
        text = (DEPLOY / f"{name}.{ending}").read_text().replace("/opt/noai-guard/bin/noai-guard", sys.executable)
        (tmp_path / f"{name}.{ending}").write_text(text)
    timer = str(tmp_path / f"{name}.timer")
    done = subprocess.run([analyze, "verify", timer], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", sorted(DEPLOY.glob("*.service")), ids=lambda unit: unit.name)
def test_the_command_of_each_unit_exists(unit: Path) -> None:
    (started,) = re.findall(r"(?m)^ExecStart=/opt/noai-guard/bin/noai-guard (.*)$", unit.read_text())
    arguments = [word for word in started.partition(" --policy")[0].split() if not word.startswith("$")]
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert result.exit_code == 0
    assert "--policy" in result.output


def test_the_container_file_has_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    hadolint = require_program("hadolint")
    done = subprocess.run([hadolint, str(DEPLOY / "Containerfile")], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_options_in_the_files_exist() -> None:
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    for file in (UNIT, DEPLOY / "Containerfile"):
        started = [line for line in file.read_text().splitlines() if re.match("Exec|Environment=|ENTRYPOINT|CMD", line)]
        used = set(re.findall(r"[ \"](--[a-z-]+)", "\n".join(started)))
        assert used
        assert used <= known
