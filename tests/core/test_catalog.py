import pytest

from noai_guard.core.catalog import Catalog, rank, rank_of_claim
from noai_guard.core.model import Agent, PartlyRead, SeveralClaims, SignedAs, Usage


def an_agent(name: str, *usages: Usage) -> Agent:
    return Agent(name, "Example", usages or (Usage.AUTOMATION,), (name,))


CATALOG = Catalog(
    [
        an_agent("LibFetch"),
        an_agent("OtherLib"),
        an_agent("SearchBot", Usage.SEARCH),
        an_agent("TrainBot", Usage.TRAIN_AI, Usage.SEARCH),
        an_agent("AskBot", Usage.AI_INPUT),
    ]
)


@pytest.mark.parametrize(
    ("user_agent", "winner"),
    [
        (b"LibFetch/1 TrainBot/2", "TrainBot"),
        (b"SearchBot AskBot", "AskBot"),
        (b"AskBot TrainBot", "TrainBot"),
        (b"OtherLib/1 LibFetch/1", "OtherLib"),
        (b"LibFetch/1 OtherLib/1", "LibFetch"),
        (b"Mozilla/5.0\nTrainBot", "TrainBot"),
    ],
)
def test_the_weightier_usage_wins_and_of_equals_the_one_named_first(user_agent: bytes, winner: str) -> None:
    agent = CATALOG.find(user_agent)
    assert agent is not None
    assert agent.name == winner
    assert CATALOG.candidates(user_agent)[0] is agent


def test_nobody_is_named_by_an_unknown_user_agent() -> None:
    assert CATALOG.find(b"Mozilla/5.0") is None
    assert CATALOG.candidates(b"Mozilla/5.0") == ()


def test_all_that_are_named_are_candidates() -> None:
    assert [agent.name for agent in CATALOG.candidates(b"LibFetch SearchBot TrainBot")] == [
        "TrainBot", "SearchBot", "LibFetch",
    ]  # fmt: skip


def test_agents_are_found_by_name_in_any_case_and_operators_are_listed_once() -> None:
    assert CATALOG.agent("TRAINBOT") is CATALOG.agents[3]
    assert CATALOG.agent("nobody") is None
    assert CATALOG.operators == ("Example",)


def test_of_a_user_agent_that_is_partly_read_the_names_in_the_rest_are_told() -> None:
    trainer = CATALOG.agents[3]
    hidden = b"x" * 2000 + trainer.expected_user_agent[0].encode() + b"x" * 2000
    assert CATALOG.read(hidden) == PartlyRead(None, frozenset({trainer}))
    assert CATALOG.read(hidden + b" " + trainer.expected_user_agent[0].encode()) is trainer
    assert rank_of_claim(CATALOG.read(hidden)) == rank_of_claim(trainer) == rank(trainer) < rank_of_claim(None)


def test_the_rank_of_an_agent_is_that_of_its_weightiest_usage() -> None:
    assert rank(CATALOG.agents[3]) == 0
    assert rank(CATALOG.agents[2]) > rank(CATALOG.agents[4])


def test_of_several_claims_the_weightiest_ranks() -> None:
    searcher, trainer = CATALOG.agents[2:4]
    assert rank_of_claim(SeveralClaims((None, searcher, SignedAs(trainer)))) == rank(trainer) < rank(searcher)
