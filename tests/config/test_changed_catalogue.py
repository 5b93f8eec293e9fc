"""A catalogue that has changed is the same as one that is read for the first time, whatever was changed in it."""

import os
import random
import tempfile
from collections.abc import Callable
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.config import catalogue_parts, wishes
from noai_guard.config.wish_catalogue import WishCatalogue
from noai_guard.config.wishes import KeptWishes
from noai_guard.core.wish_index import UNSET, WishIndex
from noai_guard.core.works import Works
from noai_guard.errors import Unanswered, WishesInvalid

DAY = date(2026, 11, 29)
WORKS = Works(["/audio/{work}.mp3"])
HEADER = "work,title,train-ai,ai-search,since,creator"
NAMES = ["tide", "Tide", "TIDE", "ebb", "caf\u00e9", "cafe\u0301", "foam", *(f"song-{number}" for number in range(30))]
numbers = count()

cells = st.sampled_from(["", "no", "allow", "disallow", "unset"])
titles = st.sampled_from(["", "A song", '"Tide, part 2"', '"two\nlines"', '5" single', '"said ""so"""', "\u4e2d\u6587"])
lines = st.builds(
    lambda name, title, train, search, since, creator: f"{name},{title},{train},{search},{since},{creator}",
    st.sampled_from(NAMES), titles, cells, cells, st.sampled_from(["", "2026-01-01", "2027-01-01"]),
    st.sampled_from(["", "Ines", "Jonas"]),
)  # fmt: skip
odd_lines = st.sampled_from(
    [
        "",
        ",,,,",
        "tide,x,perhaps,,",
        ",no name,no,,",
        "a/b,x,no,,",
        'open,"not closed,no,,',
        "ebb,x,no,,soon",
        "x,y,no,,,z,z",
        "*,,no,,,Ines",
        "*,,,allow,2027-01-01,Jonas",
        "*,,no,,,",
    ]
)
edits = st.lists(
    st.tuples(
        st.sampled_from(["insert", "remove", "replace", "repeat", "move"]),
        st.floats(0, 1),
        st.one_of(lines, lines, lines, odd_lines),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=6,
)


def edited(before: list[str], edit: tuple[str, float, str, float]) -> list[str]:
    kind, where, line, to = edit
    after, place = list(before), int(where * len(before))
    if kind == "insert" or place >= len(after):
        after.insert(place, line)
    elif kind == "remove":
        del after[place]
    elif kind == "replace":
        after[place] = line
    elif kind == "repeat":
        after.insert(place, after[place])
    else:
        after.insert(int(to * (len(after) - 1)), after.pop(place))
    return after


def told(kept: Any) -> tuple[Any, ...]:
    """Return everything that an index says, or what is wrong with its source."""
    try:
        index: WishIndex = kept.index(DAY)
    except WishesInvalid as error:
        return tuple(map(str, error.problems))
    except Unanswered as error:
        return (str(error),)
    spelled = [*NAMES, *map(str.upper, NAMES), "nobody"]
    named = {name for name in index.listed if index.number(name) != UNSET}
    return [index.number(name) for name in spelled], dict(+index.counts), len(index), named


@settings(deadline=None)
@given(
    first=st.lists(st.one_of(lines, lines, st.just("*,,no,,,Ines")), min_size=1, max_size=40),
    changes=st.lists(edits, min_size=1, max_size=4),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    last_line_ends=st.booleans(),
    headers=st.lists(st.sampled_from([HEADER, HEADER, HEADER, HEADER.replace("title", "#title")]), min_size=4),
)
def test_what_changed_is_read_as_if_all_were_read(
    first: list[str],
    changes: list[Any],
    end: str,
    encoding: str,
    last_line_ends: bool,
    headers: list[str],
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # A few lines for each part.
        patch.setattr(catalogue_parts, "PART_BYTES", 80)
        file = Path(folder, "catalogue.csv")

        def write(text: list[str], header: str) -> None:
            whole = end.join([header, *text]) + (end if last_line_ends else "")
            new = Path(folder, f"new-{next(numbers)}")
            new.write_bytes(whole.encode(encoding))
            os.replace(new, file)

        write(first, HEADER)
        kept = KeptWishes(str(file), WORKS)
        assert told(kept) == told(KeptWishes(str(file), WORKS))
        text = first
        for edits_at_once, header in zip(changes, headers, strict=False):
            for edit in edits_at_once:
                text = edited(text, edit)
            write(text, header)
            whole, changed = told(KeptWishes(str(file), WORKS)), told(kept)
            if "names no work any more" not in str(changed[0]):
                assert changed == whole


def large(folder: Path, lines: int = 20_000) -> tuple[Path, list[str]]:
    text = [f"Song-{number:06},Title {number},{'no' if number % 3 else ''},,,Ines" for number in range(lines)]
    file = folder / "catalogue.csv"
    file.write_text("\n".join([HEADER, *text, ""]))
    return file, text


def only_changes(kept: KeptWishes, patch: pytest.MonkeyPatch) -> WishIndex:
    """Return the index after a change that may not be read by reading all."""

    def refused(*_: object) -> Any:
        raise AssertionError("all was read")

    with patch.context() as context:
        context.setattr(WishCatalogue, "read", refused)
        return kept.index(DAY)


def far_apart(text: list[str]) -> None:
    text[0] = text[0].replace(",,", ",no,", 1)
    text[10_000] = "Other-1,,no,,"
    text[-1] = "Other-2,,no,,"


def inserted_and_removed(text: list[str]) -> None:
    del text[3_000:3_500]
    text[12_000:12_000] = [f"New-{number},,allow,no," for number in range(500)]


def duplicate_lines(text: list[str]) -> None:
    text.append("Song-000000,,no,,")
    text.insert(7, "Song-010000,,allow,no,")


def test_what_changed_for_all_works_of_a_creator_is_read_for_each_of_them(tmp_path: Path) -> None:
    file, text = large(tmp_path, 5_000)
    kept = KeptWishes(str(file), WORKS)
    assert kept.index(DAY).number("Song-000000") == UNSET
    for said, end in (("no", UNSET + 1), ("", UNSET), ("allow", UNSET - 1)):
        file.write_text("\n".join([HEADER, *text, f"*,,{said},,,Ines", ""]))
        assert kept.index(DAY).number("Song-000000") == KeptWishes(str(file), WORKS).index(DAY).number("Song-000000")
        assert kept.index(DAY).number("Song-000000") == end


@pytest.mark.parametrize("change", [far_apart, inserted_and_removed, duplicate_lines])
def test_of_a_long_catalogue_only_what_changed_is_read(
    change: Callable[[list[str]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, text = large(tmp_path)
    kept = KeptWishes(str(file), WORKS)
    kept.index(DAY)
    change(text)
    file.write_text("\n".join([HEADER, *text, ""]))
    index, whole = only_changes(kept, monkeypatch), KeptWishes(str(file), WORKS).index(DAY)
    names = [line.partition(",")[0] for line in text] + [f"Song-{number:06}" for number in range(20_000)]
    assert all(index.number(name) == whole.number(name) for name in names)
    assert all(index.number(name.upper()) == whole.number(name.upper()) for name in names)
    assert (index.counts, len(index)) == (whole.counts, len(whole))


def test_a_mistake_in_what_changed_is_named_by_its_line_and_mending_it_is_a_small_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, text = large(tmp_path)
    kept = KeptWishes(str(file), WORKS)
    index = kept.index(DAY)
    del text[100:200]
    text[15_000] = "Other,,perhaps,,"
    file.write_text("\n".join([HEADER, *text, ""]))
    for _ in range(2):
        with pytest.raises(WishesInvalid) as caught:
            only_changes(kept, monkeypatch)
        (problem,) = caught.value.problems
        assert (problem.line, problem.code) == (15_002, "W002")
    assert kept.last is index
    text[15_000] = "Other,,no,,"
    file.write_text("\n".join([HEADER, *text, ""]))
    after = only_changes(kept, monkeypatch)
    assert after.number("Other") is not None
    assert after.number("Song-000150") is None


def test_a_catalogue_that_is_written_anew_is_read_as_a_whole(tmp_path: Path) -> None:
    file, text = large(tmp_path)
    kept = KeptWishes(str(file), WORKS)
    kept.index(DAY)
    random.Random(1).shuffle(text)
    text[5] = "Other,,no,,"
    file.write_text("\n".join([HEADER, *text, ""]))
    assert kept.index(DAY).changed in (0, 2)
    assert kept.index(DAY).number("Other") is not None


def test_many_changes_one_after_the_other_are_read_as_a_whole_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wishes, "_MAX_CHANGED", 3)
    file, text = large(tmp_path, 50)
    kept = KeptWishes(str(file), WORKS)
    seen = []
    for number in range(6):
        text[number] = f"Other-{number},,no,,"
        file.write_text("\n".join([HEADER, *text, ""]))
        seen.append(kept.index(DAY).changed)
    assert seen == [0, 2, 4, 0, 2, 4]


def test_a_file_that_is_written_while_it_is_read_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, text = large(tmp_path, 50)
    kept = KeptWishes(str(file), WORKS)
    index = kept.index(DAY)
    file.write_text("\n".join([HEADER, *text[:20], ""]))
    versions = iter(["now", "now", "later"])
    monkeypatch.setattr(WishCatalogue, "version", lambda source: next(versions, "later"))
    with pytest.raises(Unanswered, match="written while it was read"):
        kept.index(DAY)
    assert kept.last is index
    assert len(kept.index(DAY)) == 20
