"""Names and rules of the groups of robots.txt."""

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, Agent, Identity, PathPolicy, Usage
from noai_guard.core.policy import Policy, Rule
from noai_guard.declarations.shared.robots_groups import build_groups
from tests.declarations.declaration_readers import google_allows

STANCE = load_stance("no-ai")
OPERATOR = "Example"
AGENTS = (
    Agent("TrainBot", OPERATOR, (Usage.TRAIN_AI,), ("TrainBot",), "TrainBot"),
    Agent("SearchBot", OPERATOR, (Usage.SEARCH,), ("SearchBot",), "SearchBot"),
)
CATALOG = Catalog(AGENTS)


def robots(policy: Policy, catalog: Catalog = CATALOG) -> bytes:
    return CompiledPolicy(policy, catalog).documents["/robots.txt"].body


def test_names_that_strict_parsers_cannot_read_are_unreadable() -> None:
    unreadable = CompiledPolicy(STANCE, load_catalog()).robots_groups.unreadable
    assert "AI2Bot" in unreadable
    assert "GPTBot" not in unreadable


def test_rules_are_sorted_longest_first_for_parsers_that_take_the_first_match() -> None:
    opened = {**STANCE.usages, Usage.TRAIN_AI: Action.ALLOW}
    policy = replace(
        STANCE, path_policies=(PathPolicy("/press/**", opened), PathPolicy("/press/internal/**", STANCE.usages))
    )
    text = robots(policy).decode()
    group = text[text.index("User-agent: TrainBot") :].partition("\n\n")[0]
    documents = ("/robots.txt", "/license.xml", "/.well-known/")
    paths = [path for path in re.findall(r"^(?:Allow|Disallow): (.*)$", group, re.M) if not path.startswith(documents)]
    assert {"/press/", "/press/internal/", "/"} <= set(paths)
    assert all(len(one) >= len(next_one) for one, next_one in pairwise(paths))


def test_a_rule_against_impostors_does_not_apply_to_the_owner_of_the_name() -> None:
    policy = replace(
        STANCE,
        rules=(Rule("fakes", Action.DENY, frozenset({"searchbot"}), identities=frozenset({Identity.UNVERIFIED})),),
    )
    assert google_allows(robots(policy), "SearchBot", "/")


def test_a_client_without_a_documented_name_gets_the_names_in_its_user_agent() -> None:
    agents = (
        Agent("Crate", OPERATOR, (Usage.TRAIN_AI,), ("Crate/", "CrateFetcher", "^Crate 2")),
        Agent("Crate 9", OPERATOR, (Usage.TRAIN_AI,), ("//crate.example",)),
        Agent("Looks like a browser", OPERATOR, (Usage.TRAIN_AI,)),
        Agent("Cra", OPERATOR, (Usage.SEARCH,), ("Cra",)),
    )
    made = CompiledPolicy(STANCE, Catalog(agents))
    body = made.documents["/robots.txt"].body
    assert not google_allows(body, "Crate", "/")
    assert not google_allows(body, "CrateFetcher", "/")
    assert google_allows(body, "Cra", "/")
    assert [agent.name for agent in made.robots_groups.nameless] == ["Crate 9", "Looks like a browser"]
    notes = "\n".join(made.limitations)
    assert "robots.txt has no name for Crate 9: refused, but not declared." in notes
    assert "Looks like a browser. Neither declared nor refused." in notes


def test_a_documented_name_takes_precedence_over_the_same_name_in_a_user_agent() -> None:
    agents = (
        Agent("Good", OPERATOR, (Usage.SEARCH,), ("GoodBot",), "Same"),
        Agent("Bad", OPERATOR, (Usage.TRAIN_AI,), ("Same",)),
    )
    made = CompiledPolicy(STANCE, Catalog(agents))
    assert google_allows(made.documents["/robots.txt"].body, "Same", "/")
    assert made.robots_groups.shared == (("Bad", "Same"),)


def test_a_name_shared_with_an_allowed_crawler_is_not_refused() -> None:
    shared = (
        Agent("One", OPERATOR, (Usage.TRAIN_AI,), ("One",), robots_txt_tokens=("Shared",)),
        Agent("Two", OPERATOR, (Usage.SEARCH,), ("Two",), robots_txt_tokens=("Shared",)),
    )
    assert google_allows(robots(STANCE, Catalog(shared)), "Shared", "/")
    assert not google_allows(robots(STANCE, Catalog(shared[:1])), "Shared", "/")


@pytest.mark.parametrize("token", ["*", "Bad#Bot", "Bad\nDisallow: /", "Bad\u2028Bot", "Bädbot", "", " "])
def test_a_name_that_cannot_be_written_is_left_out(token: str) -> None:
    odd = Agent("Odd", OPERATOR, (Usage.TRAIN_AI,), ("Odd",), token, (token,))
    text = robots(STANCE, Catalog((odd, *AGENTS)))
    assert google_allows(text, "Googlebot", "/")
    assert build_groups(CompiledPolicy(STANCE, Catalog((odd,))).guard.table, (), (), (), STANCE).groups == ()
