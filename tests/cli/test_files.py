"""The files for operators: listed, printed and written, and those of the repository."""

from pathlib import Path

import pytest

from noai_guard.resources import FOR_OPERATORS
from tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]


def test_the_list_names_every_file_and_says_what_it_is(run: Run) -> None:
    lines = run("files").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(FOR_OPERATORS)
    assert all(len(line.split(maxsplit=1)[1]) > 10 for line in lines)


@pytest.mark.parametrize("name", FOR_OPERATORS)
def test_a_name_prints_that_file_byte_by_byte(run: Run, name: str) -> None:
    assert run("files", name).stdout_bytes == (ROOT / FOR_OPERATORS[name]).read_bytes()


def test_a_folder_gets_all_files_or_the_named_ones_and_a_second_time_nothing(run: Run, tmp_path: Path) -> None:
    run("files", "noai-guard.service", "--out", str(tmp_path / "one"))
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["noai-guard.service"]
    run("files", "--out", str(tmp_path / "all"))
    for name, path in FOR_OPERATORS.items():
        assert (tmp_path / "all" / name).read_bytes() == (ROOT / path).read_bytes()
    assert "wrote" not in run("files", "--out", str(tmp_path / "all")).stdout


def test_every_file_that_another_one_names_is_among_them(run: Run) -> None:
    alerts = {f"prometheus/{path.name}" for path in (ROOT / "examples/monitoring/prometheus").glob("*.yml")}
    dashboards = {f"grafana/{path.name}" for path in (ROOT / "examples/monitoring/grafana").glob("*.json")}
    assert {name for name in alerts if not name.endswith("_test.yml")} | dashboards <= set(FOR_OPERATORS)
    for folder in ("prometheus", "grafana", "grafana-provisioning"):
        assert f"./{folder}:" in run("files", "docker-compose.yml").stdout
        assert any(name.startswith(f"{folder}/") for name in FOR_OPERATORS)


def test_a_misspelt_name_is_guessed(run: Run) -> None:
    assert "did you mean 'noai-guard.service'?" in run("files", "noaiguard.service", code=2).stderr
    assert "noai-guard files lists them" in run("files", "xyzzy", code=2).stderr
