from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.config import check_policy, check_policy_text, rules_folder
from noai_guard.config.catalogue_schema import agents_schema
from noai_guard.config.policy_schema import policy_schema
from noai_guard.core.model import Usage
from noai_guard.declarations import STANDARDS

HERE = Path(__file__).parent
SCHEMA = jsonschema.Draft202012Validator(policy_schema())
STRUCTURAL = {"P005", "P006", "P008", "P009", "P010", "P012"}
"""Codes of mistakes that lie in the shape of the file, which a schema can see."""

USABLE = sorted((HERE / "good").glob("*.yaml")) + sorted((HERE / "warned").glob("*.yaml"))
BAD = sorted((HERE / "bad").glob("*.yaml"))
UNSEEN = {"number_octal", "key_is_a_list"}
"""Lost before a schema sees the file: YAML 1.1 reads 060 as 48, and a list cannot be a key in Python."""
SHAPELESS = [
    file for file in BAD if file.stem not in UNSEEN and STRUCTURAL & {problem.code for problem in check_policy(file)[1]}
]


def test_the_schemas_are_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(policy_schema())
    jsonschema.Draft202012Validator.check_schema(agents_schema())


@pytest.mark.parametrize("file", USABLE, ids=lambda file: file.stem)
def test_an_editor_accepts_what_the_loader_accepts(file: Path) -> None:
    data = yaml.safe_load(file.read_bytes()) or {}
    assert [error.message for error in SCHEMA.iter_errors(data)] == []


@pytest.mark.parametrize("file", SHAPELESS, ids=lambda file: file.stem)
def test_an_editor_underlines_a_mistake_in_the_shape(file: Path) -> None:
    assert not SCHEMA.is_valid(yaml.safe_load(file.read_bytes()))


def test_most_mistakes_are_mistakes_in_the_shape() -> None:
    assert len(SHAPELESS) > 50


@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
def test_the_packaged_stances_are_good_files(stance: str) -> None:
    file = rules_folder() / "policies" / f"{stance}.yaml"
    assert SCHEMA.is_valid(yaml.safe_load(file.read_bytes()))
    assert check_policy(file)[1] == ()


@pytest.mark.parametrize("word", [False, True, "no", "yes", "NO", "Off", "y", "deny", "License-Required"])
def test_a_wish_may_be_a_boolean_or_a_word_in_any_case(word: object) -> None:
    assert SCHEMA.is_valid({"usages": {"train-ai": word}})


def keys_of(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, below in schema.get("properties", {}).items():
        yield f"{path}.{name}", below
        yield from keys_of(below, f"{path}.{name}")
    for part in (schema.get("items"), schema.get("additionalProperties"), *schema.get("anyOf", ())):
        if isinstance(part, dict):
            yield from keys_of(part, path)


def test_every_key_says_what_it_is_for_when_a_mouse_rests_on_it() -> None:
    keys = dict(keys_of(policy_schema()))
    assert {".mode", ".usages.train-ai", ".paths.usages.search", ".rules.action", ".limits.throttle.seconds"} <= {*keys}
    assert [path for path, schema in keys.items() if len(schema.get("description", "")) < 5] == []


def test_a_key_with_words_says_what_each_word_does() -> None:
    assert policy_schema()["properties"]["mode"]["description"] == (
        "whether refusals are real (enforce: refuse; monitor: judge and count everything, refuse nothing)"
    )


def test_an_editor_completes_every_usage_and_every_declaration() -> None:
    properties = policy_schema()["properties"]
    assert set(properties["usages"]["properties"]) == set(Usage)
    assert set(properties["declarations"]["properties"]) == {
        "noarchive",
        "noml",
        *(standard.key for standard in STANDARDS),
    }


words = st.sampled_from(["no", "yes", "deny", "allow", "maybe", "monitor", "no-ai", "search", "GPTBot", "/a/**", "1"])
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), words),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(words, below, max_size=3)),
    max_leaves=4,
)
ways_in = st.sampled_from(
    [
        ("mode",), ("extends",), ("on_unknown",), ("usages",), ("usages", "train-ai"), ("site",), ("site", "owner"),
        ("paths",), ("paths", "/a/**"), ("paths", "/a/**", "usages"), ("rules",), ("exemptions",),
        ("exemptions", "agents"), ("limits",), ("limits", "throttle"), ("limits", "throttle", "requests"),
        ("declarations",), ("declarations", "robots_txt"), ("declarations", "tdmrep"), ("features", "reload"),
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(ways_in, values)
def test_editor_and_loader_agree_on_the_shape_of_anything(way_in: tuple[str, ...], value: object) -> None:
    data: object = value
    for key in reversed(way_in):
        data = {key: data}
    text = yaml.safe_dump(data)
    codes = {problem.code for problem in check_policy_text(text.encode())[1] if not problem.warning}
    # What a schema sees of text is its beginning: a path pattern without a slash is the loader's P011.
    if not codes - STRUCTURAL:
        assert SCHEMA.is_valid(data) == (not codes)
