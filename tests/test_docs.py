"""The documentation works as it is shown, and is complete."""

import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import noai_guard
from noai_guard import creators
from noai_guard.config import check_policy_text
from noai_guard.core.model import Action, Verdict
from noai_guard.core.questions import AsyncStore, Count, FirstUse, Keep, Lookup, Store
from noai_guard.declarations import json_ld
from noai_guard.declarations.rsl import FeedTerms
from noai_guard.gateway.app import Gateway
from noai_guard.observability.metrics_wsgi_app import metrics_wsgi_app
from noai_guard.observability.opentelemetry import export_metrics, traced
from noai_guard.observability.status_page import status_app
from noai_guard.record.transparency_app import transparency_app
from noai_guard.record.transparency_wsgi_app import transparency_wsgi_app
from noai_guard.stores.memory import MemoryStore
from noai_guard.stores.router import AwaitedStore

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
TOP = [ROOT / f"{name}.md" for name in ("ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "README", "SECURITY")]
PAGES = [*TOP, *sorted(DOCS.rglob("*.md")), ROOT / "rules" / "README.md"]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language, those that stand indented in a list included."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [dedent(code) for _, code in found]


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/start.md",
        "docs/how-to/creators-wishes.md",
        "docs/how-to/several-workers.md",
        "docs/how-to/opentelemetry.md",
        "docs/how-to/status-page.md",
        "docs/how-to/monitoring.md",
        "docs/how-to/creators-page.md",
        "docs/how-to/wsgi.md",
        "docs/reference/python.md",
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


def linked_pages(page: Path) -> set[Path]:
    """Return the pages of docs/ that a page links to."""
    links = re.findall(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    return {(page.parent / link).resolve() for link in links}


def test_every_page_is_linked_from_the_index_or_from_the_index_of_its_folder() -> None:
    linked = linked_pages(DOCS / "README.md")
    for index in sorted(page for page in linked if page.name == "README.md"):
        linked |= {page for page in linked_pages(index) if page.parent == index.parent}
    assert set(DOCS.rglob("*.md")) - {DOCS / "README.md"} == {page for page in linked if page.is_relative_to(DOCS)}


def pages_in(navigation: Any) -> Iterator[str]:
    """Yield the paths of a navigation, which is a list of paths and of titled lists."""
    if isinstance(navigation, str):
        yield navigation
    else:
        for entry in navigation.values() if isinstance(navigation, dict) else navigation:
            yield from pages_in(entry)


def test_every_page_is_in_the_navigation_of_the_site_once() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    assert sorted(pages_in(site["nav"])) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_of_the_site_links_to_a_file_that_is_not_in_it(page: Path) -> None:
    if page.is_relative_to(DOCS):
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        assert not [link for link in links if not (page.parent / link).resolve().is_relative_to(DOCS)]


API = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
FUNCTIONS: tuple[Callable[..., Any], ...] = (
    noai_guard.NoAIMiddleware, noai_guard.NoAIWSGIMiddleware, Gateway, noai_guard.metrics_app, metrics_wsgi_app, status_app,
    noai_guard.load_policy, noai_guard.load_stance, noai_guard.load_catalog, noai_guard.Guard, noai_guard.Guard.examine,
    noai_guard.Guard.judged, noai_guard.PlainRequest, MemoryStore, AwaitedStore, FeedTerms, FeedTerms.element,
    json_ld.reservation, json_ld.script, export_metrics, traced, transparency_app, creators.app,
    transparency_wsgi_app,
)  # fmt: skip


@pytest.mark.parametrize(
    "name", [*noai_guard.__all__, *(each.__name__ for each in (AsyncStore, Count, FirstUse, Keep, Lookup, Store))]
)
def test_every_public_name_is_in_the_reference_of_the_python_api(name: str) -> None:
    assert re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", API)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
def test_every_parameter_is_in_the_reference_of_the_python_api(function: Callable[..., Any]) -> None:
    code = " ".join(re.findall(r"`([^`\n]+)`", API))
    assert re.search(rf"\b{function.__name__}\b", code)
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    assert not [name for name in names if not re.search(rf"\b{name}\b", code)]


def test_the_defaults_in_the_reference_of_the_python_api_are_those_of_the_code() -> None:
    for function in (noai_guard.NoAIMiddleware, Gateway):
        section = API.partition(f"\n## {function.__name__}\n")[2].partition("\n## ")[0]
        rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", section, re.MULTILINE))
        assert rows
        parameters = inspect.signature(function).parameters
        assert rows == {name: str(parameters[name].default) for name in rows}


def test_every_field_of_a_verdict_and_every_action_is_in_the_reference_of_the_python_api() -> None:
    section = API.partition("\n## Verdict\n")[2].partition("\n## ")[0]
    rows = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert rows == {*Verdict.__dataclass_fields__, "refuses"}
    assert not [action.name for action in Action if f"`{action.name}`" not in section]


@pytest.mark.parametrize("page", TOP, ids=lambda page: page.name)
def test_paths_and_make_targets_that_the_pages_for_contributors_name_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"[`/ ]((?:noai_guard|tests|docs|rules|examples|deploy)/[\w./-]*)[`/:;, ]", text)
    assert not [path for path in paths if "your" not in path and not (ROOT / path).exists()]
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert targets <= set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_layers_of_the_architecture_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    section = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Who may import whom")[2]
    assert "\n".join(layers) in section


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
    commands = [command, *getattr(command, "commands", {}).values()]
    parameters = [parameter for each in commands for parameter in each.params]
    return {option for parameter in parameters for option in parameter.opts if option.startswith("--")}


RECIPES = (ROOT / "docs" / "how-to" / "frameworks.md").read_text(encoding="utf-8")


def test_the_code_of_the_framework_recipes_is_that_of_the_examples() -> None:
    seen = 0
    for section in RECIPES.split("\n## ")[1:]:
        examples = [(ROOT / path).read_text() for path in re.findall(r"`(examples/\w+/app.py)`", section)]
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
