"""Everything that the declarations cannot express is listed, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.core.policy import Rule, Site

SITE = Site(url="https://band.example", contact="mailto:a@band.example")
OPEN = dict.fromkeys(Usage, Action.ALLOW)
STANCE = replace(load_stance("no-ai"), site=SITE)
AI_USE = dict.fromkeys((Usage.TRAIN_AI, Usage.AI_SEARCH, Usage.AI_INPUT, Usage.AI_AGENT), Action.DENY)


def limitations(**changes: Any) -> tuple[str, ...]:
    return CompiledPolicy(replace(STANCE, **changes), Catalog(())).limitations


def test_a_policy_that_every_standard_can_express_has_no_limitations() -> None:
    assert limitations(usages=OPEN) == ()
    assert limitations(usages={**OPEN, **AI_USE}) == ()
    assert limitations(usages={**OPEN, **AI_USE, Usage.SEARCH: Action.DENY}) == ()


@pytest.mark.parametrize(("changes", "expected"), [
    ({"usages": {**OPEN, **AI_USE, Usage.SEO: Action.DENY}}, ["only robots.txt denies seo"]),
    ({"usages": {**OPEN, **AI_USE, Usage.UNKNOWN_BOT: Action.DENY}}, ["unknown-bot: nothing is declared"]),
    ({"usages": {**OPEN, **AI_USE}, "rules": (Rule("sold", Action.DENY, frozenset({"gptbot"})),)},
     ["do not express the rules sold"]),
    ({"usages": {**OPEN, **AI_USE}, "path_policies": (PathPolicy("/a-?", OPEN),)}, [
        "/a-? (paths) cannot be expressed in robots.txt", "ai-input, ai-train for /a-? can only be sent in the header"]),
    ({"usages": {**OPEN, **AI_USE, Usage.AI_AGENT: Action.ALLOW}}, [
        "Content-Usage: ai-use covers ai-agent, ai-input, ai-search in one word; under /** it is denied because of ai-input, ai-search",
        "Content Signals: ai-input covers ", "RSL: ai-input covers ai-agent, ai-input in one word; under /** it is denied because of ai-input",
    ]),
    ({"usages": {**OPEN, **AI_USE, Usage.TRAIN_AI: Action.ALLOW}}, [
        "X-Robots-Tag: noai covers training only; for /** it cannot express that ai-agent, ai-input, ai-search is reserved",
        "TDMRep covers training only",
    ]),
    ({"usages": {**OPEN, **AI_USE}, "path_policies": (PathPolicy("/p/**", OPEN),),
      "declarations": {**STANCE.declarations, "trust_txt": True, "ai_txt": True}}, [
        "Content Signals have no paths", "ai.txt denies training on the whole site", "trust.txt has one word for the whole site: "
        "training is denied, also for /p/**",
    ]),
    ({"usages": {**OPEN, **AI_USE}, "site": Site()}, ["TDMRep: without an address there is no tdm-policy", "RSL: robots.txt has no License line"]),
])  # fmt: skip
def test_each_limitation_is_one_sentence(changes: dict[str, Any], expected: list[str]) -> None:
    sentences = limitations(**changes)
    assert len(sentences) == len(expected), sentences
    for sentence, part in zip(sentences, expected, strict=True):
        assert part in sentence


def test_standards_that_are_off_have_no_limitations() -> None:
    off = dict.fromkeys(STANCE.declarations, False) | {"robots_txt": "off"}
    usages = {**OPEN, **AI_USE, Usage.AI_AGENT: Action.ALLOW, Usage.SEO: Action.DENY}
    assert limitations(usages=usages, declarations=off, site=Site()) == ()
