"""The source of wishes that a policy names: where it is, what it holds, and what is wrong with it."""

import sys
from datetime import date
from pathlib import Path

import pytest

from noai_guard.config import check_policy, wishes
from noai_guard.config.wish_catalogue import WishCatalogue
from noai_guard.config.wishes import is_database, located, open_wishes, read_wishes
from noai_guard.core.model import Usage
from noai_guard.core.works import Works
from tests.servers import free_port, require

DAY = date(2026, 11, 29)
WORKS = Works(["/audio/{work}.mp3"])


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("catalogue.csv", "/etc/noai/catalogue.csv"),
        ("/srv/catalogue.csv", "/srv/catalogue.csv"),
        ("sqlite:///wishes.sqlite", "sqlite:////etc/noai/wishes.sqlite"),
        ("sqlite:////srv/wishes.sqlite", "sqlite:////srv/wishes.sqlite"),
        ("postgresql://ada@db.example/wishes", "postgresql://ada@db.example/wishes"),
    ],
)
def test_files_are_beside_the_policy(source: str, place: str) -> None:
    assert located(source, Path("/etc/noai")) == place
    assert is_database(source) == ("://" in source)


def test_a_catalogue_is_read_once_as_long_as_it_does_not_change(tmp_path: Path) -> None:
    file = tmp_path / "catalogue.csv"
    file.write_text("work,train-ai\ntide,no\n")
    first, problems = read_wishes(str(file), WORKS, DAY)
    assert problems == ()
    assert first.known
    assert len(first) == 1
    assert read_wishes(str(file), WORKS, DAY)[0] is first
    assert read_wishes(str(file), WORKS, date(2026, 11, 30))[0] is not first
    file.write_text("work,train-ai\ntide,no\nfoam,no\n")
    assert len(read_wishes(str(file), WORKS, DAY)[0]) == 2
    assert isinstance(open_wishes(str(file), WORKS), WishCatalogue)


def test_a_catalogue_that_is_not_there_or_has_mistakes_is_a_problem(tmp_path: Path) -> None:
    index, (problem,) = read_wishes(str(tmp_path / "missing.csv"), WORKS, DAY)
    assert (problem.code, index.known, problem.warning) == ("P001", False, False)
    (tmp_path / "catalogue.csv").write_text("work,train-ai\ntide,perhaps\n")
    _, (problem,) = read_wishes(str(tmp_path / "catalogue.csv"), WORKS, DAY)
    assert (problem.code, problem.line) == ("W002", 2)
    _, (problem,) = read_wishes(str(tmp_path), WORKS, DAY)
    assert problem.code == "P001"


def test_a_database_that_does_not_answer_is_a_warning_and_one_that_cannot_be_named_is_not(tmp_path: Path) -> None:
    require("sqlalchemy", "psycopg")
    address = f"postgresql://ada:secret@127.0.0.1:{free_port()}/wishes"
    index, (problem,) = read_wishes(address, WORKS, DAY)
    assert (problem.code, index.known, problem.warning) == ("P057", False, True)
    assert "secret" not in str(problem)
    _, (problem,) = read_wishes("sqlite:///:memory:", WORKS, DAY)
    assert (problem.code, problem.warning) == ("P057", False)


def test_a_database_that_is_missing_is_not_made_by_reading_and_is_not_an_empty_one(tmp_path: Path) -> None:
    require("sqlalchemy")
    from noai_guard.stores.wish_table import WishTable

    address = f"sqlite:///{tmp_path}/odd #1&name.sqlite"
    index, (problem,) = read_wishes(address, WORKS, DAY)
    assert (problem.code, index.known, problem.warning) == ("P057", False, True)
    assert "no such file" in problem.message
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "odd #1&name.sqlite").touch()
    index, (problem,) = read_wishes(address, WORKS, DAY)
    assert (problem.code, index.known, problem.warning) == ("P057", False, True)
    assert "no such table" in problem.message
    assert WishTable.at(address).creators() == []
    index, problems = read_wishes(address, WORKS, DAY)
    assert (len(index), index.known, problems) == (0, True, ())


def test_without_the_extra_the_problem_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "noai_guard.stores.wish_table", raising=False)
    monkeypatch.delitem(sys.modules, "noai_guard.stores.sql", raising=False)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    _, (problem,) = read_wishes("sqlite:///wishes.sqlite", WORKS, DAY)
    assert problem.code == "P057"
    assert "noai-guard[creators]" in problem.hint


def test_the_policy_holds_what_its_source_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wishes, "_last", None)
    (tmp_path / "noai.yaml").write_text("works: ['/audio/{work}.mp3']\nwishes: catalogue.csv\ncreators: decide\n")
    (tmp_path / "catalogue.csv").write_text("path,train-ai\n/audio/tide.mp3,no\n")
    policy, problems = check_policy(tmp_path / "noai.yaml")
    assert problems == ()
    assert policy is not None
    assert policy.creators.decide
    assert policy.creators.source == str(tmp_path / "catalogue.csv")
    assert policy.creators.index is not None
    assert policy.creators.index.number("tide") is not None
    assert Usage.TRAIN_AI in policy.usages
    assert "catalogue" not in repr(policy)
    (tmp_path / "catalogue.csv").write_text("path,train-ai\n/press,no\n")
    policy, (problem,) = check_policy(tmp_path / "noai.yaml")
    assert policy is None
    assert problem.code == "W004"
    (tmp_path / "noai.yaml").write_text("works: 7\nwishes: catalogue.csv\n")
    assert all(problem.code != "W004" for problem in check_policy(tmp_path / "noai.yaml")[1])


def test_names_that_no_path_has_are_warned_about_by_line(tmp_path: Path) -> None:
    file = tmp_path / "catalogue.csv"
    lines = ["tide,no", "my%20song,no", ".,no", "..,no", "100%,no", ".hidden,no", "a%2Fb,no", "%41,no"]
    file.write_text("\n".join(["work,train-ai", *lines, ""]))
    index, problems = read_wishes(str(file), Works(["/hls/{work}/**"]), DAY)
    assert len(index) == len(lines)
    assert all(problem.warning and problem.hint for problem in problems)
    assert [(problem.code, problem.line) for problem in problems] == [
        ("W009", 3),
        ("W009", 4),
        ("W009", 5),
        ("W009", 0),
    ]
    assert problems[-1].message.startswith("2 more")
    assert read_wishes(str(file), Works(["/hls/{work}/**"]), DAY) == (index, problems)
    file.write_text("work,train-ai\na-b,no\nab,no\n")
    _, (problem,) = read_wishes(str(file), Works(["/x/{work}-*.mp3"]), DAY)
    assert (problem.code, problem.line) == ("W009", 2)
    assert "'a-b'" in problem.message
