import re
from pathlib import Path

import pytest

from noai_guard.cli.init import template
from noai_guard.config import check_policy_text, load_stance
from noai_guard.config.policy_schema import POLICY_FILE, STANCES
from noai_guard.config.schema_types import Record
from tests.cli.conftest import Run, Write


def uncommented(text: str) -> str:
    first, *rest = text.splitlines(keepends=True)
    return first + "".join(re.sub(r"^# ?", "", line) for line in rest)


@pytest.mark.parametrize("stance", STANCES)
def test_the_written_file_is_fine_and_means_the_stance(run: Run, tmp_path: Path, stance: str) -> None:
    file = tmp_path / "noai.yaml"
    run("init", "--stance", stance, "--out", str(file))
    policy, problems = check_policy_text(file.read_bytes())
    assert problems == ()
    assert policy == load_stance(stance)


@pytest.mark.parametrize("stance", STANCES)
def test_the_file_is_fine_with_every_key_in_use(stance: str) -> None:
    policy, problems = check_policy_text(uncommented(template(load_stance(stance))).encode())
    assert problems == ()
    assert policy is not None
    assert policy.usages == load_stance(stance).usages
    assert policy.declarations == load_stance(stance).declarations
    assert len(policy.rules) == len(policy.path_policies) == 1


def test_every_key_of_a_policy_stands_in_the_file_with_its_meaning() -> None:
    text = template(load_stance())

    def keys(record: Record) -> None:
        for name, field in record.fields.items():
            assert re.search(rf"^(?:##? )? *(?:- )?{name}:.*# {re.escape(field.doc)}", text, re.MULTILINE), name
            if isinstance(field.value_type, Record):
                keys(field.value_type)

    keys(POLICY_FILE)


def test_editors_find_the_schema() -> None:
    assert template(load_stance()).startswith("# yaml-language-server: $schema=noai.schema.json\n")


def test_no_file_is_overwritten_without_force(run: Run, write: Write, tmp_path: Path) -> None:
    file = write("mode: monitor\n")
    assert "--force" in run("init", "--out", file, code=2).stderr
    assert (tmp_path / "noai.yaml").read_text() == "mode: monitor\n"
    run("init", "--out", file, "--force")
    assert "extends: no-ai" in (tmp_path / "noai.yaml").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["noai.yaml"]


def test_a_dash_is_standard_output_and_nothing_else_is_on_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("init", "--out", "-")
    assert result.stdout == template(load_stance())
    assert "known agents" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_init_says_whom_it_refuses_and_whom_it_cannot(run: Run, tmp_path: Path) -> None:
    text = run("init", "--out", str(tmp_path / "noai.yaml")).stdout
    assert re.search(r"\d+ train-ai +GPTBot, ClaudeBot", text)
    assert "Google-Extended" in text
    assert "Googlebot" in text


def test_init_names_fewer_for_no_training(run: Run, tmp_path: Path) -> None:
    text = run("init", "--stance", "no-training", "--out", str(tmp_path / "noai.yaml")).stdout
    assert "train-ai" in text
    assert "ai-search" not in text
