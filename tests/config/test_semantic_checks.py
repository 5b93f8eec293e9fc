from noai_guard.config import check_policy_text


def test_one_bad_rule_does_not_hide_what_is_wrong_with_the_others() -> None:
    text = b"""rules:
  - deny
  - {agents: GPTBoot, action: deny}
  - {agents: GPTBot, action: deny}
  - {agents: GPTBot, action: allow}
"""
    _, problems = check_policy_text(text)
    assert [(problem.line, problem.code) for problem in problems] == [(2, "P006"), (3, "P017"), (5, "P015")]


def test_a_rule_with_a_mistake_is_not_compared_with_later_rules() -> None:
    _, problems = check_policy_text(b"rules:\n  - {agent: GPTBot, action: deny}\n  - {agents: CCBot, action: allow}\n")
    assert [problem.code for problem in problems] == ["P005"]
