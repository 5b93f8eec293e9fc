import pytest

from noai_guard.config import load_catalog, rules_folder, sample_user_agent
from noai_guard.config.catalogue_schema import read_browsers


@pytest.mark.parametrize(("agent", "source"), [("GPTBot", "openai"), ("CCBot", "common-crawl")])
def test_the_sample_of_an_agent_names_it(agent: str, source: str) -> None:
    match = load_catalog().find(sample_user_agent(agent, source).encode())
    assert match is not None
    assert match.name == agent


def test_the_sample_without_an_agent_is_a_browser() -> None:
    browsers = read_browsers(rules_folder() / "browsers.yaml")
    assert sample_user_agent() in {user_agent for group in browsers.values() for user_agent in group}
