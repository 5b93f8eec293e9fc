"""The real command, in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from noai_guard.cli import main

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """`run("check", "noai.yaml")` as typed in a shell; a traceback fails the test."""

    def runs(*arguments: str, input: bytes | str | None = None, code: int = 0) -> Result:
        result = CliRunner().invoke(main, arguments, input=input, prog_name="noai-guard")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        return result

    return runs


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Writes a noai.yaml and gives its name."""

    def writes(text: str) -> str:
        file = tmp_path / "noai.yaml"
        file.write_text(text, encoding="utf-8")
        return str(file)

    return writes
