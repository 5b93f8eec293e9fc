"""What the declarations cannot say is listed, and nothing that they can."""

from dataclasses import replace

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, Usage
from noai_guard.core.policy import PathPolicy, Rule, Site

SITE = Site(url="https://band.example", contact="mailto:a@band.example")
OPEN = dict.fromkeys(Usage, Action.ALLOW)
STANCE = replace(load_stance("no-ai"), site=SITE)
AI_USE = dict.fromkeys((Usage.TRAIN_AI, Usage.AI_SEARCH, Usage.AI_INPUT, Usage.AI_AGENT), Action.DENY)


def listed(**changes):
    return CompiledPolicy(replace(STANCE, **changes), Catalog(())).cannot_express


def test_what_every_standard_can_say_is_not_listed():
    assert listed(usages=OPEN) == ()
    assert listed(usages={**OPEN, **AI_USE}) == ()
    assert listed(usages={**OPEN, **AI_USE, Usage.SEARCH: Action.DENY}) == ()


@pytest.mark.parametrize(("changes", "expected"), [
    ({"usages": {**OPEN, **AI_USE, Usage.SEO: Action.DENY}}, ["only robots.txt says no to seo"]),
    ({"usages": {**OPEN, **AI_USE, Usage.UNKNOWN_BOT: Action.DENY}}, ["unknown-bot: nothing is declared"]),
    ({"usages": {**OPEN, **AI_USE}, "rules": (Rule("sold", Action.DENY, frozenset({"gptbot"})),)},
     ["nothing of the rules sold"]),
    ({"usages": {**OPEN, **AI_USE}, "path_policies": (PathPolicy("/a-?", OPEN),)}, [
        "/a-? (sections) cannot be said in robots.txt", "ai-input, ai-train of /a-? can only be said in the header"]),
    ({"usages": {**OPEN, **AI_USE, Usage.AI_AGENT: Action.ALLOW}}, [
        "Content-Usage: ai-use is ai-agent, ai-input, ai-search in one word; under /** it says no for ai-input, ai-search",
        "Content Signals: ai-input is ", "RSL: ai-input is ai-agent, ai-input in one word; under /** it says no for ai-input",
    ]),
    ({"usages": {**OPEN, **AI_USE, Usage.TRAIN_AI: Action.ALLOW}}, [
        "X-Robots-Tag: noai speaks of training only; of /** it cannot say that ai-agent, ai-input, ai-search is reserved",
        "TDMRep speaks of training only",
    ]),
    ({"usages": {**OPEN, **AI_USE}, "path_policies": (PathPolicy("/p/**", OPEN),),
      "declarations": {**STANCE.declarations, "trust_txt": True, "ai_txt": True}}, [
        "Content Signals have no paths", "ai.txt closes the whole site", "trust.txt has one word for the whole site: "
        "it says no, also of /p/**",
    ]),
    ({"usages": {**OPEN, **AI_USE}, "site": Site()}, ["TDMRep: no tdm-policy", "RSL: robots.txt has no License line"]),
])  # fmt: skip
def test_each_thing_is_one_sentence(changes, expected):
    found = listed(**changes)
    assert len(found) == len(expected), found
    for sentence, beginning in zip(found, expected, strict=True):
        assert beginning in sentence


def test_nothing_is_said_of_standards_that_are_off():
    off = dict.fromkeys(STANCE.declarations, False) | {"robots_txt": "off"}
    usages = {**OPEN, **AI_USE, Usage.AI_AGENT: Action.ALLOW, Usage.SEO: Action.DENY}
    assert listed(usages=usages, declarations=off, site=Site()) == ()
