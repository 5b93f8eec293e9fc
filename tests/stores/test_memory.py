"""Counting in one process."""

import pytest

from noai_guard.core.questions import Count, FirstUse, Keep, Lookup
from noai_guard.errors import Unanswered
from noai_guard.stores.memory import MemoryStore


def test_requests_of_one_window_are_counted_and_the_next_begins_at_one() -> None:
    backend = MemoryStore()
    assert [backend.answer(Count("a", 60, at)) for at in (0, 30, 59.9, 60, 61)] == [1, 2, 3, 1, 2]


def test_keys_and_windows_of_other_lengths_do_not_disturb_each_other() -> None:
    backend = MemoryStore()
    asked = [Count("a", 60, 1), Count("b", 60, 1), Count("a", 10, 1), Count("a", 10, 11), Count("a", 60, 12)]
    assert [backend.answer(question) for question in asked] == [1, 1, 1, 1, 2]


def test_a_million_keys_do_not_grow_it_beyond_its_bound() -> None:
    backend = MemoryStore(max_entries=1000)
    for number in range(100_000):
        backend.answer(Count(str(number), 60, 1))
    assert len(backend._counts) <= 1000


def test_a_memory_full_of_used_keys_says_so_and_does_not_forget() -> None:
    store = MemoryStore(max_entries=10)
    assert all(store.answer(FirstUse(str(number), 60, 0)) for number in range(10))
    with pytest.raises(Unanswered, match="full"):
        store.answer(FirstUse("one more", 60, 1))
    assert not store.answer(FirstUse("0", 60, 59))
    assert store.answer(FirstUse("one more", 60, 60))
    assert len(store._used) == 1


def test_the_oldest_value_goes_first() -> None:
    store = MemoryStore(max_entries=2)
    for key in "abc":
        assert store.answer(Keep(key, key, 60, 0))
    assert [store.answer(Lookup(key, 1)) for key in "abc"] == ["", "b", "c"]
