"""What the documentation shows, works."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest

from noai_guard.config import check_policy_text

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "rules" / "README.md"]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language, those that stand indented in a list included."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [dedent(code) for _, code in found]


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/start.md",
        "docs/how-to/several-workers.md",
        "docs/how-to/opentelemetry.md",
        "docs/how-to/status-page.md",
        "docs/how-to/monitoring.md",
        "docs/how-to/wsgi.md",
    ],
)
def test_python_in_the_documentation_runs_in_order(page: str) -> None:
    code = "\n".join(blocks(ROOT / page, "python"))
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_policies_in_the_documentation_have_no_problem(page: Path) -> None:
    for text in blocks(page, "yaml") if page.name != "problems.md" else ():
        if "operator:" in text or "expected_user_agent" in text or "wrong" in text:
            continue
        _, problems = check_policy_text(text.encode())
        assert not [str(problem) for problem in problems if not problem.warning]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


def test_commands_in_the_readme_exist() -> None:
    said = set(re.findall(r"^noai-guard (\w+)", "".join(blocks(ROOT / "README.md", "sh")), re.MULTILINE))
    done = subprocess.run([sys.executable, "-m", "noai_guard", "--help"], capture_output=True, text=True, check=True)
    assert said
    assert said <= set(re.findall(r"^  (\w+) ", done.stdout, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_in_the_documentation_exist(page: Path) -> None:
    for name, line in re.findall(r"^noai-guard (\w+)(.*)$", "".join(blocks(page, "sh")), re.MULTILINE):
        assert set(re.findall(r"\s(--[a-z-]+)", line)) <= options_of(name) | {"--help"}, line


def test_every_option_of_serve_is_explained() -> None:
    told = (ROOT / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(--[a-z-]+)", told, re.MULTILINE)) == options_of("serve")


def options_of(name: str) -> set[str]:
    command = import_module(f"noai_guard.cli.{name}").command
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


RECIPES = (ROOT / "docs" / "how-to" / "frameworks.md").read_text(encoding="utf-8")


def test_the_code_of_the_framework_recipes_is_that_of_the_examples() -> None:
    seen = 0
    for section in RECIPES.split("\n## ")[1:]:
        examples = [(ROOT / path).read_text() for path in re.findall(r"\(../../(examples/\w+/app.py)\)", section)]
        for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
            lines = [line.replace('"noai.yaml"', '"examples/one_song/noai.yaml"') for line in code.splitlines() if line]
            missing = [[line for line in lines if line not in example] for example in examples]
            assert [] in missing, missing
            seen += 1
    assert seen == 6


def test_the_servers_of_the_framework_recipes_serve_what_is_there() -> None:
    said = re.findall(r"examples\.(\w+)\.app:(\w+)", RECIPES)
    assert len(said) == 8
    for name, attribute in said:
        assert re.search(rf"^{attribute} = ", (ROOT / "examples" / name / "app.py").read_text(), re.MULTILINE)
