"""Which of a creator's wishes are in force on a day."""

from datetime import date

import pytest

from noai_guard.core.model import Usage
from noai_guard.core.wishes import Choice, Wish, in_force

TODAY, LATER, EARLIER = date(2026, 11, 29), date(2027, 1, 1), date(2026, 1, 1)
ALLOW, UNSET, DISALLOW = Choice.ALLOW, Choice.UNSET, Choice.DISALLOW


def wish(choice: Choice, since: date | None = None) -> Wish:
    return Wish("tide", Usage.TRAIN_AI, choice, since=since)


@pytest.mark.parametrize(
    ("history", "choice"),
    [
        ([wish(ALLOW)], ALLOW),
        ([wish(ALLOW, EARLIER)], ALLOW),
        ([wish(ALLOW, TODAY)], ALLOW),
        ([wish(ALLOW, LATER)], None),
        ([wish(DISALLOW, LATER)], DISALLOW),
        ([wish(DISALLOW), wish(ALLOW, LATER)], DISALLOW),
        ([wish(DISALLOW), wish(UNSET, LATER)], DISALLOW),
        ([wish(ALLOW), wish(UNSET, LATER)], UNSET),
        ([wish(DISALLOW), wish(ALLOW)], ALLOW),
        ([wish(ALLOW, LATER), wish(DISALLOW)], DISALLOW),
        ([], None),
    ],
)
def test_what_tightens_holds_at_once_and_what_loosens_from_its_day(history: list[Wish], choice: Choice | None) -> None:
    assert in_force(history, TODAY).get(Usage.TRAIN_AI) is choice


def test_each_usage_has_a_history_of_its_own() -> None:
    history = [wish(DISALLOW), Wish("tide", Usage.AI_SEARCH, ALLOW)]
    assert in_force(history, TODAY) == {Usage.TRAIN_AI: DISALLOW, Usage.AI_SEARCH: ALLOW}


def test_choices_are_ranked_from_the_mildest() -> None:
    assert [choice.strictness for choice in (ALLOW, UNSET, DISALLOW)] == [0, 1, 2]
