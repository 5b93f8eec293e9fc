"""International Standard Recording Codes, as people write them."""

import pytest

from noai_guard.core.isrc import isrc, without_hyphens


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("DEA122612345", "DEA122612345"),
        ("DE-A12-26-12345", "DEA122612345"),
        (" de-a12-26-12345 ", "DEA122612345"),
        ("ISRC DE-A12-26-12345", "DEA122612345"),
        ("ISRC: DEA122612345", "DEA122612345"),
        ("DE A12 26 12345", "DEA122612345"),
        ("DE\u2011A12\u201326\u00a012345", "DEA122612345"),
        ("DEA12261234", None),
        ("DEA1226123456", None),
        ("1EA122612345", None),
        ("DE-A1-226-12345", None),
        ("\u0664" * 12, None),
        ("\u212aEA122612345", None),
        ("dea122612345", "DEA122612345"),
        ("", None),
    ],
)
def test_a_code_is_read_with_and_without_hyphens(text: str, code: str | None) -> None:
    assert isrc(text) == code


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("DE-A12-26-12345", "DEA122612345"),
        ("DEA122612345", "DEA122612345"),
        ("my-first-song", "my-first-song"),
        ("a-b", "a-b"),
    ],
)
def test_only_a_code_loses_its_hyphens(name: str, same: str) -> None:
    assert without_hyphens(name) == same
