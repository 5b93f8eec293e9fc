"""A memory that strangers fill."""

from hypothesis import given
from hypothesis import strategies as st

from noai_guard.core.bounded_cache import BoundedCache


def test_a_key_seen_before_is_not_computed_again() -> None:
    calls: list[str] = []

    def double(text: str) -> str:
        calls.append(text)
        return text * 2

    memo = BoundedCache(double)
    assert [memo["a"], memo["a"], memo["b"]] == ["aa", "aa", "bb"]
    assert calls == ["a", "b"]


def test_a_heavy_key_is_computed_and_not_kept() -> None:
    memo = BoundedCache(len, heaviest=10)
    assert memo["x" * 11] == 11
    assert not memo


def test_a_full_memo_forgets_everything_at_once() -> None:
    memo = BoundedCache(str, most=3)
    for number in range(4):
        memo[str(number)]
    assert list(memo) == ["3"]


@given(st.lists(st.binary(max_size=40), max_size=200))
def test_it_never_holds_more_than_its_count_and_weight_and_never_lies(keys: list[bytes]) -> None:
    memo = BoundedCache(bytes.hex, most=20, weight=200, heaviest=30)
    for key in keys:
        assert memo[key] == key.hex()
        assert len(memo) <= 20
        assert sum(map(len, memo)) <= 200


def test_a_function_that_raises_leaves_nothing_behind() -> None:
    memo = BoundedCache(lambda key: 1 // key)
    assert memo[1] == 1
    try:
        memo[0]
    except ZeroDivisionError:
        assert 0 not in memo
    else:
        raise AssertionError("the exception was swallowed")
