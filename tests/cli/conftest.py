"""Fixtures that run the real command in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from noai_guard.cli import main

Run = Callable[..., Result]
Write = Callable[[str], str]


@pytest.fixture
def run() -> Run:
    """Return a function that runs a command as typed in a shell; a traceback fails the test."""

    def runs(*arguments: str, input: bytes | str | None = None, code: int = 0) -> Result:
        result = CliRunner().invoke(main, arguments, input=input, prog_name="noai-guard")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        return result

    return runs


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a noai.yaml and returns its name."""

    def writes(text: str) -> str:
        file = tmp_path / "noai.yaml"
        file.write_text(text, encoding="utf-8")
        return str(file)

    return writes
