"""The index of wishes: what it says of a work, what it costs, and what changes in it."""

from collections.abc import Iterable, Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.core import wish_index
from noai_guard.core.model import NOTHING_WISHED, Action, PathPolicy, Usage
from noai_guard.core.wish_index import (
    COMBINATIONS,
    UNKNOWN,
    UNSET,
    WishIndex,
    choices_of,
    number_of,
    stricter,
    strictest_of,
    wished_policy,
)
from noai_guard.core.wishes import WISHED_USAGES, Choice, WorkWishes
from tests.cost import function_calls, peak_bytes

ALLOW, DISALLOW = Choice.ALLOW, Choice.DISALLOW
TRAIN, SEARCH = Usage.TRAIN_AI, Usage.AI_SEARCH
NO_TRAINING = number_of({TRAIN: DISALLOW})
OPEN = PathPolicy("/**", dict.fromkeys(Usage, Action.ALLOW))
CLOSED = PathPolicy("/**", dict.fromkeys(Usage, Action.LICENSE_REQUIRED))
CHOICES = st.dictionaries(st.sampled_from(WISHED_USAGES), st.sampled_from(Choice))


def changed(index: WishIndex, works: Iterable[WorkWishes], version: int) -> WishIndex:
    """Return the index after changes that it can take."""
    after = index.with_changes(works, version)
    assert after is not None
    return after


def index_of(**works: Mapping[Usage, Choice]) -> WishIndex:
    return WishIndex(WorkWishes(name, choices) for name, choices in works.items())


def test_every_combination_of_choices_has_a_number_and_back() -> None:
    assert {number_of(choices_of(number)) for number in range(COMBINATIONS)} == set(range(COMBINATIONS))
    assert number_of({}) == number_of(dict.fromkeys(WISHED_USAGES, Choice.UNSET)) == UNSET


@given(CHOICES, CHOICES)
def test_the_stricter_of_two_counts_for_each_usage(one: dict[Usage, Choice], other: dict[Usage, Choice]) -> None:
    both = choices_of(stricter(number_of(one), number_of(other)))
    for usage in WISHED_USAGES:
        given = one.get(usage, Choice.UNSET), other.get(usage, Choice.UNSET)
        assert both[usage].strictness == max(choice.strictness for choice in given)


def test_without_works_nothing_is_wished() -> None:
    assert strictest_of(()) == UNSET
    assert WishIndex().strictest(["tide"]) == UNSET
    assert len(WishIndex()) == 0


def test_an_index_that_could_not_be_read_knows_nothing() -> None:
    assert WishIndex(known=False).strictest(["tide"]) == UNKNOWN


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        ("Tide", NO_TRAINING),
        ("TIDE", NO_TRAINING),
        ("tide", number_of({SEARCH: DISALLOW})),
        ("DEA122612345", NO_TRAINING),
        ("DE-A12-26-12345", NO_TRAINING),
        ("de-a12-26-12345", NO_TRAINING),
        ("other", None),
        ("", None),
    ],
)
def test_a_name_is_found_as_it_is_and_else_in_any_letter_case(asked: str, number: int | None) -> None:
    index = index_of(Tide={TRAIN: DISALLOW}, tide={SEARCH: DISALLOW}, DEA122612345={TRAIN: DISALLOW})
    if asked == "TIDE":
        number = number_of({TRAIN: DISALLOW, SEARCH: DISALLOW})
    assert index.number(asked) == number


@pytest.mark.parametrize(
    ("wished", "asked"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("cafe\u0301", "caf\u00e9"),
        ("Cafe\u0301", "CAF\u00c9"),
        ("stra\u00dfe", "STRASSE"),
        ("\u212aelvin", "kelvin"),
    ],
)
def test_a_name_is_found_however_a_file_system_spells_its_accents(wished: str, asked: str) -> None:
    assert index_of(**{wished: {TRAIN: DISALLOW}}).number(asked) == NO_TRAINING
    assert changed(index_of(), [WorkWishes(wished, {TRAIN: DISALLOW})], 1).number(asked) == NO_TRAINING


def test_of_several_creators_of_a_work_the_strictest_counts() -> None:
    works = [WorkWishes("tide", {TRAIN: ALLOW}), WorkWishes("tide", {TRAIN: DISALLOW, SEARCH: ALLOW})]
    shared = {TRAIN: ALLOW}
    works += [
        WorkWishes("ebb", shared),
        WorkWishes("flow", shared),
        WorkWishes("foam", {TRAIN: ALLOW}),
        WorkWishes("foam", {}),
    ]
    index = WishIndex(works)
    assert index.number("tide") == NO_TRAINING
    assert index.number("foam") == UNSET
    assert index.number("flow") == index.number("ebb") == number_of(shared)
    assert index.listed == {"tide": NO_TRAINING, **dict.fromkeys(("ebb", "flow", "foam"), number_of(shared))}
    assert len(index) == 4


def test_the_names_that_documents_may_list_are_bounded_and_those_that_are_disallowed_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wish_index, "MAX_LISTED", 2)
    index = index_of(a={TRAIN: ALLOW}, b={TRAIN: ALLOW}, c={TRAIN: ALLOW}, d={TRAIN: DISALLOW})
    assert list(index.listed) == ["d", "a"]
    index = index_of(a={TRAIN: DISALLOW}, b={TRAIN: DISALLOW}, c={TRAIN: DISALLOW})
    assert list(index.listed) == ["a", "b"]
    assert list(changed(index, [WorkWishes("e", {TRAIN: DISALLOW})], 1).listed) == ["a", "b"]


def test_changes_replace_what_was_said_of_a_work_and_leave_the_index_before_alone() -> None:
    before = index_of(Tide={TRAIN: DISALLOW}, foam={TRAIN: DISALLOW}, gone={SEARCH: DISALLOW})
    changes = [WorkWishes("Tide", {SEARCH: ALLOW}), WorkWishes("Tide", {SEARCH: DISALLOW}), WorkWishes("gone", {}),
               WorkWishes("new", {TRAIN: ALLOW}), WorkWishes("none", {TRAIN: Choice.UNSET})]  # fmt: skip
    after = changed(before, changes, version=7)
    no_search = number_of({SEARCH: DISALLOW})
    assert [after.number(name) for name in ("Tide", "tide", "foam", "gone", "new")] == [
        no_search, no_search, NO_TRAINING, None, number_of({TRAIN: ALLOW}),
    ]  # fmt: skip
    assert after.version == 7
    assert after.changed == 4
    assert len(after) == 4
    assert sorted(after.numbers) == sorted([no_search, NO_TRAINING, number_of({TRAIN: ALLOW}), UNSET])
    assert after.listed == {"foam": NO_TRAINING, "Tide": no_search, "new": number_of({TRAIN: ALLOW})}
    assert before.number("Tide") == NO_TRAINING
    assert before.number("new") is None
    again = changed(after, [WorkWishes("new", {})], version=8)
    assert again.number("new") is None
    assert after.number("new") is not None


@given(st.dictionaries(st.text(max_size=8), CHOICES, max_size=20), st.dictionaries(st.text(max_size=8), CHOICES))
def test_changes_make_the_same_index_as_reading_all_again(
    works: dict[str, dict[Usage, Choice]], changes: dict[str, dict[Usage, Choice]]
) -> None:
    def read(all_of_them: Mapping[str, dict[Usage, Choice]]) -> Iterator[WorkWishes]:
        return (WorkWishes(name, choices) for name, choices in all_of_them.items())

    changes = {name: choices for name, choices in changes.items() if choices}
    after, whole = changed(WishIndex(read(works)), read(changes), 1), WishIndex(read(works | changes))
    for name in works | changes:
        assert after.number(name) == whole.number(name)
    assert after.counts == whole.counts


@pytest.mark.parametrize("decide", [False, True])
def test_site_and_creator_meet_in_one_path_policy(decide: bool) -> None:
    number = number_of({TRAIN: DISALLOW, SEARCH: ALLOW})
    merged = wished_policy(CLOSED, number, decide=decide, on_unknown=Action.ALLOW)
    assert merged.usages[TRAIN] is Action.DENY
    assert merged.usages[SEARCH] is (Action.ALLOW if decide else Action.LICENSE_REQUIRED)
    assert merged.usages[Usage.AI_INPUT] is Action.LICENSE_REQUIRED
    assert merged.wish.disallowed == {TRAIN}
    assert merged.wish.allowed == ({SEARCH} if decide else set())
    assert merged.pattern == CLOSED.pattern


def test_where_nothing_is_wished_the_path_policy_is_the_same_object() -> None:
    assert wished_policy(OPEN, UNSET, decide=True, on_unknown=Action.DENY) is OPEN
    assert wished_policy(OPEN, number_of({TRAIN: ALLOW}), decide=False, on_unknown=Action.DENY) is OPEN
    assert wished_policy(OPEN, UNKNOWN, decide=True, on_unknown=Action.ALLOW) is OPEN
    assert OPEN.wish is NOTHING_WISHED


def test_where_nobody_could_be_asked_the_policy_says_what_happens() -> None:
    unknown = wished_policy(OPEN, UNKNOWN, decide=True, on_unknown=Action.DENY)
    assert {usage for usage, action in unknown.usages.items() if action is Action.DENY} == set(WISHED_USAGES)
    assert not unknown.wish.known


def _many(count: int) -> Iterator[WorkWishes]:
    choices = [{TRAIN: DISALLOW}, {SEARCH: DISALLOW}, {}]
    return (WorkWishes(f"Song-{number:07}", choices[number % 3]) for number in range(count))


def test_a_work_takes_16_bytes_at_most_and_a_look_up_costs_the_same_in_a_large_index() -> None:
    small, large = WishIndex(_many(1_000)), WishIndex(_many(50_000))
    small.number("Song-0000007"), large.number("Song-0000007")
    assert function_calls(lambda: large.number("Song-0000007")) == function_calls(lambda: small.number("Song-0000007"))
    kept = large._exact.buffer_info()[1] + large._folded.buffer_info()[1]
    assert kept * 8 == 16 * 50_000
    # While it is made, there are lists: 300 MB for a million works.
    assert peak_bytes(lambda: WishIndex(_many(50_000))) < 300 * 50_000


NAMES = ["Tide", "TIDE", "tide", "TiDe", "\u00c9tude", "E\u0301tude", "\u00e9tude", "ebb"]
SOME = st.dictionaries(st.sampled_from(NAMES), CHOICES)


@given(SOME, st.lists(SOME, max_size=4))
def test_changes_of_names_that_differ_in_letter_case_only_agree_with_reading_all_again(
    works: dict[str, dict[Usage, Choice]], rounds: list[dict[str, dict[Usage, Choice]]]
) -> None:
    works = {name: choices for name, choices in works.items() if choices}
    index = index_of(**works)
    for changes in rounds:
        works = {name: choices for name, choices in (works | changes).items() if choices}
        maybe = index.with_changes((WorkWishes(name, choices) for name, choices in changes.items()), 1)
        whole = index_of(**works)
        index = whole if maybe is None else maybe
        for name in (*NAMES, "tIDE", "ETUDE", "\u00c9TUDE"):
            assert index.number(name) == whole.number(name), name
        assert index.counts == whole.counts


def test_one_of_two_names_that_differ_in_letter_case_is_changed_by_reading_all_again() -> None:
    index = index_of(Tide={TRAIN: DISALLOW}, TIDE={SEARCH: DISALLOW}, Ebb={TRAIN: DISALLOW})
    assert index.with_changes([WorkWishes("Tide", {TRAIN: ALLOW})], 1) is None
    after = changed(index, [WorkWishes("Ebb", {TRAIN: ALLOW}), WorkWishes("EBB", {SEARCH: DISALLOW})], 1)
    assert after is not None
    assert after.number("eBB") == number_of({SEARCH: DISALLOW})
    assert after.with_changes([WorkWishes("EBB", {TRAIN: ALLOW})], 2) is None


def test_it_counts_the_works_for_which_something_is_wished_and_for_which_each_usage_is_disallowed() -> None:
    index = index_of(tide={TRAIN: DISALLOW, SEARCH: DISALLOW}, foam={TRAIN: DISALLOW}, ebb={TRAIN: Choice.UNSET})
    assert (len(index), index.wished) == (3, 2)
    assert index.reserved == {TRAIN: 2, SEARCH: 1}


def test_a_work_that_was_not_there_and_is_not_there_changes_nothing() -> None:
    index = index_of(tide={TRAIN: DISALLOW})
    after = changed(index, [WorkWishes("Foam", {})], 1)
    assert after.counts == index.counts
    assert after.number("foam") is None
