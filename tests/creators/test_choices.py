"""What tightens holds at once, what loosens is dated, and nothing that was said is ever lost."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.core.wishes import Choice
from noai_guard.creators.choices import Facts, Said, rows_for, said
from noai_guard.stores.wish_table import ALL_WORKS, Row, in_force
from tests.creators.site import NOW, TRAIN

ALLOW, DISALLOW, UNSET = Choice.ALLOW, Choice.DISALLOW, Choice.UNSET
NOTICE = 30


def chosen(own: list[Row], general: list[Row], choice: Choice, day: int, work: str = "song") -> list[Row]:
    """Return the rows that a choice on a day adds, with the ids they get."""
    rows = rows_for(
        "Ada", {TRAIN: choice}, own, general, Facts(work), set_by="Ada", now=NOW + timedelta(days=day), notice=NOTICE
    )
    return [replace(row, id=len(own) + number) for number, row in enumerate(rows, 1)]


def holds(rows: list[Row], day: int) -> Choice:
    row = in_force(rows, NOW.date() + timedelta(days=day)).get(TRAIN)
    return row.choice if row else UNSET


@pytest.mark.parametrize(
    ("first", "then", "at_once"),
    [
        (UNSET, DISALLOW, True), (UNSET, ALLOW, False), (ALLOW, UNSET, True), (ALLOW, DISALLOW, True),
        (DISALLOW, UNSET, False), (DISALLOW, ALLOW, False),
    ],
)  # fmt: skip
def test_what_tightens_holds_at_once_and_what_loosens_after_the_notice(
    first: Choice, then: Choice, at_once: bool
) -> None:
    rows = [Row("Ada", "song", first, TRAIN, set_at=NOW, since=NOW.date())] if first is not UNSET else []
    rows += chosen(rows, [], then, 0)
    assert holds(rows, 0) is (then if at_once else first)
    assert holds(rows, NOTICE - 1) is (then if at_once else first)
    assert holds(rows, NOTICE) is then


def test_a_choice_that_is_repeated_adds_nothing_and_is_not_put_off() -> None:
    rows = [Row("Ada", "song", DISALLOW, TRAIN, since=NOW.date())]
    rows += chosen(rows, [], ALLOW, 0)
    assert chosen(rows, [], ALLOW, 10) == []
    assert holds(rows, NOTICE) is ALLOW


def test_a_milder_choice_that_was_to_come_is_withdrawn_by_another_one() -> None:
    rows = [Row("Ada", "song", DISALLOW, TRAIN, id=1, since=NOW.date())]
    rows += chosen(rows, [], ALLOW, 0)
    rows += chosen(rows, [], UNSET, 10)
    assert [holds(rows, day) for day in (29, 30, 39, 40)] == [DISALLOW, DISALLOW, DISALLOW, UNSET]


def test_leaving_a_work_to_the_choice_for_all_is_judged_by_what_comes_of_it() -> None:
    general = [Row("Ada", ALL_WORKS, DISALLOW, TRAIN, id=1, since=NOW.date())]
    own = [Row("Ada", "song", ALLOW, TRAIN, id=2, since=NOW.date())]
    assert [row.since for row in chosen(own, general, UNSET, 0)] == [NOW.date()]
    own = [Row("Ada", "song", DISALLOW, TRAIN, id=2, since=NOW.date())]
    assert [row.since for row in chosen(own, general, UNSET, 0)] == [NOW.date()]
    assert [row.since for row in chosen(own, [], UNSET, 0)] == [NOW.date() + timedelta(days=NOTICE)]
    assert [row.since for row in chosen([], general, ALLOW, 0)] == [NOW.date() + timedelta(days=NOTICE)]
    assert [row.since for row in chosen(general, general, UNSET, 0, ALL_WORKS)] == [NOW.date() + timedelta(days=NOTICE)]


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(list(Choice))), max_size=8))
def test_whatever_is_chosen_nothing_looser_ever_holds_before_its_notice_and_the_last_choice_holds_in_the_end(
    steps: list[tuple[int, Choice]],
) -> None:
    rows: list[Row] = []
    day = 0
    last_said: dict[int, Choice] = {}
    for days, choice in steps:
        day += days
        before = holds(rows, day)
        rows += chosen(rows, [], choice, day)
        last_said[day] = choice
        if choice.strictness >= before.strictness:
            assert holds(rows, day) is choice
        else:
            assert holds(rows, day) is before
    end = list(last_said.values())[-1] if last_said else UNSET
    assert holds(rows, day + NOTICE) is end
    # What is milder than what held is never in force unless it was said that long before.
    for looked in range(day + NOTICE + 1):
        now, earlier = holds(rows, looked), holds(rows, looked - 1) if looked else UNSET
        if now.strictness < earlier.strictness:
            assert any(said_on <= looked - NOTICE and choice is now for said_on, choice in last_said.items())


def test_what_is_said_is_told_apart_from_what_holds() -> None:
    assert said([], NOW) == {}
    rows = [Row("Ada", "song", DISALLOW, TRAIN, id=1, since=NOW.date())]
    rows += chosen(rows, [], ALLOW, 0)
    assert said(rows, NOW) == {TRAIN: Said(DISALLOW, rows[-1])}
    assert said(rows, NOW)[TRAIN].last is ALLOW
    assert said(rows, NOW + timedelta(days=NOTICE)) == {TRAIN: Said(ALLOW)}


def test_the_latest_title_and_isrc_of_a_work_count() -> None:
    rows = [Row("Ada", "song", UNSET, title="Old", isrc="X"), Row("Ada", "song", UNSET, title="New")]
    assert Facts.of("song", rows) == Facts("song", "New", "X")
