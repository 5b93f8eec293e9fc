import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.core import text

HOSTILE = st.text(st.characters(), max_size=40)


@given(HOSTILE)
def test_one_line_has_no_control_character_and_no_blank_at_its_ends(sample: str) -> None:
    line = text.one_line(sample)
    assert not text.CONTROL_CHARACTERS.search(line)
    assert line == " ".join(line.split())


@given(HOSTILE)
def test_printable_text_can_be_shown_and_loses_nothing_that_could_be_shown(sample: str) -> None:
    assert text.printable(sample).isprintable()
    shown = "".join(filter(str.isprintable, sample))
    assert text.printable(shown) == shown


@given(HOSTILE, st.integers(0, 20))
def test_printable_ascii_is_ascii_on_one_line(sample: str, max_length: int) -> None:
    line = text.printable_ascii(sample, max_length)
    assert line.isascii()
    assert line.isprintable()


@given(HOSTILE)
def test_ascii_text_may_stand_in_a_header_field(sample: str) -> None:
    value = text.ascii_text(sample)
    assert all(" " <= character <= "~" for character in value)
    assert value == value.strip()


def test_a_text_of_several_lines_becomes_one() -> None:
    assert text.one_line(" a\r\n\tb\x00c  d\u2028e\ud800 ") == "a b c d e"


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert text.printable("Zażółć \x1b[2J\n\ud800") == "Zażółć \\x1b[2J\\n\\ud800"


@pytest.mark.parametrize(
    ("sample", "expected"), [("GPTBot/1.2", "GPTBot/1.2"), ("ż\n", "\\u017c\\n"), ("long name", "long name")]
)
def test_printable_ascii_escapes_only_what_needs_it(sample: str, expected: str) -> None:
    assert text.printable_ascii(sample, 9 if sample == "long name" else 10) == expected


def test_printable_ascii_is_cut_before_it_is_escaped() -> None:
    assert text.printable_ascii("a\nb", 2) == "a\\n"


def test_columns_of_a_table_are_aligned() -> None:
    assert list(text.table([("a", "bbb"), ("cc", "d")], width=80)) == ["a   bbb", "cc  d"]


def test_the_widest_columns_of_a_table_are_cut_to_its_width() -> None:
    rows = list(text.table([("name", "x" * 30, "y" * 12), ("n", "short", "z")], width=32))
    assert rows == ["name  xxxxxxxxxxx…  yyyyyyyyyyyy", "n     short         z"]


def test_a_table_that_cannot_be_narrow_enough_keeps_eight_characters_of_each_column() -> None:
    assert list(text.table([("x" * 20, "y" * 20)], width=5)) == ["xxxxxxx…  yyyyyyy…"]


def test_what_has_no_ascii_form_is_a_question_mark_in_a_header_field() -> None:
    assert text.ascii_text("Zażółć\n bot\x00") == "Za???? bot?"


@pytest.mark.parametrize(("length", "expected"), [(3, "abc"), (2, "a…"), (1, "…")])
def test_an_ellipsis_stands_for_what_is_cut_off(length: int, expected: str) -> None:
    assert text.truncated("abc", length) == expected


@pytest.mark.parametrize(
    ("names", "expected"), [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (["a", "b", "c", "d"], "a, b and 2 more")]
)
def test_a_long_list_ends_with_the_number_of_the_others(names: list[str], expected: str) -> None:
    assert text.listed(names, 2) == expected


def test_a_misspelled_word_is_answered_in_the_known_spelling() -> None:
    known = ("OpenAI", "Anthropic")
    assert text.closest("opnai", known) == "OpenAI"
    assert text.closest("nothing like it", known) == ""
    assert text.closest("opnai", known, cutoff=0.95) == ""
    assert text.did_you_mean("OpenAy", known) == "did you mean 'OpenAI'?"
    assert text.did_you_mean("x" * 100_000, known) == ""
