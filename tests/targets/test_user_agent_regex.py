"""The regular expressions recognise the same agents as the guard."""

import re
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.model import Agent
from noai_guard.core.user_agent_matcher import Token, compile_token
from noai_guard.targets import user_agent_regex
from noai_guard.targets.plan import TargetPlan
from tests.targets import conformance
from tests.targets.conformance import corpus

CATALOG = load_catalog()
PLANS = {
    stance: TargetPlan(CompiledPolicy(load_stance(stance), CATALOG))
    for stance in ("no-ai", "no-training", "search-only")
}
PLANS["no-automation"] = TargetPlan(
    CompiledPolicy(conformance.policy(b"extends: no-ai\nusages: {automation: no}"), CATALOG)
)


def compiled(pattern: str) -> re.Pattern[str]:
    """Compile an expression as PCRE, RE2 and Go read it: `$` is the very end, and letters are ASCII."""
    return re.compile(re.sub(r"\$(?=\)|\||$)", r"\\Z", pattern), re.IGNORECASE | re.ASCII)


class Reader:
    """A server that has only regular expressions (`TargetPlan.tiers`)."""

    def __init__(self, plan: TargetPlan) -> None:
        self.plan = plan
        self.tiers = [
            ([compiled(names.pattern()) for names in user_agent_regex.expressions(tier)], self.owners(tier))
            for tier in plan.tiers
        ]
        self.others = [compiled(names.pattern()) for names in user_agent_regex.expressions(plan.other_tokens)]
        self.hosts = [(compiled(user_agent_regex.host_expression(token)), token.value) for token in plan.host_tokens]
        self.browser = compiled(user_agent_regex.browser_expression(plan.anchors))

    @staticmethod
    def owners(tier: Iterable[Token[Agent]]) -> dict[str, Agent]:
        return {token.text.decode(): token.value for token in tier}

    def agent(self, user_agent: str) -> Agent | None:
        for expressions, owners in self.tiers:
            for expression in expressions:
                if match := expression.search(user_agent):
                    name = re.sub(r"\+|%20", " ", match[1].lower())
                    return owners.get(name) or owners[match[1].lower()]
        for expression, agent in self.hosts:
            if expression.search(user_agent) and not any(other.search(user_agent) for other in self.others):
                return agent
        return None

    def refused(self, user_agent: str) -> bool:
        agent = self.agent(user_agent)
        return agent is not None and self.plan.class_of(agent).restricted


READERS = {stance: Reader(plan) for stance, plan in PLANS.items()}


def refused_by_the_guard(plan: TargetPlan, user_agent: str) -> bool:
    return plan.compiled.guard.judged("/", user_agent.encode("latin-1", "replace")).refuses


@pytest.mark.parametrize("stance", PLANS)
def test_the_whole_corpus_is_judged_as_by_the_guard(stance: str) -> None:
    reader = READERS[stance]
    texts = [user_agent.decode("latin-1") for user_agent in corpus()]
    assert not [text for text in texts if reader.refused(text) is not refused_by_the_guard(reader.plan, text)]


NAMES, GLUE = st.sampled_from(conformance.NAMES), st.sampled_from(conformance.GLUE)


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.tuples(GLUE, NAMES, GLUE), min_size=1, max_size=3))
def test_a_name_in_any_plain_context_is_judged_as_by_the_guard(parts: list[tuple[str, str, str]]) -> None:
    text = "".join(before + name + after for before, name, after in parts)
    reader = READERS["no-ai"]
    if conformance.is_plain(text):
        assert reader.refused(text) is refused_by_the_guard(reader.plan, text)


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.one_of(NAMES, st.sampled_from(user_agent_regex.BROWSER_WORDS), GLUE), max_size=12).map("".join))
def test_no_text_that_passes_as_a_browser_is_refused(text: str) -> None:
    for stance, reader in READERS.items():
        if reader.browser.search(text):
            assert not refused_by_the_guard(PLANS[stance], text)


def test_the_common_browser_expression_matches_no_refused_sample() -> None:
    common = re.compile(user_agent_regex.common_browser_expression(PLANS["no-ai"].anchors) or "x^")
    browsers = [text for text in map(bytes.decode, corpus()) if common.search(text)]
    assert len(browsers) > 20
    assert not any(refused_by_the_guard(plan, text) for plan in PLANS.values() for text in browsers)


def test_there_is_no_common_browser_expression_if_one_of_its_words_is_an_anchor() -> None:
    assert user_agent_regex.common_browser_expression({"chrome"}) is None
    assert compiled(user_agent_regex.browser_expression(["chrome"])).search("Chrome/1") is None
    assert compiled(user_agent_regex.browser_expression(["x"])).search("x/1") is None


@given(st.lists(st.text("abAB09-_ .;(/+*$\"'\\{}[]|", min_size=1, max_size=8), min_size=1, max_size=12))
def test_a_trie_matches_exactly_its_words(words: list[str]) -> None:
    words = [word.strip() for word in words if word.strip()]
    expression = re.compile(user_agent_regex.trie(words) or "x^")
    for word in words:
        assert expression.fullmatch(word)
    assert words == [] or not expression.fullmatch("zz")


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=2, max_size=20))
def test_any_valid_token_becomes_a_valid_expression(text: str) -> None:
    agent = CATALOG.agents[0]
    try:
        token = compile_token(text, agent)
    except ValueError:
        return
    patterns = [names.pattern() for names in user_agent_regex.expressions([token])] or [
        user_agent_regex.host_expression(token)
    ]
    assert all(compiled(pattern) for pattern in patterns)
