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
