"""Which policy is meant: the one that is named, else noai.yaml where it is here, else the packaged stance."""

import shutil
from pathlib import Path

import click
import pytest

from noai_guard.cli import COMMANDS
from tests.cli.conftest import Run

OPEN = "usages: {train-ai: yes}\ntrusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}\n"
GPTBOT = "Mozilla/5.0 (compatible; GPTBot/1.3)"

ARGUMENTS: dict[str, list[str]] = {
    "explain": ["explain", "--ua", GPTBOT],
    "explain as JSON": ["explain", "--ua", GPTBOT, "--format", "json"],
    "classify": ["classify"],
    "agents": ["agents", "--operator", "OpenAI"],
    "agents as JSON": ["agents", "--operator", "OpenAI", "--format", "json"],
    "agents by name": ["agents", "GPTBot"],
    "build": ["build", "--out", "public"],
    "config": ["config", "nginx", "--out", "conf"],
    "config of a static host": ["config", "netlify", "--out", "public"],
    "config of a cloud": ["config", "cloudflare", "--out", "cloud"],
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def output(run: Run, case: str, *more: str) -> tuple[str, dict[str, str]]:
    """Run a command; return what it printed, without where it wrote it, and the files that it wrote."""
    for folder in ("public", "conf", "cloud"):
        shutil.rmtree(folder, ignore_errors=True)
    printed = run(*ARGUMENTS[case], *more, input=f"{GPTBOT}\n").stdout
    return printed, {str(file): file.read_text() for file in Path().glob("*/**/*") if file.is_file()}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_every_command_takes_noai_yaml_where_it_is_here_and_names_its_policy(run: Run, here: Path, case: str) -> None:
    packaged = output(run, case)
    assert "no-ai (packaged)" in run(*ARGUMENTS[case], input="").output
    (here / "noai.yaml").write_text(OPEN)
    assert output(run, case) != packaged
    assert output(run, case) == output(run, case, "--policy", "noai.yaml")
    assert "noai.yaml" in run(*ARGUMENTS[case], input="").output
    (here / "other.yaml").write_text("extends: no-ai\n")
    assert "other.yaml" in run(*ARGUMENTS[case], "--policy", "other.yaml", input="").output


@pytest.mark.parametrize("case", ARGUMENTS)
@pytest.mark.parametrize("kind", ["mistakes", "a folder", "a link that leads nowhere"])
def test_a_noai_yaml_that_cannot_be_used_is_never_passed_over(run: Run, here: Path, case: str, kind: str) -> None:
    file = here / "noai.yaml"
    if kind == "mistakes":
        file.write_text("mode: nonsense\n")
    elif kind == "a folder":
        file.mkdir()
    else:
        file.symlink_to("nowhere.yaml")
    result = run(*ARGUMENTS[case], input="", code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("noai.yaml:")


@pytest.mark.parametrize("case", [case for case in ARGUMENTS if case != "explain" and case != "check"])
def test_standard_output_is_for_programs_and_the_policy_is_named_beside_it(run: Run, case: str) -> None:
    result = run(*ARGUMENTS[case], input=f"{GPTBOT}\n")
    assert "(packaged)" not in result.stdout
    assert result.stderr.splitlines()[-1] == "policy: no-ai (packaged)"


def test_every_command_that_takes_a_policy_is_tried_here() -> None:
    from importlib import import_module

    def takes_policy(command: click.Command) -> bool:
        below = command.commands.values() if isinstance(command, click.Group) else ()
        return any(param.name == "policy_file" for param in command.params) or any(map(takes_policy, below))

    taking = {name for name in COMMANDS if takes_policy(import_module(f"noai_guard.cli.{name}").command)}
    # serve is tried in tests/server/test_serve_command.py; the others want more of a policy, and are tried in files of
    # their own.
    others = {"creators", "events", "evidence", "ledger", "partners", "refresh", "replay", "report", "serve", "tag"}
    assert taking == {case.split()[0] for case in ARGUMENTS} | others
