"""Templates and other text files of the package."""

import pytest

from noai_guard import resources


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(
        resources, "text", {"a.conf": "set __FIRST__;\nif (__FIRST__ ~ __SECOND_ONE__) { __x__ }"}.__getitem__
    )
    return "a.conf"


def test_every_placeholder_is_filled_wherever_it_stands(template: str) -> None:
    assert resources.filled(template, first="$a", second_one=r"\d") == "set $a;\nif ($a ~ \\d) { __x__ }"


def test_a_placeholder_without_a_value_is_an_error(template: str) -> None:
    with pytest.raises(KeyError, match="second_one"):
        resources.filled(template, first="1")


def test_a_value_without_a_placeholder_is_an_error(template: str) -> None:
    with pytest.raises(KeyError, match="no placeholder for third"):
        resources.filled(template, first="1", second_one="2", third="3")


def test_lines_stand_as_their_placeholder_is_indented_and_no_lines_leave_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "text", {"a": "{\n  __SOME__\n\t__NONE__\n}\n"}.__getitem__)
    assert resources.filled("a", some=(line for line in ("a;", "__B__;")), none=()) == "{\n  a;\n  __B__;\n}\n"


@pytest.mark.parametrize("text", ["set __LINES__;\n", "__LINES__;\n", "  __LINES__"])
def test_lines_cannot_stand_inside_a_line(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(resources, "text", {"a": text}.__getitem__)
    with pytest.raises(ValueError, match="alone on its line"):
        resources.filled("a", lines=["a"])
