"""Who may be refused is a suspect; most people and players are not."""

import re
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, rules_folder
from noai_guard.config.catalogue_schema import read_browsers
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Agent, Usage
from noai_guard.targets import suspects, user_agent_regex
from noai_guard.targets.plan import TargetPlan
from tests.targets import conformance
from tests.targets.strategies import FORM, NAMES, user_agents

POLICIES = {
    "no-ai": b"extends: no-ai",
    "search-only": b"extends: search-only",
    "unknown bots": b"extends: no-ai\nusages: {unknown-bot: deny}",
    "nothing unreadable": b"extends: no-training\nunreadable: allow",
    "rich": conformance.RICH,
}
PLANS = {name: TargetPlan(CompiledPolicy(conformance.policy(text), load_catalog())) for name, text in POLICIES.items()}


def compiled(patterns: list[str]) -> list[re.Pattern[bytes]]:
    return [
        re.compile(re.sub(r"\$(?=\)|\||$)", r"\\Z", pattern).encode(), re.IGNORECASE | re.ASCII) for pattern in patterns
    ]


LOOKS = {
    (name, kind): compiled(patterns)
    for name, plan in PLANS.items()
    for kind, patterns in (
        ("expressions", suspects.first_look(plan)),
        ("judge", suspects.first_look(plan, decodes=True)),
        ("short", suspects.short_first_look(plan)),
        ("Go", suspects.first_look_without_look_around(plan)),
    )
}


def is_suspect(policy: str, kind: str, user_agent: bytes) -> bool:
    return any(look.search(user_agent) for look in LOOKS[policy, kind])


@settings(max_examples=1500, deadline=None)
@given(user_agents(NAMES))
def test_whom_the_judge_refuses_is_a_suspect_to_servers_that_decode(user_agent: bytes) -> None:
    for policy, plan in PLANS.items():
        if plan.compiled.guard.judged("/", user_agent).refuses:
            assert is_suspect(policy, "judge", user_agent), policy


NAMED = {
    policy: compiled(
        [
            *(each.pattern() for tier in plan.tiers for each in user_agent_regex.expressions(tier)),
            *(user_agent_regex.host_expression(token) for token in plan.host_tokens),
            *([user_agent_regex.CALLS_ITSELF_A_BOT] if plan.detects_unknown_bots else []),
            *([user_agent_regex.hidden_expression(plan.hidden_tokens)] if plan.hidden_tokens else []),
        ]
    )
    for policy, plan in PLANS.items()
    if policy in ("no-ai", "search-only")
}


@settings(max_examples=500, deadline=None)
@given(user_agents(NAMES))
def test_whom_an_expression_recognises_is_a_suspect(user_agent: bytes) -> None:
    for policy, expressions in NAMED.items():
        restricted = {
            token.text.decode()
            for token in PLANS[policy].tokens
            if PLANS[policy].class_of(token.value).restricted and not token.host
        }
        for expression in expressions:
            match = expression.search(user_agent)
            name = match[1].decode("latin-1").lower() if match and expression.groups else ""
            if match and (not name or re.sub(r"\+|%20", " ", name) in restricted):
                assert is_suspect(policy, "expressions", user_agent)
                assert is_suspect(policy, "short", user_agent)
                assert is_suspect(policy, "Go", user_agent)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_name_in_any_letter_case_is_a_suspect(policy: str) -> None:
    random = Random(3)
    plan = PLANS[policy]
    for token in plan.tokens:
        if not plan.class_of(token.value).restricted:
            continue
        name = token.written.decode("ascii")
        text = (
            f"Mozilla/5.0 (compatible; x) https://{name}{'x' * bool(token.path)}/" if token.host else f"{name}/1.0 (x)"
        )
        for spelling in (text, text.upper(), "".join(random.choice((c.upper(), c.lower())) for c in text)):
            for kind in ("expressions", "judge", "short", "Go"):
                assert is_suspect(policy, kind, spelling.encode()), spelling


@settings(max_examples=300, deadline=None)
@given(st.lists(FORM, min_size=1, max_size=6, unique=True), st.data())
def test_names_of_any_shape_are_suspects(forms: list[str], data: st.DataObject) -> None:
    """Of names with signs, digits, common words, families and hosts."""
    catalog = Catalog(Agent(f"agent {number}", "", (Usage.TRAIN_AI,), (form,)) for number, form in enumerate(forms))
    compiled_policy = CompiledPolicy(conformance.policy(b"extends: no-ai"), catalog)
    plan = TargetPlan(compiled_policy)
    looks = compiled(suspects.first_look(plan, decodes=True))
    names = [form.removeprefix("^").removesuffix("*") for form in forms]
    user_agent = data.draw(user_agents(names))
    if compiled_policy.guard.judged("/", user_agent).refuses:
        assert any(look.search(user_agent) for look in looks)


def test_a_name_hidden_in_a_long_user_agent_makes_a_suspect() -> None:
    user_agent = b"Mozilla/5.0 " + b"x" * 2000 + b"gptbot" + b"y" * 2000
    for kind in ("expressions", "judge", "short", "Go"):
        assert is_suspect("no-ai", kind, user_agent)


def test_every_name_inside_of_words_is_found_by_the_look_at_long_user_agents() -> None:
    [anywhere] = compiled([suspects.anywhere_without_look_around(PLANS["search-only"].hidden_tokens)])
    for token in PLANS["search-only"].hidden_tokens:
        assert anywhere.search(b"x" + token.written.upper() + b"x")


def test_the_look_at_long_user_agents_finds_nothing_in_nearly_all_people() -> None:
    [anywhere] = compiled([suspects.anywhere_without_look_around(PLANS["search-only"].hidden_tokens)])
    groups = read_browsers(rules_folder() / "browsers.yaml").values()
    people = [text for group in groups for text in group]
    assert sum(anywhere.search(text.encode()) is not None for text in people) < len(people) * 0.02


@pytest.mark.parametrize("user_agent", [b"%47PTBot/1.0", rb"\x47PTBot", b"%2547PTBot/1", b"Mozilla/5.0 (v%30bot)"])
def test_an_escaped_letter_or_digit_makes_a_suspect(user_agent: bytes) -> None:
    assert is_suspect("no-ai", "expressions", user_agent)
    assert is_suspect("no-ai", "Go", user_agent)


@pytest.mark.parametrize(
    "user_agent", [b"My%20App/1 CFNetwork/1408", b"%E9%85%B7%E6%88%91/1 CFNetwork/1", b"A%26B 100%/2"]
)
def test_an_escape_that_encoders_write_makes_no_suspect(user_agent: bytes) -> None:
    assert not is_suspect("no-ai", "expressions", user_agent)


@pytest.mark.parametrize("policy", ["no-ai", "search-only"])
def test_nearly_no_browser_player_or_phone_is_a_suspect(policy: str) -> None:
    groups = read_browsers(rules_folder() / "browsers.yaml").values()
    people = [text.encode() for group in groups for text in group]
    suspected = [text for text in people if is_suspect(policy, "expressions", text)]
    assert len(suspected) < len(people) * 0.05


def test_expressions_are_no_longer_than_a_server_reads() -> None:
    for patterns in (
        suspects.first_look(PLANS["search-only"], 1000),
        suspects.first_look_without_look_around(PLANS["search-only"], 1000),
    ):
        assert 4 < len(patterns) < 20
        assert max(map(len, patterns)) <= 1000


def test_everybody_is_a_suspect_if_clients_without_a_name_are_restricted() -> None:
    closed = conformance.policy(b"extends: no-ai\nrules: [{id: closed, action: deny}]")
    assert suspects.suspects_everybody(TargetPlan(CompiledPolicy(closed, load_catalog())))
    assert not suspects.suspects_everybody(PLANS["unknown bots"])


HARMLESS = {
    (name, kind): compiled(patterns)
    for name, plan in PLANS.items()
    for kind, patterns in (
        ("expressions", suspects.harmless(plan, 8000)),
        ("expressions in parts", suspects.harmless(plan, 3000)),
        ("judge", suspects.harmless(plan, decodes=True)),
        ("short", [suspects.surely_harmless(plan)]),
    )
}


def is_harmless(policy: str, kind: str, user_agent: bytes) -> bool:
    return all(each.search(user_agent) for each in HARMLESS[policy, kind])


@settings(max_examples=1000, deadline=None)
@given(user_agents(NAMES))
def test_nobody_is_a_suspect_in_one_form_and_harmless_in_the_other(user_agent: bytes) -> None:
    for policy, kind in HARMLESS:
        look = "judge" if kind == "judge" else "expressions"
        assert not (is_harmless(policy, kind, user_agent) and is_suspect(policy, look, user_agent)), (policy, kind)


def test_no_word_that_a_browser_sends_hides_a_name_behind_it() -> None:
    phrases = (
        b"Mozilla/5.0 (Windows NT 10.0; Win64; x64",
        b"Mozilla/5.0 (Linux; Android 10; ",
        b"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Version/18.5 Mobile/15E148",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Mobile",
    )
    words = suspects.suspect_words(PLANS["no-ai"])
    for kind in ("judge", "short"):
        look = "judge" if kind == "judge" else "expressions"
        for number, phrase in enumerate(phrases):
            for word in words[number % 3 :: 3]:
                for sign in (b"", b" ", b"-", b"_", b"/", b") "):
                    text = phrase + sign + word.encode()
                    assert is_harmless("no-ai", kind, text) <= (not is_suspect("no-ai", look, text)), (kind, text)


@pytest.mark.parametrize("policy", ["no-ai", "search-only"])
def test_nearly_every_browser_player_or_phone_is_harmless(policy: str) -> None:
    groups = read_browsers(rules_folder() / "browsers.yaml").values()
    people = [text.encode() for group in groups for text in group]
    for kind in ("expressions", "judge", "short"):
        assert sum(is_harmless(policy, kind, text) for text in people) > len(people) * 0.92, kind


def test_expressions_for_harmless_people_are_no_longer_than_a_server_reads() -> None:
    parts = suspects.harmless(PLANS["search-only"], 2000)
    assert 1 < len(parts) < 10
    assert max(map(len, parts)) <= 2000


def test_a_name_that_begins_with_digits_and_signs_makes_nobody_harmless() -> None:
    catalog = Catalog([Agent("numbered", "", (Usage.TRAIN_AI,), ("360-bot", "7.music"))])
    plan = TargetPlan(CompiledPolicy(conformance.policy(b"extends: no-ai"), catalog))
    for patterns in (suspects.harmless(plan), suspects.harmless(plan, decodes=True), [suspects.surely_harmless(plan)]):
        looks = compiled(patterns)
        for user_agent in (b"360-bot/1.0", b"Mozilla/5.0 (7.music)"):
            assert not all(look.search(user_agent) for look in looks)
        assert all(look.search(b"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101") for look in looks)
