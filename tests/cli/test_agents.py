import csv
import json
from typing import Any

import pytest

from noai_guard.config import load_catalog
from noai_guard.core.model import Usage
from tests.cli.conftest import Run, Write


def listed(run: Run, *arguments: str) -> list[dict[str, Any]]:
    facts: list[dict[str, Any]] = json.loads(run("agents", "--format", "json", *arguments).stdout)
    return facts


def test_every_agent_is_listed_once_in_order(run: Run) -> None:
    names = [fact["name"] for fact in listed(run)]
    assert sorted(names) == sorted(agent.name for agent in load_catalog().agents)
    assert names == sorted(names, key=str.lower)


def test_an_agent_comes_with_operator_token_and_action(run: Run) -> None:
    (fact,) = [fact for fact in listed(run, "--operator", "openai") if fact["name"] == "GPTBot"]
    assert (fact["operator"], fact["robots_txt"], fact["action"], fact["ai"]) == ("OpenAI", ["GPTBot"], "deny", True)


def test_ai_and_others_are_everybody(run: Run) -> None:
    assert len(listed(run, "--ai")) + len(listed(run, "--no-ai")) == len(listed(run))
    assert all(fact["ai"] for fact in listed(run, "--ai"))


def test_several_usages_add_up(run: Run) -> None:
    both = listed(run, "--usage", "archive", "--usage", "seo")
    assert {usage for fact in both for usage in fact["usages"]} >= {Usage.ARCHIVE, Usage.SEO}
    assert len(both) > max(len(listed(run, "--usage", "archive")), len(listed(run, "--usage", "seo")))


def test_the_policy_decides_the_action(run: Run, write: Write) -> None:
    file = write("usages: {train-ai: yes}\n")
    (fact,) = [fact for fact in listed(run, "--operator", "OpenAI", "--policy", file) if fact["name"] == "GPTBot"]
    assert fact["action"] == "allow"


def test_an_agent_without_user_agent_is_marked(run: Run) -> None:
    (fact,) = [fact for fact in listed(run, "--operator", "Google") if fact["name"] == "Google-Extended"]
    assert fact["enforceable"] is False
    assert "\tdeny*\t" in run("agents", "--operator", "Google").stdout


def test_a_spreadsheet_gets_csv(run: Run) -> None:
    rows = list(csv.DictReader(run("agents", "--format", "csv").stdout.splitlines()))
    assert len(rows) == len(load_catalog().agents)
    assert {"name", "operator", "usages", "robots.txt", "action", "status", "enforceable"} == rows[0].keys()


def test_a_misspelt_operator_is_guessed(run: Run) -> None:
    assert "did you mean 'OpenAI'?" in run("agents", "--operator", "OpenAy", code=2).stderr


@pytest.mark.parametrize("name", ["GPTBot", "gptbot"])
def test_a_name_shows_that_agent_alone_with_everything_known(run: Run, name: str) -> None:
    text = run("agents", name).stdout
    assert text.splitlines()[0] == "GPTBot"
    for row in ("operator   OpenAI", "usages     train-ai", "user agent GPTBot", "action     deny"):
        assert f"  {row}" in text.splitlines()
    assert "ClaudeBot" not in text
    assert [fact["name"] for fact in listed(run, name)] == ["GPTBot"]


def test_a_name_in_robots_txt_shows_whoever_obeys_it(run: Run) -> None:
    tokens = {token: agent.name for agent in load_catalog().agents for token in agent.all_robots_tokens}
    names = {agent.name.lower() for agent in load_catalog().agents}
    token, name = next(pair for pair in tokens.items() if pair[0].lower() not in names)
    assert name in [fact["name"] for fact in listed(run, token)]


def test_an_agent_that_exists_only_in_robots_txt_is_said_to_be_declared_only(run: Run) -> None:
    assert "deny, declared only" in run("agents", "Google-Extended").stdout


def test_several_names_show_each_and_a_misspelt_one_is_guessed(run: Run) -> None:
    assert [fact["name"] for fact in listed(run, "GPTBot", "CCBot")] == ["CCBot", "GPTBot"]
    assert "did you mean 'GPTBot'?" in run("agents", "GTPBot", code=2).stderr
    assert "noai-guard classify" in run("agents", "xyzzy-plugh", code=2).stderr
