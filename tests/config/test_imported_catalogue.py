"""A catalogue as `noai-guard creators import` reads it: everything in it, with whose works they are."""

from datetime import date
from pathlib import Path

import pytest

from noai_guard.config.catalogue_lines import CatalogueLine
from noai_guard.config.wish_catalogue import WishCatalogue
from noai_guard.core.model import Usage
from noai_guard.core.wishes import Choice
from noai_guard.core.works import Works
from noai_guard.errors import WishesInvalid


def test_every_fact_and_choice_of_a_line_is_read_for_an_import(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text(
        "work,creator,title,train-ai,ai-search,since,set_by\n"
        "'-song,Ada,'=1+1,unset,-,2027-01-31,Label\n"
        "other,,,yes,,,\n"
    )
    assert WishCatalogue(file, Works()).lines("Bo") == [
        CatalogueLine("-song", {Usage.TRAIN_AI: Choice.UNSET}, "Ada", "=1+1", "", "Label", date(2027, 1, 31)),
        CatalogueLine("other", {Usage.TRAIN_AI: Choice.ALLOW}, "Bo"),
    ]
    file.write_text("isrc,train-ai\nDE-A01-26-00001,no\n")
    assert WishCatalogue(file, Works()).lines("Bo") == [
        CatalogueLine("DEA012600001", {Usage.TRAIN_AI: Choice.DISALLOW}, "Bo", isrc="DEA012600001")
    ]


def test_a_line_of_an_import_needs_a_creator_and_facts_of_one_line(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text(
        f'work,creator,title,train-ai,since\na,,,no,\nb,Ada,{"x" * 201},no,\nc,"A\nda",,no,\nd,Ada,,no,soon\n'
    )
    with pytest.raises(WishesInvalid) as invalid:
        WishCatalogue(file, Works()).lines()
    assert [(problem.code, problem.line) for problem in invalid.value.problems] == [
        ("W007", 2), ("W008", 3), ("W008", 5), ("W005", 6),
    ]  # fmt: skip
