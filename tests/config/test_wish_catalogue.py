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
        ("work,train-ai\ntide,no\n*,no\n", [(3, "W004", "* stands for all works of a creator in a database only")]),
        ("work,path,train-ai\na/b,,no\n", [(2, "W004", "'a/b' is no name of a work")]),
        (f"work,train-ai\n{'a' * 201},no\n", [(2, "W004", "is no name of a work")]),
        ("work,path,train-ai\n,/press/a,no\n", [(2, "W004", "no pattern under works: holds")]),
        ("work,path,train-ai\nfoam,/audio/tide.mp3,no\n", [(2, "W004", "is of the work 'tide', not 'foam'")]),
        ("work,train-ai,since\na,no,31.01.2027\n", [(2, "W005", "since is '31.01.2027', which is no date")]),
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
