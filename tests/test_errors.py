"""Exceptions and how problems are printed."""

import pytest

from noai_guard.errors import (
    CannotExpress,
    CatalogInvalid,
    Invalid,
    MissingExtra,
    NoAIGuardError,
    PolicyInvalid,
    Problem,
    Unanswered,
)


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (
            Problem("P012", "unknown usage 'trian-ai'", "did you mean 'train-ai'?", "noai.yaml", 14, 7),
            "noai.yaml:14:7: P012 unknown usage 'trian-ai'; did you mean 'train-ai'?",
        ),
        (
            Problem("P016", "rule 'b' is never reached", "", "noai.yaml", 3, 5, warning=True),
            "noai.yaml:3:5: warning: P016 rule 'b' is never reached",
        ),
        (Problem("P001", "cannot be read", "", "noai.yaml"), "noai.yaml: P001 cannot be read"),
        (Problem("P009", "unknown stance 'x'"), "P009 unknown stance 'x'"),
        (Problem("P021", "the file says nothing", warning=True), "warning: P021 the file says nothing"),
    ],
)
def test_a_problem_is_one_line_that_an_editor_can_jump_to(problem: Problem, line: str) -> None:
    assert str(problem) == line


def test_problems_are_sorted_in_file_order() -> None:
    last, first, other = (
        Problem("P009", "c", "", "a", 9, 1),
        Problem("P005", "a", "", "a", 2, 8),
        Problem("P005", "b", "", "b"),
    )
    error = PolicyInvalid(iter([other, last, first]))
    assert error.problems == (first, last, other)
    assert str(error) == "a:2:8: P005 a\na:9:1: P009 c\nb: P005 b"


@pytest.mark.parametrize(
    "error", [PolicyInvalid([]), CatalogInvalid([]), CannotExpress(), Unanswered(), MissingExtra("redis", "x")]
)
def test_one_except_clause_catches_every_exception_of_noai_guard(error: Exception) -> None:
    assert isinstance(error, NoAIGuardError)
    assert isinstance(error, Invalid) == isinstance(error, PolicyInvalid | CatalogInvalid)


def test_a_missing_extra_is_an_import_error_with_the_command_to_type() -> None:
    error = MissingExtra("redis", "counting across workers")
    assert isinstance(error, ImportError)
    assert str(error) == "counting across workers needs an optional dependency: pip install 'noai-guard[redis]'"
