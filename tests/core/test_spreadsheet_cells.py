"""Text in spreadsheets stays text."""

import pytest

from noai_guard.core.spreadsheet_cells import original_cell, safe_cell


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("", ""), ("Song", "Song"), ("it's", "it's"), ("'quoted'", "'quoted'"), ("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"), ("\t=1", "'\t=1"), ("\r=1", "'\r=1"), ("'=1", "''=1"), ("''-1", "'''-1"),
        (" =1", "' =1"), ("' @x", "'' @x"), ("\uff1d1", "'\uff1d1"), ("\n=1", "'\n=1"), (" Song", " Song"),
    ],
)  # fmt: skip
def test_a_cell_begins_no_formula_and_gives_its_text_back(text: str, cell: str) -> None:
    assert safe_cell(text) == cell
    assert original_cell(cell) == text
