"""X-Robots-Tag, read as the tools that honour noai read it."""

from dataclasses import replace
from itertools import product

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, Usage
from noai_guard.core.policy import Policy
from noai_guard.declarations import x_robots_tag
from tests.declarations.declaration_readers import datadiligence_skips, img2dataset_skips

STANCE = load_stance("no-ai")


def lines(policy: Policy) -> list[str]:
    fields = CompiledPolicy(policy, Catalog(())).site_declared.fields
    return [value.decode() for name, value in fields if name == b"x-robots-tag"]


READINGS = [
    (["noai, noimageai"], True, True),
    (["noai, noimageai", "noarchive, noml"], True, True),
    (["noai, noimageai, noarchive, noml"], True, True),
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


@pytest.mark.parametrize(("stance", "expected"), [
    ("no-ai", "noai, noimageai, noarchive, noml"), ("search-only", "noai, noimageai, noarchive, noml"),
    ("no-training", "noai, noimageai, nocache, noml"),
])  # fmt: skip
def test_both_tools_that_honour_noai_skip_our_responses(stance: str, expected: str) -> None:
    sent = lines(load_stance(stance))
    assert sent == [expected]
    assert not any(":" in line for line in sent)
    assert img2dataset_skips(sent)
    assert img2dataset_skips(sent, "spawningbot")
    assert datadiligence_skips(sent)


@pytest.mark.parametrize(("off", "expected"), [
    ([], "noai, noimageai, noarchive, noml"), (["noarchive"], "noai, noimageai, noml"),
    (["noml"], "noai, noimageai, noarchive"), (["noarchive", "noml"], "noai, noimageai"),
])  # fmt: skip
def test_noarchive_and_noml_have_switches(off: list[str], expected: str) -> None:
    assert lines(replace(STANCE, declarations={**STANCE.declarations, **dict.fromkeys(off, False)})) == [expected]


def bing(values: list[str]) -> tuple[bool, bool]:
    """Return whether Bing answers with a page, and whether it trains on its text; both words count as nocache."""
    words = {word.strip() for value in values for word in value.split(",")}
    return "noarchive" not in words or "nocache" in words, not words & {"noarchive", "nocache"}


AI = (Usage.TRAIN_AI, Usage.AI_SEARCH, Usage.AI_INPUT, Usage.AI_AGENT)


@pytest.mark.parametrize("actions", [*product((Action.ALLOW, Action.DENY), repeat=4)])
def test_bing_reads_what_the_policy_says(actions: tuple[Action, ...]) -> None:
    policy = replace(STANCE, usages={**dict.fromkeys(Usage, Action.ALLOW), **dict(zip(AI, actions, strict=True))})
    train, *answers, _ = (action is Action.ALLOW for action in actions)
    # No word of Bing's forbids answers and allows training.
    assert bing(lines(policy)) == (all(answers), train and all(answers))
    assert img2dataset_skips(lines(policy)) is not train
    limitations = [said for said in x_robots_tag.STANDARD.limitations(policy) if "Bing" in said]
    assert len(limitations) == (train and not all(answers))
