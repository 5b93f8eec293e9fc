"""The fast filters for Go never exclude a User-Agent that the guard refuses."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance, rules_folder
from noai_guard.config.catalogue_schema import read_browsers
from noai_guard.core.guard import calls_itself_a_bot
from noai_guard.core.path_patterns import PathMatcher, pattern_problem, pattern_to_regex
from noai_guard.targets import go_regex, suspects, user_agent_regex
from noai_guard.targets.plan import TargetPlan
from tests.targets.conformance import corpus
from tests.targets.strategies import NAMES, user_agents

CATALOG = load_catalog()
PLANS = [TargetPlan(CompiledPolicy(load_stance(stance), CATALOG)) for stance in ("no-ai", "no-training", "search-only")]
HARMLESS = [
    [
        re.compile(each, re.ASCII)
        for each in go_regex.harmless_expressions(
            suspects.letter_runs(suspects.restricted_tokens(plan)), suspects.words_of(plan.tokens)
        )
    ]
    for plan in PLANS
]


NAMED = [
    [
        re.compile(re.sub(r"\$(?=\)|\||$)", r"\\Z", pattern).encode(), re.IGNORECASE | re.ASCII)
        for pattern in (
            *(each.pattern() for each in user_agent_regex.expressions(suspects.restricted_tokens(plan))),
            *(user_agent_regex.host_expression(token) for token in suspects.restricted_tokens(plan) if token.host),
        )
    ]
    for plan in PLANS
]


def refused(plan: TargetPlan, user_agent: str) -> bool:
    return plan.compiled.guard.judged("/", user_agent.encode("latin-1", "replace")).refuses


def is_harmless(expressions: list[re.Pattern[str]], text: str) -> bool:
    return all(each.search(f" {text}") for each in expressions)


def test_no_refused_sample_is_harmless() -> None:
    texts = [user_agent.decode("latin-1") for user_agent in corpus()]
    for plan, harmless in zip(PLANS, HARMLESS, strict=True):
        # Of a long one, names inside of words are looked for by another expression.
        refused_texts = [text for text in texts if refused(plan, text) and len(text) <= suspects.MAX_READ]
        assert refused_texts
        assert not [text for text in refused_texts if is_harmless(harmless, text)]


@settings(max_examples=500, deadline=None)
@given(user_agents(NAMES))
def test_whom_an_expression_of_names_recognises_is_not_harmless(user_agent: bytes) -> None:
    text = user_agent.decode("latin-1")
    for named, harmless in zip(NAMED, HARMLESS, strict=True):
        if any(each.search(user_agent) for each in named):
            assert not is_harmless(harmless, text)


def test_most_people_are_harmless() -> None:
    groups = read_browsers(rules_folder() / "browsers.yaml").values()
    people = [text for group in groups for text in group]
    assert sum(is_harmless(HARMLESS[0], text) for text in people) > len(people) * 0.75


@pytest.mark.parametrize("text", ["My%20App/1 CFNetwork/1", "%E9%85%B7 1.0", "Mozilla/5.0 (Windows NT 10.0) \xe9"])
def test_what_apps_encode_is_harmless(text: str) -> None:
    assert is_harmless(HARMLESS[0], text)


@pytest.mark.parametrize(
    "text", ["Kangaroo%20Bot", "%47PTBot", "%2547PTBot", r"\x47PTBot", "v0bot", "x-v0-bot", "80legs"]
)
def test_a_name_in_any_spelling_is_not_harmless(text: str) -> None:
    assert not is_harmless(HARMLESS[0], text)


def test_common_browsers_are_harmless() -> None:
    usual = re.compile(user_agent_regex.common_browser_expression(PLANS[0].anchors) or "x^")
    texts = [text for text in map(bytes.decode, corpus()) if usual.search(text)]
    assert texts
    assert all(is_harmless(HARMLESS[0], text) for text in texts)


PARTS = st.sampled_from(
    [
        *user_agent_regex.BROWSER_WORDS,
        "GPTBot",
        "gptbot/1.2",
        "Claude",
        "x",
        "ai",
        "K",
        "1.2",
        "; ",
        " ",
        "/",
        "(",
        ")",
        ".",
        "-",
        "_",
        "%20",
    ]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(PARTS, max_size=14).map("".join))
def test_no_harmless_text_is_refused(text: str) -> None:
    for plan, harmless in zip(PLANS, HARMLESS, strict=True):
        assert not (is_harmless(harmless, text) and refused(plan, text))


@given(
    st.lists(
        st.sampled_from(["bot", "cubot", "ubot", "c", "u", "b", "x", "crawler", "Spider", "s", " ", "/", "1"]),
        max_size=6,
    ).map("".join)
)
def test_the_expression_for_unknown_bots_is_exact_without_look_around(text: str) -> None:
    matches = re.search(user_agent_regex.CALLS_ITSELF_A_BOT, text, re.IGNORECASE) is not None
    assert matches is calls_itself_a_bot(text.encode())


@given(st.text(":/ab ", max_size=12))
def test_the_expression_for_no_url_is_exact_without_look_around(text: str) -> None:
    assert (re.search(user_agent_regex.NO_URL, text) is not None) is ("://" not in text)


PATHS = st.lists(st.sampled_from(["/", "/a", "/b", "a", ".", "é", "\n", "?", "x.mp3"]), max_size=6).map(
    lambda parts: "/" + "".join(parts)
)


@given(
    st.lists(st.sampled_from(["/", "/a", "a", "*", "**", "?", "é", ".mp3", "/**"]), max_size=5).map(
        lambda parts: "/" + "".join(parts)
    ),
    PATHS,
)
def test_the_expression_of_a_path_pattern_matches_the_same_paths_as_bytes(pattern: str, path: str) -> None:
    if pattern_problem(pattern) or ("?" in pattern and "é" in path):
        return  # in an expression over bytes one byte is a character
    expression = pattern_to_regex(pattern).replace("$", r"\Z").encode()
    assert (re.search(expression, path.encode()) is not None) is (PathMatcher([pattern]).first(path) == 0)
