import csv
import json
from typing import Any

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
