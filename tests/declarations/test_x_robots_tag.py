"""X-Robots-Tag, read as the tools that honour noai read it."""

from dataclasses import replace

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.policy import Policy
from tests.declarations.declaration_readers import datadiligence_skips, img2dataset_skips

STANCE = load_stance("no-ai")


def lines(policy: Policy) -> list[str]:
    fields = CompiledPolicy(policy, Catalog(())).site_declared.fields
    return [value.decode() for name, value in fields if name == b"x-robots-tag"]


READINGS = [
    (["noai, noimageai"], True, True),
    (["noai, noimageai", "noarchive, noml"], True, True),
    (["NoAI"], True, False),
    (["noindex , noai"], True, True),
    (["noai", "googlebot: nosnippet"], True, True),
    (["googlebot: nosnippet, noai"], False, True),
    (["noai, max-image-preview:none"], False, True),
    (["unavailable_after: 1 Jan 2030 10:00:00 GMT, noai"], False, True),
    (["max-image-preview:none", "noimageai"], True, True),
    (["somebot: noai"], False, False),
    (["noarchive"], False, False),
]


@pytest.mark.parametrize(("values", "img2dataset", "datadiligence"), READINGS)
def test_the_readers_behave_as_the_tools_are_documented_to(
    values: list[str], img2dataset: bool, datadiligence: bool
) -> None:
    assert img2dataset_skips(values) is img2dataset
    assert datadiligence_skips(values) is datadiligence


@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
def test_both_tools_that_honour_noai_skip_our_responses(stance: str) -> None:
    sent = lines(load_stance(stance))
    assert sent[0] == "noai, noimageai"
    assert not any(":" in line for line in sent)
    assert img2dataset_skips(sent)
    assert img2dataset_skips(sent, "spawningbot")
    assert datadiligence_skips(sent)


@pytest.mark.parametrize(("off", "expected"), [
    ([], ["noai, noimageai", "noarchive, noml"]), (["noarchive"], ["noai, noimageai", "noml"]),
    (["noml"], ["noai, noimageai", "noarchive"]), (["noarchive", "noml"], ["noai, noimageai"]),
])  # fmt: skip
def test_noarchive_and_noml_are_on_a_line_of_their_own_and_have_switches(off: list[str], expected: list[str]) -> None:
    assert lines(replace(STANCE, declarations={**STANCE.declarations, **dict.fromkeys(off, False)})) == expected
