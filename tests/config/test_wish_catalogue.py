"""A catalogue of works as spreadsheets save it: how it is read, and what is said about each mistake."""

import codecs
import csv
import io
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.config import catalogue_reader
from noai_guard.config.catalogue_reader import COLUMNS
from noai_guard.config.wish_catalogue import WishCatalogue
from noai_guard.core.model import Usage
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.wishes import Choice, WorkWishes
from noai_guard.core.works import Works
from noai_guard.errors import Problem, WishesInvalid
from tests.cost import function_calls

DAY = date(2026, 11, 29)
WORKS = Works(["/audio/{work}.mp3", "/hls/{work}/**"])
TRAIN, SEARCH = Usage.TRAIN_AI, Usage.AI_SEARCH
ALLOW, DISALLOW = Choice.ALLOW, Choice.DISALLOW


def catalogue(folder: Path, content: str | bytes) -> WishCatalogue:
    file = folder / "catalogue.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return WishCatalogue(file, WORKS)


def read(folder: Path, content: str | bytes) -> list[WorkWishes]:
    return list(catalogue(folder, content).read(DAY))


def problems(folder: Path, content: str | bytes) -> list[tuple[int, str, str]]:
    with pytest.raises(WishesInvalid) as caught:
        read(folder, content)
    assert all(problem.hint and problem.file.endswith("catalogue.csv") for problem in caught.value.problems)
    return [(problem.line, problem.code, problem.message) for problem in caught.value.problems]


def choices(folder: Path, content: str | bytes) -> dict[str, dict[Usage, Choice]]:
    return {each.work: dict(each.choices) for each in read(folder, content)}


def outcome(folder: Path, content: bytes) -> tuple[list[WorkWishes], tuple[Problem, ...]]:
    """Return what was read, or else the mistakes."""
    try:
        return read(folder, content), ()
    except WishesInvalid as error:
        return [], error.problems


def test_every_column_is_read(tmp_path: Path) -> None:
    row = "tide,,DE-A12-26-12345,Ines,Tide,disallow,allow,,unset,-,no,2026-01-31,Label,2026-01-30T12:00:00+01:00"
    (tide,) = read(tmp_path, f"{','.join(COLUMNS)}\n{row}\n")
    assert tide.work == "tide"
    assert tide.isrc == "DEA122612345"
    assert tide.choices == {TRAIN: DISALLOW, SEARCH: ALLOW, Usage.SCRAPER: DISALLOW}


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("tide,,", "tide"),
        (" tide ,,", "tide"),
        (",/audio/tide.mp3,", "tide"),
        (",https://band.example/audio/b%20c.mp3,", "b c"),
        ("tide,/hls/tide/720p/1.ts,", "tide"),
        (",,DE-A12-26-12345", "DEA122612345"),
        ("tide,,DE-A12-26-12345", "tide"),
        (",,DE A12 26 12345", "DEA122612345"),
        (",,ISRC DE\u2011A12\u201326\u201312345", "DEA122612345"),
        (",https://band.example/audio/tide.mp3?utm=1#t=2,", "tide"),
    ],
)
def test_a_line_names_its_work_by_name_path_or_isrc(row: str, name: str, tmp_path: Path) -> None:
    assert choices(tmp_path, f"work,path,isrc,train-ai\n{row},no\n") == {name: {TRAIN: DISALLOW}}


EXAMPLE = "work,title,train-ai\nlied,Frühling,no\n"


@pytest.mark.parametrize(
    "content",
    [
        EXAMPLE.encode(),
        codecs.BOM_UTF8 + EXAMPLE.encode(),
        EXAMPLE.encode("utf-16"),
        codecs.BOM_UTF16_BE + EXAMPLE.encode("utf-16-be"),
        EXAMPLE.encode("utf-32"),
        EXAMPLE.encode("cp1252"),
        EXAMPLE.replace(",", ";").encode(),
        EXAMPLE.replace(",", "\t").encode("utf-16"),
        EXAMPLE.replace("\n", "\r\n").encode(),
        EXAMPLE.replace("\n", "\r").encode(),
        EXAMPLE.removesuffix("\n").encode(),
        b"sep=;\r\n" + EXAMPLE.replace(",", ";").encode(),
        EXAMPLE.replace("work,title,train-ai", " Work ,TITLE,Train_AI").encode(),
        EXAMPLE.replace("work,title,train-ai", "work,#title,train ai").encode(),
        EXAMPLE.replace("lied,Frühling,no", 'lied,"Frühling, ""neu""\nund alt",no').encode(),
        EXAMPLE.replace("no\n", "no,,\n\n,,\n").encode(),
        b"\r\n,,\r\n" + EXAMPLE.encode(),
        EXAMPLE.replace("lied", " \u200blied\u00a0").encode(),
        EXAMPLE.replace("no", "No\u200b").encode(),
    ],
)
def test_what_spreadsheets_save_is_read(content: bytes, tmp_path: Path) -> None:
    assert choices(tmp_path, content) == {"lied": {TRAIN: DISALLOW}}


def test_lines_that_end_early_leave_the_rest_unset(tmp_path: Path) -> None:
    assert choices(tmp_path, "work,train-ai,ai-search\ntide,no\nfoam\n") == {"tide": {TRAIN: DISALLOW}, "foam": {}}


def test_what_loosens_waits_for_its_day_and_what_tightens_does_not(tmp_path: Path) -> None:
    text = "work,train-ai,ai-search,since\na,allow,disallow,2027-01-01\nb,allow,disallow,2026-11-29\nc,allow,,\n"
    assert choices(tmp_path, text) == {
        "a": {SEARCH: DISALLOW},
        "b": {TRAIN: ALLOW, SEARCH: DISALLOW},
        "c": {TRAIN: ALLOW},
    }


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", [(1, "W001", "no column says which work")]),
        ("work,train-ai,mood\n", [(1, "W001", "unknown column 'mood'")]),
        ("work,trainai\n", [(1, "W001", "unknown column 'trainai'")]),
        ("work,work,train-ai\n", [(1, "W001", "the column work is there twice")]),
        ("title,train-ai\n", [(1, "W001", "no column says which work")]),
        ("work,title\n", [(1, "W001", "no column is a usage")]),
        ("work,search\n", [(1, "W001", "unknown column 'search'")]),
        (
            "work,train-ai\na,no\nb,perhaps\nc,perhaps\n",
            [(3, "W002", "train-ai says 'perhaps'"), (4, "W002", "train-ai says 'perhaps'")],
        ),
        ("work,isrc,train-ai\na,12,no\n", [(2, "W003", "'12' is no ISRC")]),
        ("work,path,train-ai\n,,no\n", [(2, "W004", "does not say which work")]),
        (
            "work,train-ai\ntide,no\n*,no\n",
            [(3, "W007", "* stands for all works of a creator, and the line names none")],
        ),
        ("work,path,train-ai\na/b,,no\n", [(2, "W004", "'a/b' is no name of a work")]),
        (f"work,train-ai\n{'a' * 201},no\n", [(2, "W004", "is no name of a work")]),
        ("work,path,train-ai\n,/press/a,no\n", [(2, "W004", "no pattern under works: holds")]),
        ("work,path,train-ai\nfoam,/audio/tide.mp3,no\n", [(2, "W004", "is of the work 'tide', not 'foam'")]),
        ("work,train-ai,since\na,no,1/31/2027\n", [(2, "W005", "since is '1/31/2027', which is no date")]),
        ("work,train-ai,since\na,no,31.02.2027\n", [(2, "W005", "since is '31.02.2027', which is no date")]),
        ("Table 1\nwork,train-ai\n", [(1, "W001", "the first line names no column of a catalogue: 'Table 1'")]),
        ("#ours\nwork,train-ai\n", [(1, "W001", "the first line names no column of a catalogue: '#ours'")]),
        ('work,title,train-ai\ntide,"Tide,no\nfoam,Foam,no\n', [(2, "W006", "open to the end of the file")]),
        ('work,title,train-ai\na,A,no\ntide,"Tide,no\nfoam,Foam,no', [(3, "W006", "open to the end of the file")]),
        ('work,title,train-ai\ntide,"Tide,no\nfoam,"Foam",no\n', [(2, "W006", "',' expected after")]),
        ('work,"title,train-ai\ntide,Tide,no\n', [(1, "W006", "open to the end of the file")]),
        ("work,train-ai\nti\0de,no\n", [(2, "W004", "is no name of a work")]),
        ("isrc,train-ai\nDE-A12,no\n", [(2, "W003", "'DE-A12' is no ISRC")]),
        ("work,train-ai,set_at\na,no,now\n", [(2, "W005", "set_at is 'now', which is no date")]),
        ("work,train-ai\na,no,b\n", [(2, "W006", "3 cells, and 2 columns")]),
        ("sep=,\nwork,train-ai\na,maybe\n", [(3, "W002", "train-ai says 'maybe'")]),
        (f'work,train-ai\n"{"a" * 140_000}",no\n', [(2, "W006", "cannot be read: field larger than")]),
    ],
)
def test_every_mistake_is_listed_with_its_line(
    content: str, expected: list[tuple[int, str, str]], tmp_path: Path
) -> None:
    found = problems(tmp_path, content)
    assert [(line, code) for line, code, _ in found] == [(line, code) for line, code, _ in expected]
    for (_, _, message), (_, _, words) in zip(found, expected, strict=True):
        assert words in message


@pytest.mark.parametrize("place", [0, 1, 3])
def test_what_a_creator_says_of_all_works_counts_where_a_line_says_nothing(place: int, tmp_path: Path) -> None:
    lines = ["tide,Ines,,allow,", "foam, Ines ,allow,unset,2027-01-01", "ebb,Jonas,,,"]
    lines.insert(place, "*,Ines,disallow,disallow,")
    assert choices(tmp_path, "\n".join(["work,creator,train-ai,ai-search,since", *lines])) == {
        "tide": {TRAIN: DISALLOW, SEARCH: ALLOW}, "foam": {TRAIN: DISALLOW, SEARCH: DISALLOW}, "ebb": {},
    }  # fmt: skip


def test_of_two_lines_for_all_works_of_a_creator_the_strictest_counts(tmp_path: Path) -> None:
    text = "work,creator,train-ai,ai-search\n*,Ines,allow,no\n*,Ines,no\ntide,Ines\n*,Jonas,allow\nebb,Jonas,,\n"
    assert {name: {usage: choice for usage, choice in said.items() if choice is not Choice.UNSET}
            for name, said in choices(tmp_path, text).items()} == {
        "tide": {TRAIN: DISALLOW, SEARCH: DISALLOW}, "ebb": {TRAIN: ALLOW},
    }  # fmt: skip


def test_a_line_for_all_works_of_which_there_are_none_is_warned_about(tmp_path: Path) -> None:
    source = catalogue(tmp_path, "work,creator,train-ai\n*,Ines,no\n*,Jonas,no\ntide,Ines,\n")
    assert [each.choices for each in source.read(DAY)] == [{TRAIN: DISALLOW}]
    assert [(each.code, each.line) for each in source.warnings] == [("W009", 3)]


def test_creators_who_speak_of_all_their_works_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_reader, "MAX_GENERAL", 2)
    found = problems(tmp_path, "work,creator,train-ai\n*,a,no\n*,b,no\n*,c,no\n*,d,no\n")
    assert {(code, message) for _, code, message in found} == {
        ("P008", "more than 2 creators say something of all their works")
    }


def test_a_mistake_in_a_line_for_all_works_is_named_once(tmp_path: Path) -> None:
    found = problems(tmp_path, "work,creator,train-ai\n*,Ines,perhaps\n")
    assert found == [(2, "W002", "train-ai says 'perhaps'")]
    assert problems(tmp_path, "work,creator,mood\n*,Ines,no\n") == [(1, "W001", "unknown column 'mood'")]
    assert len(problems(tmp_path, "work,creator,train-ai\n" + "*,Ines,perhaps\n" * 500)) == 201


@pytest.mark.parametrize(
    ("cell", "holds"),
    [
        ("29.11.2026", True), ("1.12.2026", False), ("29.11.2026 08:30", True), ("2026/11/29", True),
        ("2026-12-1", False), ("2026.11.29 08:30:00", True), ("20261129", True), ("2026-11-29T08:30", True),
    ],
)  # fmt: skip
def test_dates_that_can_be_read_in_one_way_only_are_read(cell: str, holds: bool, tmp_path: Path) -> None:
    found = choices(tmp_path, f"work,train-ai,since\ntide,allow,{cell}\n")
    assert found == {"tide": {TRAIN: ALLOW} if holds else {}}


def test_a_name_with_what_stands_behind_it_in_a_path_is_warned_about(tmp_path: Path) -> None:
    source = catalogue(tmp_path, "work,train-ai\ntide.mp3,no\nfoam,no\n.mp3,no\n")
    assert set(choices(tmp_path, "work,train-ai\ntide.mp3,no\n")) == {"tide.mp3"}
    list(source.read(DAY))
    first, *_ = source.warnings
    assert (first.code, first.line) == ("W009", 2)
    assert "write 'tide', unless it is 'tide.mp3.mp3'" in first.hint


@pytest.mark.parametrize("name", ["4,01E+12", "4.01234E+12", "4E+12"])
def test_a_long_number_that_a_spreadsheet_has_rounded_is_warned_about(name: str, tmp_path: Path) -> None:
    source = catalogue(tmp_path, f"work;train-ai\n{name};no\nE+B;no\n")
    assert len(list(source.read(DAY))) == 2
    assert [(each.code, each.line, each.hint[:28]) for each in source.warnings] == [
        ("W009", 2, "give the column the format T")
    ]


def test_many_mistakes_end_with_a_sentence_that_says_so(tmp_path: Path) -> None:
    found = problems(tmp_path, "work,train-ai\n" + "a,perhaps\n" * 500)
    assert len(found) == 201
    assert any(code == "P023" for _, code, _ in found)


def test_a_catalogue_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_reader, "MAX_WORKS", 2)
    assert problems(tmp_path, "work,train-ai\na,no\nb,no\nc,no\n") == [(4, "P008", "more than 2 works")]


def test_more_ways_to_choose_than_are_remembered_are_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_reader, "_MAX_CHOICES", 1)
    assert choices(tmp_path, "work,train-ai\na,no\nb,yes\nc,no\n") == {
        "a": {TRAIN: DISALLOW}, "b": {TRAIN: ALLOW}, "c": {TRAIN: DISALLOW},
    }  # fmt: skip


def test_more_ways_to_choose_for_all_works_than_are_remembered_are_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_reader, "_MAX_CHOICES", 1)
    text = "work,creator,train-ai,ai-search\n*,Ines,no,\na,Ines,,yes\nb,Ines,,no\nc,Ines,,yes\n"
    assert choices(tmp_path, text) == {
        name: {TRAIN: DISALLOW, SEARCH: said} for name, said in (("a", ALLOW), ("b", DISALLOW), ("c", ALLOW))
    }


def test_the_version_changes_with_the_file(tmp_path: Path) -> None:
    source = catalogue(tmp_path, "work,train-ai\n")
    before = source.version()
    assert source.version() == before
    (tmp_path / "catalogue.csv").write_text("work,train-ai\na,no\n")
    assert source.version() != before
    assert source.changes(before, DAY) is None
    (tmp_path / "catalogue.csv").unlink()
    with pytest.raises(FileNotFoundError):
        source.version()


def test_a_folder_is_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        list(WishCatalogue(tmp_path, WORKS).read(DAY))


@given(
    rows=st.lists(st.lists(st.text(max_size=12), min_size=3, max_size=3), max_size=8),
    delimiter=st.sampled_from(",;\t"),
)
def test_whatever_is_in_a_file_it_is_read_or_every_mistake_has_a_line(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str
) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([["work", "train-ai", "since"], *rows])
    folder = tmp_path_factory.mktemp("catalogue")
    found, mistakes = outcome(folder, text.getvalue().encode("utf-8", "replace"))
    assert all(problem.line for problem in mistakes)
    assert mistakes or all(each.work and "/" not in each.work for each in found)


@given(content=st.binary(max_size=200))
def test_no_bytes_make_it_fail(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("catalogue")
    for data in (content, b"work,train-ai\n" + content):
        found, mistakes = outcome(folder, data)
        assert found or mistakes or data.strip() != content.strip()


def test_a_line_costs_the_same_in_a_long_catalogue_and_little(tmp_path: Path) -> None:
    def calls(lines: int) -> float:
        rows = (f"song-{number},DE-A12-26-{number:05},disallow,,2026-11-29" for number in range(lines))
        source = catalogue(tmp_path, "\n".join(["work,isrc,train-ai,ai-search,set_at", *rows, ""]))
        return function_calls(lambda: WishIndex(source.read(DAY))) / lines

    few, many = calls(500), calls(5_000)
    assert many <= few
    # A million lines take as long as seven times csv.reader alone (7 s where that takes 1 s, 2026-11-29).
    assert many < 24
