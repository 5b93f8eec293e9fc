import pytest

from noai_guard.core.model import NAMED_AI, UNKNOWN_BOT, Action, Agent, Identity, PathPolicy, Usage, Verdict


def test_actions_are_ordered_from_the_mildest_to_the_strictest() -> None:
    assert sorted(Action, key=lambda action: action.strictness) == list(Action)


@pytest.mark.parametrize(
    ("action", "restricts", "refuses"),
    [
        (Action.ALLOW, False, False),
        (Action.LOG, False, False),
        (Action.THROTTLE, True, False),
        (Action.LICENSE_REQUIRED, True, True),
        (Action.DENY, True, True),
    ],
)
def test_an_action_restricts_some_requests_or_refuses_all(action: Action, restricts: bool, refuses: bool) -> None:
    assert (action.restricts, action.refuses) == (restricts, refuses)


@pytest.mark.parametrize("enforced", [True, False])
@pytest.mark.parametrize("action", Action)
def test_a_verdict_refuses_only_where_the_policy_is_enforced(action: Action, enforced: bool) -> None:
    verdict = Verdict(action, "rule-1", None, None, Identity.UNCLAIMED, (), PathPolicy("/**", {}), enforced)
    assert verdict.refuses is (enforced and action.restricts)


@pytest.mark.parametrize("usage", Usage)
def test_an_agent_is_ai_if_one_of_its_usages_is(usage: Usage) -> None:
    assert Agent("Bot", "Example", (Usage.SEARCH, usage)).ai is (usage in NAMED_AI)


def test_an_agent_is_named_in_robots_txt_by_its_product_token_first_and_no_name_twice() -> None:
    agent = Agent("Bot", "Example", (), rfc9309_product_token="ABot", robots_txt_tokens=("Bot 2", "ABot"))
    assert agent.all_robots_tokens == ("ABot", "Bot 2")
    assert Agent("Bot", "Example", (), robots_txt_tokens=("Bot 2",)).all_robots_tokens == ("Bot 2",)


def test_agents_are_compared_by_identity() -> None:
    assert Agent("Bot", "Example", ()) != Agent("Bot", "Example", ())
    assert UNKNOWN_BOT == UNKNOWN_BOT
