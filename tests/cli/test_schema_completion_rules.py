import json
import shutil
import subprocess
from pathlib import Path

import pytest

from noai_guard.config import load_catalog, rules_folder
from tests.cli.conftest import Run

SCHEMA = rules_folder() / "schema"


@pytest.mark.parametrize("of", ["policy", "agent", "event"])
def test_the_packaged_schema_is_what_the_loader_means(run: Run, of: str) -> None:
    printed = run("schema", of).stdout
    assert json.loads(printed)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (SCHEMA / f"{of}.schema.json").read_text() == printed, (
        f"noai-guard schema {of} > rules/schema/{of}.schema.json"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_one_that_the_shell_reads(run: Run, shell: str) -> None:
    script = run("completion", shell).stdout
    assert "_NOAI_GUARD_COMPLETE" in script
    if found := shutil.which(shell):
        assert subprocess.run([found, "-n"], input=script, text=True, capture_output=True, timeout=10).returncode == 0


def test_tab_completes_commands_and_options(run: Run) -> None:
    import os
    import sys

    environment = {**os.environ, "_NOAI_GUARD_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    for words, expected in (("noai-guard cl", "plain,classify\n"), ("noai-guard --ver", "plain,--version\n")):
        answer = subprocess.run(
            [sys.executable, "-m", "noai_guard"],
            env={**environment, "COMP_WORDS": words},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert answer.stdout == expected


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A rules folder with one operator."""
    folder = tmp_path / "rules"
    (folder / "agents").mkdir(parents=True)
    shutil.copytree(rules_folder() / "policies", folder / "policies")
    shutil.copy(rules_folder() / "agents" / "openai.yaml", folder / "agents")
    (folder / "browsers.yaml").write_text("groups: [{name: desktop, user_agents: [Firefox]}]\n")
    return folder


def test_rules_check_is_fine_with_a_good_catalogue(run: Run, rules: Path) -> None:
    assert "fine" in run("rules", "check", "--rules", str(rules)).stdout


def test_rules_check_lists_every_problem_of_every_file(run: Run, rules: Path) -> None:
    (rules / "agents" / "bad.yaml").write_text("operator: X\nagents:\n  - {name: x, usages: [eating]}\nbogus: 1\n")
    lines = run("rules", "check", "--rules", str(rules), code=1).stdout.splitlines()
    assert len(lines) > 3
    assert all(line.startswith("bad.yaml:") for line in lines)


def test_rules_check_tries_samples_look_alikes_and_browsers(run: Run, rules: Path) -> None:
    file = rules / "agents" / "openai.yaml"
    file.write_text(file.read_text().replace('- "NotGPTBot/1.0"', '- "GPTBot/9"').replace('- "GPTBot"\n', '- "GPT"\n'))
    (rules / "browsers.yaml").write_text("groups: [{name: desktop, user_agents: [GPTBot]}]\n")
    text = run("rules", "check", "--rules", str(rules), code=1).stdout
    assert "C004 GPTBot: the sample 'GPT' is taken for nobody" in text
    assert "C005 GPTBot: the look-alike 'GPTBot/9' is taken for it" in text
    assert "C006 desktop: 'GPTBot' is taken for GPTBot" in text


def test_rules_compile_writes_what_is_loaded(run: Run, rules: Path) -> None:
    text = run("rules", "compile", "--rules", str(rules)).stdout
    assert Path(text.strip()).is_relative_to(rules)
    assert load_catalog(rules).operators == ("OpenAI",)
