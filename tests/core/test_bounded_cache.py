"""A memory that strangers fill."""

from hypothesis import given
from hypothesis import strategies as st

from noai_guard.core.bounded_cache import BoundedCache


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


def test_a_full_memo_forgets_everything_at_once() -> None:
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
