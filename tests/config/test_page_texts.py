"""Texts of the page for people in another language (site.page_texts)."""

import os
from pathlib import Path

import pytest
import yaml

from noai_guard.config import check_policy, check_policy_text
from noai_guard.config.page_texts import PAGE_TEXTS
from noai_guard.core.policy import Policy
from noai_guard.declarations.policy_page import TEXTS
from noai_guard.errors import Problem
from noai_guard.resources import text, texts


def checked(folder: Path, content: str, name: str = "page.de.yaml") -> tuple[Policy | None, tuple[Problem, ...]]:
    (folder / "page.de.yaml").write_text(content)
    (folder / "noai.yaml").write_text(f"site: {{page_texts: {name}}}\n")
    return check_policy(folder / "noai.yaml")


def test_the_english_texts_are_yaml_that_a_site_can_begin_with(tmp_path: Path) -> None:
    assert yaml.safe_load(text(TEXTS)) == texts(TEXTS)
    policy, problems = checked(tmp_path, text(TEXTS))
    assert policy is not None
    assert problems == ()
    assert policy.page_texts == texts(TEXTS)


def test_the_page_of_the_documentation_has_them_to_copy() -> None:
    documented = (Path(__file__).parents[2] / "docs/standards/policy-page.md").read_text()
    assert f"```text\n{text(TEXTS)}```" in documented


def test_some_texts_are_enough(tmp_path: Path) -> None:
    policy, problems = checked(tmp_path, "lang: pt-BR\nanswer_deny: 'Não'\nfolder: Em {path}\n")
    assert policy is not None
    assert problems == ()
    assert policy.page_texts == {"lang": "pt-BR", "answer_deny": "Não", "folder": "Em {path}"}


@pytest.mark.parametrize(
    ("content", "line", "code", "words"),
    [
        ("lang: de\nfolder: Unter {pfad}\n", 2, "P007", "write {path}"),
        ("lang: de\nfolder: Unter\n", 2, "P007", "write {path}"),
        ("lang: de\nlead_nobody: Von {owner}\n", 2, "P007", "no words in braces"),
        ("lang: de\n\nhedding_no_ai: Nein\n", 3, "P005", "heading_no_ai"),
        ("lang: de\nanswer_deny: no\n", 2, "P006", "'no' in quotes"),
        ("lang: de\nlang: fr\n", 2, "P004", "stands twice"),
        ("lang: Deutsch <b>\n", 1, "P007", "is not a language"),
        ("lang: de\ndirection: up\n", 2, "P009", "ltr"),
        ("answer_deny: Nein\n", 1, "P010", "'lang'"),
        ("lang: [\n", 1, "P002", "never closed"),
        ("", 0, "P010", "'lang'"),
    ],
)
def test_a_mistake_is_reported_with_the_name_and_the_line_of_its_file(
    tmp_path: Path, content: str, line: int, code: str, words: str
) -> None:
    policy, (problem,) = checked(tmp_path, content)
    assert policy is None
    assert (problem.file, problem.line, problem.code) == (str(tmp_path / "page.de.yaml"), line, code)
    assert words in str(problem)


@pytest.mark.parametrize("name", ["page.fr.yaml", "../", "pipe", "/dev/zero", "x" * 400])
def test_a_file_that_cannot_be_read_is_a_problem_and_keeps_nobody_waiting(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    policy, (problem,) = checked(tmp_path, "lang: de\n", name)
    assert policy is None
    assert problem.code == "P001"
    assert problem.hint


def test_en_is_no_file_but_the_packaged_texts(tmp_path: Path) -> None:
    policy, problems = checked(tmp_path, "x: y\n", "en")
    assert policy is not None
    assert (policy.page_texts, problems) == ({}, ())


def test_mistakes_of_both_files_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "page.yaml").write_text("x: y\nlang: de\n")
    _, problems = check_policy_text(b"mode: on\nsite: {page_texts: page.yaml}\n", str(tmp_path / "noai.yaml"))
    assert [(Path(problem.file).name, problem.line) for problem in problems] == [("noai.yaml", 1), ("page.yaml", 1)]


def test_too_many_mistakes_end_the_reading(tmp_path: Path) -> None:
    _, problems = checked(tmp_path, "lang: de\n" + "".join(f"x{number}: y\n" for number in range(300)))
    assert problems[-1].code == "P023"
    assert len(PAGE_TEXTS.fields) <= 200  # as many as are listed where all are missing
