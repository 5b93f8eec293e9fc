"""The counts of every summary: whom a policy refuses, whom it only asks, and whom it logs."""

import pytest

from noai_guard.config import check_policy_text
from noai_guard.core.agent_outcomes import AgentOutcomes
from noai_guard.core.catalog import Catalog
from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Agent, OptOut, Usage

CATALOG = Catalog(
    [
        Agent("Trainer", "A", (Usage.TRAIN_AI,), ("Trainer",), "Trainer"),
        Agent("Token", "B", (Usage.TRAIN_AI,), (), "Token", robots_only=True),
        Agent("Nameless", "C", (Usage.AI_AGENT,)),
        Agent("Engine", "D", (Usage.SEARCH,), ("Engine",), "Engine", opt_out=OptOut((Usage.TRAIN_AI,), "Token")),
        Agent("Both", "G", (Usage.SEARCH,), ("Both",), "Both", opt_out=OptOut((Usage.TRAIN_AI,))),
        Agent("Library", "E", (Usage.AUTOMATION,), ("Library",)),
        Agent("Player", "F", (Usage.PLAYER,), ("Player",)),
    ]
)


def outcomes(text: str) -> dict[str, list[str]]:
    policy, problems = check_policy_text(text.encode())
    assert policy is not None, problems
    found = AgentOutcomes.of(DecisionTable(policy, CATALOG))
    assert found.known == 7
    return {name: [agent.name for agent in getattr(found, name)] for name in KINDS}


KINDS = ("refused", "asked", "inseparable", "nameless", "logged")
NO_AI = {
    "refused": ["Trainer"],
    "asked": ["Token", "Engine"],
    "inseparable": ["Both"],
    "nameless": ["Nameless"],
    "logged": ["Library"],
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", NO_AI),
        ("mode: monitor\n", NO_AI),
        ("paths: {/: {usages: {train-ai: yes, ai-agent: yes}}}\n", NO_AI),
        (
            "usages: {train-ai: yes, ai-agent: yes, automation: no}\n",
            {"refused": ["Library"], "asked": [], "inseparable": [], "nameless": [], "logged": []},
        ),
        (
            "usages: {train-ai: throttle}\n",
            NO_AI,
        ),
    ],
    ids=["no AI", "in monitor mode as if enforced", "a section does not count", "other usages", "throttled"],
)
def test_each_agent_is_in_the_list_of_what_it_gets(text: str, expected: dict[str, list[str]]) -> None:
    assert outcomes(text) == expected
