import pytest

from noai_guard.core.header_conditions import HeaderCondition


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        (b"1.1 scrapoxy", True),
        (b"1.1 SCRAPOXY (x)", True),
        (b"scrapoxy", True),
        (b"a.b+c", True),
        (b"1.1 scrapoxys", False),
        (b"1.1 my-scrapoxy", False),
        (b"1.1 scrapoxy_2", False),
        (b"aXb+c", False),
        (b"", False),
    ],
)
def test_a_word_is_found_only_where_it_stands_alone(value: bytes, holds: bool) -> None:
    assert HeaderCondition("via", ("scrapoxy", "a.b+c")).holds([(b"x", b"scrapoxy"), (b"via", value)]) is holds


def test_any_value_will_do_where_no_word_is_given_and_a_missing_field_never() -> None:
    condition = HeaderCondition("x-crawler")
    assert condition.holds([(b"x-crawler", b"")])
    assert not condition.holds([(b"x-crawlers", b"1")])
    assert not condition.holds([])


def test_every_line_of_a_field_is_looked_at() -> None:
    assert HeaderCondition("via", ("zyte",)).holds([(b"via", b"a"), (b"via", b"b"), (b"via", b"zyte")])


def test_conditions_with_the_same_words_are_equal() -> None:
    assert HeaderCondition("via", ("a",)) == HeaderCondition("via", ("a",))
    assert len({HeaderCondition("via", ("a",)), HeaderCondition("via", ("a",)), HeaderCondition("via")}) == 2
