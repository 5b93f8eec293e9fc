"""Caches whose keys come from strangers."""

from hypothesis import given
from hypothesis import strategies as st

from noai_guard.core.bounded_cache import BoundedCache, ExpiringCache


def test_a_key_seen_before_is_not_computed_again() -> None:
    calls: list[str] = []

    def double(text: str) -> str:
        calls.append(text)
        return text * 2

    cache = BoundedCache(double)
    assert [cache["a"], cache["a"], cache["b"]] == ["aa", "aa", "bb"]
    assert calls == ["a", "b"]


def test_a_heavy_key_is_computed_and_not_kept() -> None:
    cache: BoundedCache[str, int] = BoundedCache(len, max_key_weight=10)
    assert cache["x" * 11] == 11
    assert not cache


def test_a_full_cache_forgets_everything_at_once() -> None:
    cache = BoundedCache(str, max_entries=3)
    for number in range(4):
        cache[str(number)]
    assert list(cache) == ["3"]


@given(st.lists(st.binary(max_size=40), max_size=200))
def test_it_never_holds_more_than_its_count_and_weight_and_never_lies(keys: list[bytes]) -> None:
    cache = BoundedCache(bytes.hex, max_entries=20, max_weight=200, max_key_weight=30)
    for key in keys:
        assert cache[key] == key.hex()
        assert len(cache) <= 20
        assert sum(map(len, cache)) <= 200


def test_a_function_that_raises_leaves_nothing_behind() -> None:
    cache: BoundedCache[int, int] = BoundedCache(lambda key: 1 // key)
    assert cache[1] == 1
    try:
        cache[0]
    except ZeroDivisionError:
        assert 0 not in cache
    else:
        raise AssertionError("the exception was swallowed")


def test_a_cache_that_is_heavy_enough_forgets_everything_at_once() -> None:
    cache: BoundedCache[str, int] = BoundedCache(len, max_weight=4)
    assert [cache["aa"], cache["bb"], cache["c"]] == [2, 2, 1]
    assert list(cache) == ["c"]


def test_keys_without_a_length_weigh_one() -> None:
    cache: BoundedCache[int, int] = BoundedCache(lambda number: -number, max_weight=2)
    assert [cache[1], cache[2], cache[3]] == [-1, -2, -3]
    assert list(cache) == [3]


def test_a_value_is_kept_until_its_time_is_over() -> None:
    cache: ExpiringCache[str, int] = ExpiringCache(ttl=10, max_entries=5)
    cache.put("a", 1, now=100)
    assert cache.get("a", now=100) == 1
    assert cache.get("a", now=109.9) == 1
    assert cache.get("a", now=110) is None


def test_a_key_that_was_never_put_in_has_no_value() -> None:
    assert ExpiringCache[str, int](ttl=10, max_entries=5).get("a", now=0) is None


def test_a_second_value_replaces_the_first_and_begins_its_time_anew() -> None:
    cache: ExpiringCache[str, int] = ExpiringCache(ttl=10, max_entries=5)
    cache.put("a", 1, now=0)
    cache.put("a", 2, now=9)
    assert cache.get("a", now=18) == 2
    assert len(cache) == 1


def test_a_discarded_value_is_gone_and_discarding_an_unknown_key_does_nothing() -> None:
    cache: ExpiringCache[str, int] = ExpiringCache(ttl=10, max_entries=5)
    cache.put("a", 1, now=0)
    cache.discard("a")
    cache.discard("b")
    assert cache.get("a", now=0) is None
    assert len(cache) == 0


def test_the_oldest_values_go_first_where_there_is_no_room() -> None:
    cache: ExpiringCache[int, int] = ExpiringCache(ttl=10, max_entries=3)
    for number in range(5):
        cache.put(number, number, now=number)
    assert [cache.get(number, now=5) for number in range(5)] == [None, None, 2, 3, 4]


def test_expired_values_are_removed_two_for_each_that_is_put_in() -> None:
    cache: ExpiringCache[int, int] = ExpiringCache(ttl=10, max_entries=100)
    for number in range(6):
        cache.put(number, number, now=0)
    cache.put(6, 6, now=10)
    assert len(cache) == 5
    cache.put(7, 7, now=10)
    assert len(cache) == 4
