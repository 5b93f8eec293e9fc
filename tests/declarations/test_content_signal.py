"""Content Signals, read back as Cloudflare's policy defines them."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.core.policy import Policy
from noai_guard.declarations import content_signal
from tests.declarations.declaration_readers import content_signals, google_allows, signals_of_groups

CATALOG = load_catalog()


STANCE = load_stance()
OPEN = dict.fromkeys(Usage, Action.ALLOW)
NO_AI = {"search": "yes", "ai-input": "no", "ai-train": "no", "use": "reference"}


def robots(policy: Policy, catalog: Catalog = CATALOG) -> str:
    return CompiledPolicy(policy, catalog).documents["/robots.txt"].body.decode()


def headers(policy: Policy, number: int = 0) -> list[dict[str, str]]:
    fields = CompiledPolicy(policy, CATALOG).declared[policy.all_path_policies[number]].fields
    return [content_signals(value.decode()) for name, value in fields if name == b"content-signal"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("search=yes, ai-train=no", {"search": "yes", "ai-train": "no"}),
        ("search=yes,ai-train=no,use=reference", {"search": "yes", "ai-train": "no", "use": "reference"}),
        ("ai-train=n", {}),
        ("train-ai=no", {}),
        ("ai-train=disallow, search=allow", {}),
        ("ai-input=no, use=all", {"ai-input": "no"}),
    ],
)
def test_the_reader_takes_only_keys_and_values_that_are_defined(value: str, expected: dict[str, str]) -> None:
    assert content_signals(value) == expected


@pytest.mark.parametrize(
    ("stance", "expected"),
    [("no-ai", NO_AI), ("search-only", NO_AI), ("no-training", {**NO_AI, "ai-input": "yes"})],
)
def test_every_group_and_every_response_have_the_same_signals(stance: str, expected: dict[str, str]) -> None:
    policy = load_stance(stance)
    groups = signals_of_groups(robots(policy))
    assert len(groups) >= 2
    assert groups == [[expected]] * len(groups)
    assert headers(policy) == [expected]


def test_definitions_and_reservation_are_written_once_before_the_first_group() -> None:
    before, _, after = robots(STANCE).partition("User-agent:")
    assert "on condition that you agree" in before
    assert "EXPRESS RESERVATIONS OF RIGHTS UNDER ARTICLE 4" in before
    assert "#" not in re.sub(r"# (Begin|End) noai-guard", "", after)
    for key in NO_AI:
        assert f"# {key}: " in before
    # What binds is what each value means, and what follows from one that is absent.
    for value in ("yes", "no", "is absent", "immediate", "reference", "full"):
        assert f" {value}: " in before
    assert before.index("on condition") < before.index(" yes: ") < before.index("# use: ") < before.index("ARTICLE 4")


def test_without_signals_there_are_no_comments() -> None:
    off = replace(STANCE, declarations={**STANCE.declarations, "content_signal": False})
    assert "ARTICLE 4" not in robots(off)
    assert "Content-Signal" not in robots(off)
    assert headers(off) == [NO_AI]


def test_the_header_has_a_switch_of_its_own() -> None:
    off = replace(STANCE, declarations={**STANCE.declarations, "content_signal_header": False})
    assert headers(off) == []
    assert [NO_AI] in signals_of_groups(robots(off))


def test_signals_do_not_join_groups_for_googles_parser() -> None:
    text = robots(STANCE).encode()
    assert not google_allows(text, "GPTBot", "/")
    assert google_allows(text, "Googlebot", "/")


def test_merging_adds_signals_to_the_apps_groups_once() -> None:
    compiled = CompiledPolicy(STANCE, CATALOG)
    once = compiled.merged_robots[b"User-agent: *\nDisallow: /cart\n\nUser-agent: Bingbot\nAllow: /\n"].body
    assert all(signals == [NO_AI] for signals in signals_of_groups(once.decode()))
    assert compiled.merged_robots[once].body == once
    assert once.decode().count("EXPRESS RESERVATIONS") == 1


def test_robots_txt_grants_nothing_that_a_path_policy_reserves() -> None:
    policy = replace(STANCE, usages=OPEN, path_policies=(PathPolicy("/tracks/**", STANCE.usages),))
    assert signals_of_groups(robots(policy))[0] == [{"search": "yes", "use": "reference"}]
    assert headers(policy, 1) == [NO_AI]
    (limitation,) = content_signal.STANDARD.limitations(policy)
    assert "ai-input, ai-train for /tracks/**" in limitation


def test_without_search_and_input_nothing_may_be_kept() -> None:
    closed = dict.fromkeys(Usage, Action.DENY)
    assert headers(replace(STANCE, usages=closed))[0]["use"] == "immediate"


usages = st.fixed_dictionaries({usage: st.sampled_from([Action.ALLOW, Action.DENY]) for usage in Usage})


@given(usages, st.lists(usages, max_size=3))
def test_no_signal_of_the_site_grants_what_a_path_policy_denies(
    site: dict[Usage, Action], parts: list[dict[Usage, Action]]
) -> None:
    path_policies = tuple(PathPolicy(f"/{number}/**", part) for number, part in enumerate(parts))
    policy = replace(STANCE, usages=site, path_policies=path_policies)
    (signals,) = signals_of_groups(robots(policy, Catalog(())))[0]
    for path_policy in policy.all_path_policies:
        for key, usage in (("search", Usage.SEARCH), ("ai-train", Usage.TRAIN_AI), ("ai-input", Usage.AI_INPUT)):
            assert not (path_policy.reserves(usage) and signals.get(key) == "yes")
    assert (signals.get("ai-train") == "no") is policy.whole_site.reserves(Usage.TRAIN_AI)


def test_only_a_path_policy_that_differs_is_a_limitation() -> None:
    limitations = content_signal.STANDARD.limitations
    agreeing = PathPolicy("/a/**", STANCE.usages)
    differing = PathPolicy("/press/**", {**STANCE.usages, Usage.TRAIN_AI: Action.ALLOW})
    (limitation,) = limitations(replace(STANCE, path_policies=(agreeing, differing)))
    assert "ai-train for /press/**" in limitation
    assert not list(limitations(replace(STANCE, path_policies=(agreeing,))))
