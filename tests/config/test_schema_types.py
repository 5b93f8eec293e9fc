import pytest

from noai_guard.config import check_policy_text
from noai_guard.config.policy_schema import POLICY_FILE
from noai_guard.config.schema_types import (
    FLAG,
    Choice,
    Field,
    ListOf,
    ListOrRecord,
    MapOf,
    Number,
    Record,
    Text,
    ValueType,
)
from noai_guard.core.text import did_you_mean


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"exemptions: {{agents: [{'GPTBot, ' * 1001}]}}", "more than 1000 entries"),
        ("rules: [" + "{agents: GPTBot, action: deny}, " * 301 + "]", "more than 300 entries"),
        ("paths:\n" + "".join(f"  /{number}/**: {{}}\n" for number in range(501)), "more than 500 entries"),
    ],
)
def test_more_entries_than_can_be_judged_fast_are_refused(text: str, words: str) -> None:
    policy, (problem,) = check_policy_text(text.encode())
    assert policy is None
    assert problem.code == "P008"
    assert words in problem.message


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("trian-ai", "did you mean 'train-ai'?"),
        ("TRAIN-AI", "did you mean 'train-ai'?"),
        ("x", ""),
        ("a" * 100_000, ""),
    ],
)
def test_the_hint_for_a_misspelt_word_is_the_nearest_known_one(word: str, hint: str) -> None:
    assert did_you_mean(word, ["train-ai", "search"]) == hint


def wrong_values(value_type: ValueType) -> list[str]:
    """Return values of every other type."""
    scalar = ["[[[]]]", "{a: {b: c}}", "~", "[]"]
    if isinstance(value_type, Text):
        return [*scalar, "yes", "false"]
    if isinstance(value_type, Choice):
        return [*scalar, "12", "3.5", "nonsense", *(() if value_type is FLAG else ("''",))]
    if isinstance(value_type, Number):
        return [*scalar, "no", "many", "1.5", "1e3", "'1'", "-1", "999999999999999999999", "01", "1_000", "0x1"]
    if isinstance(value_type, ListOf | ListOrRecord):
        return ["{a: b}"]
    return ["12", "text", "yes", "[a]"]


def misfits(value_type: ValueType, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    result = [(path, value) for value in wrong_values(value_type)] if path else []
    if isinstance(value_type, Record):
        for name, entry in value_type.fields.items():
            assert isinstance(entry, Field)
            result += misfits(entry.value_type, (*path, name))
    elif isinstance(value_type, MapOf):
        result += misfits(value_type.value, (*path, "/a/**" if value_type.key.pattern else "abc"))
    elif isinstance(value_type, ListOf) and isinstance(value_type.item, Record):
        result += misfits(value_type.item, (*path, "- "))
    return result


@pytest.mark.parametrize(("path", "value"), misfits(POLICY_FILE), ids=lambda part: str(part))
def test_a_value_of_the_wrong_type_is_a_mistake_on_its_line(path: tuple[str, ...], value: str) -> None:
    lines, dash = [], ""
    for depth, key in enumerate(path):
        if key == "- ":
            dash = "- "
            continue
        lines.append(f"{' ' * 4 * depth}{dash}{key}:")
        dash = ""
    text = "\n".join(lines) + (f" {value}\n" if not dash else f"\n{' ' * 4 * len(path)}- {value}\n")
    _, problems = check_policy_text(text.encode())
    assert {problem.code for problem in problems if not problem.warning} <= {
        "P005", "P006", "P008", "P009", "P010", "P012",
        "P042",  # /a/** is no key directory
    }  # fmt: skip
    assert any(problem.line >= text.count("\n") - 1 for problem in problems if not problem.warning)
