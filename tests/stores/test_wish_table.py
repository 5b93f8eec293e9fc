"""Wishes in a database do the same on SQLite and on a real PostgreSQL."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from noai_guard.core.model import Usage
from noai_guard.core.wishes import Choice, WorkWishes
from noai_guard.stores.invitations import Invitations
from noai_guard.stores.sql import DatabaseFailed
from noai_guard.stores.wish_table import ALL_WORKS, Row, WishTable
from tests.stores.databases import PostgreSQL, postgresql

DAY = date(2026, 11, 29)
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TRAIN, SEARCH = Usage.TRAIN_AI, Usage.AI_SEARCH
ALLOW, DISALLOW, UNSET = Choice.ALLOW, Choice.DISALLOW, Choice.UNSET
numbers = count()

NewAddress = Callable[[], str]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def new_address(request: pytest.FixtureRequest, tmp_path: Path) -> NewAddress:
    """Return a function that returns the address of a new, empty database."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path}/wishes-{next(numbers)}.sqlite"
    running: PostgreSQL = request.getfixturevalue("server")
    return lambda: running.database(f"wishes_{next(numbers)}")


@pytest.fixture
def table(new_address: NewAddress) -> Iterator[WishTable]:
    made = WishTable.at(new_address())
    yield made
    made.database.close()


def row(creator: str, work: str, choice: Choice = UNSET, usage: Usage | None = None, **facts: Any) -> Row:
    return Row(creator, work, choice, usage, set_by=creator, set_at=NOW, **{"since": DAY, **facts})


def test_an_empty_database_has_no_wishes(table: WishTable) -> None:
    assert (table.version(), list(table.read(DAY)), table.creators(), table.works("ada")) == (0, [], [], [])


def test_a_row_comes_back_as_it_was_added(table: WishTable) -> None:
    wrote = row("Ænima & Söhne 🎷", "lied-ß", DISALLOW, TRAIN, isrc="DEA012600001", title="'; DROP TABLE x; --")
    assert table.add([wrote]) == 1
    (read,) = table.rows()
    assert read == replace(wrote, id=read.id)
    assert read.set_at.tzinfo is not None


def test_the_last_choice_whose_day_has_come_is_in_force(table: WishTable) -> None:
    later = DAY + timedelta(days=30)
    table.add(
        [
            row("ada", "song", title="Song", isrc="DEA012600001"),
            row("ada", "song", ALLOW, TRAIN),
            row("ada", "song", DISALLOW, TRAIN),
            row("ada", "song", ALLOW, TRAIN, since=later),
            row("ada", "song", DISALLOW, SEARCH),
        ]
    )
    assert list(table.read(DAY)) == [
        WorkWishes("song", {TRAIN: DISALLOW, SEARCH: DISALLOW}, "ada", "Song", "DEA012600001")
    ]
    assert [wishes.choices[TRAIN] for wishes in table.read(later)] == [ALLOW]
    assert list(table.read(DAY - timedelta(days=1))) == []


def test_a_choice_for_all_works_holds_where_the_work_has_none(table: WishTable) -> None:
    table.add(
        [
            row("ada", "first"),
            row("ada", "second", ALLOW, TRAIN),
            row("ada", "third", ALLOW, TRAIN),
            row("ada", "third", UNSET, TRAIN),
            row("ada", ALL_WORKS, DISALLOW, TRAIN),
            row("bo", "fourth"),
        ]
    )
    assert {wishes.work: dict(wishes.choices) for wishes in table.read(DAY)} == {
        "first": {TRAIN: DISALLOW}, "second": {TRAIN: ALLOW}, "third": {TRAIN: DISALLOW}, "fourth": {},
    }  # fmt: skip


def test_a_work_of_two_creators_comes_once_for_each(table: WishTable) -> None:
    table.add([row("bo", "duet", ALLOW, TRAIN), row("ada", "duet", DISALLOW, TRAIN)])
    assert [(each.work, each.creator, each.choices[TRAIN]) for each in table.read(DAY)] == [
        ("duet", "ada", DISALLOW), ("duet", "bo", ALLOW),
    ]  # fmt: skip


def test_the_latest_title_and_isrc_count(table: WishTable) -> None:
    table.add(
        [
            row("ada", "song", ALLOW, TRAIN, title="Old", isrc="DEA012600001"),
            row("ada", "song", ALLOW, SEARCH, title="New"),
            row("ada", "song", DISALLOW, SEARCH),
        ]
    )
    assert [(each.title, each.isrc) for each in table.read(DAY)] == [("New", "DEA012600001")]


def test_the_version_grows_with_every_change_and_names_what_changed(table: WishTable) -> None:
    table.add([row("ada", "a", DISALLOW, TRAIN), row("bo", "b", DISALLOW, TRAIN), row("ada", "c")])
    before = table.version()
    table.add([row("bo", "b", DISALLOW, SEARCH)])
    assert table.version() > before
    assert [each.work for each in table.changes(before, DAY) or ()] == ["b"]
    before = table.version()
    assert list(table.changes(before, DAY) or ()) == []
    table.add([row("ada", ALL_WORKS, DISALLOW, SEARCH)])
    assert [each.work for each in table.changes(before, DAY) or ()] == ["a", "c"]
    assert table.changes("no version", DAY) is None


def test_after_very_many_changes_all_is_read_again(table: WishTable) -> None:
    table.add(row("ada", f"work-{number}") for number in range(2_001))
    assert table.changes(0, DAY) is None
    assert sum(1 for _ in table.read(DAY)) == 2_001


def test_rows_about_usages_without_a_say_are_left_out(table: WishTable) -> None:
    table.add([row("ada", "song", DISALLOW, Usage.SEARCH), row("ada", "song", DISALLOW, TRAIN)])
    assert [dict(wishes.choices) for wishes in table.read(DAY)] == [{TRAIN: DISALLOW}]


def test_a_database_takes_no_choice_that_there_is_not(table: WishTable) -> None:
    with pytest.raises(DatabaseFailed):
        table.add([row("ada", "song", "perhaps", TRAIN)])  # type: ignore[arg-type]
    assert table.version() == 0


def test_of_a_transaction_that_fails_nothing_is_kept(table: WishTable) -> None:
    def rows() -> Iterator[Row]:
        yield from (row("ada", f"work-{number}") for number in range(7_000))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        table.add(rows())
    assert list(table.rows()) == []


def test_works_and_history_come_in_pages(table: WishTable) -> None:
    table.add([row("ada", f"work-{number}", ALLOW, TRAIN) for number in range(5)] + [row("bo", "other", ALLOW, TRAIN)])
    table.add([row("ada", ALL_WORKS, ALLOW, SEARCH), row("ada", "work-6")])
    assert table.works("ada", limit=2) == ["work-0", "work-1"]
    assert table.works("ada", after="work-3") == ["work-4", "work-6"]
    first = table.history("ada", limit=2)
    assert [each.work for each in first] == [ALL_WORKS, "work-4"]
    assert [each.work for each in table.history("ada", before=first[-1].id, limit=2)] == ["work-3", "work-2"]
    assert table.creators() == [("ada", 6), ("bo", 1)]
    assert {each.creator for each in table.rows("bo")} == {"bo"}


def test_choices_that_do_not_hold_yet_come_without_those_that_were_withdrawn(table: WishTable) -> None:
    days = [DAY + timedelta(days=number) for number in range(40)]
    table.add(
        [
            row("ada", "a", ALLOW, TRAIN, since=days[30]),
            row("ada", "b", ALLOW, TRAIN, since=days[20]),
            row("ada", "b", ALLOW, SEARCH, since=days[10]),
            row("ada", "b", DISALLOW, TRAIN),
            row("bo", "b", ALLOW, TRAIN, since=days[5]),
        ]
    )
    assert [(each.work, each.usage, each.since) for each in table.coming("ada", DAY)] == [
        ("b", SEARCH, days[10]), ("a", TRAIN, days[30]),
    ]  # fmt: skip
    assert [each.work for each in table.coming("ada", days[10])] == ["a"]
    assert table.all_works("ada") == {"a", "b"}


def test_a_reader_sees_one_state_while_others_write(table: WishTable) -> None:
    table.add(row("ada", f"work-{number:05}", ALLOW, TRAIN) for number in range(6_000))
    reading = table.read(DAY)
    next(reading)
    table.add(row("ada", f"work-{number:05}", DISALLOW, TRAIN) for number in range(6_000))
    assert {each.choices[TRAIN] for each in reading} == {ALLOW}
    assert {each.choices[TRAIN] for each in table.read(DAY)} == {DISALLOW}


def _write(address: str, creator: str, times: int) -> None:
    table = WishTable.at(address)
    for number in range(times):
        with table.writing() as writer:
            known = writer.about(creator, [creator])
            assert len(known) == number
            writer.add([row(creator, creator, DISALLOW, TRAIN)])
    table.database.close()
    os._exit(0)


def test_several_processes_write_at_once_and_a_reader_misses_nothing(new_address: NewAddress) -> None:
    address = new_address()
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write, args=(address, f"creator-{number}", 25)) for number in range(4)]
    for writer in writers:
        writer.start()
    table = WishTable.at(address)
    seen: set[int] = set()
    newest = 0
    while any(writer.is_alive() for writer in writers) or table.version() > newest:
        rows = {each.id for each in table.rows() if each.id > newest}
        assert not rows & seen
        seen |= rows
        newest = max(rows, default=newest)
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert seen == {each.id for each in table.rows()}
    assert len(seen) == 100
    table.database.close()


def test_a_forked_process_has_connections_of_its_own(table: WishTable) -> None:
    table.add([row("ada", "song")])
    child = os.fork()
    if not child:
        os._exit(0 if table.add([row("ada", "other")]) == 1 and table.version() == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert table.version() == 2


def test_an_invitation_can_be_found_and_revoked(table: WishTable) -> None:
    invitations = Invitations(table.database)
    first = invitations.add("ada", "label", NOW, NOW + timedelta(days=30))
    second = invitations.add("ada", "label", NOW, NOW + timedelta(days=30))
    other = invitations.add("bo", "label", NOW, NOW + timedelta(days=30))
    assert invitations.get(first.id) == first
    assert invitations.get(other.id + 1) is None
    assert first.holds(NOW)
    assert not first.holds(NOW + timedelta(days=30))
    assert invitations.revoke("ada", NOW, second.id) == 1
    assert invitations.revoke("bo", NOW, first.id) == 0
    assert [each.holds(NOW) for each in invitations.all()] == [True, False, True]
    assert invitations.revoke("ada", NOW) == 1
    assert [each.holds(NOW) for each in invitations.all("ada")] == [False, False]


@pytest.mark.parametrize(
    "address", ["", "wishes.csv", "mysql://h/x", "sqlite://", "sqlite:///:memory:", "postgresql://h:port/x"]
)
def test_other_addresses_are_refused_with_a_sentence(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        WishTable.at(address)


def test_a_database_that_is_not_there_fails_with_a_sentence_and_no_password(tmp_path: Path) -> None:
    for address in (f"sqlite:///{tmp_path}/none/x", "postgresql://ada:sesame@127.0.0.1:9/x"):
        with pytest.raises(DatabaseFailed) as failed:
            WishTable.at(address).version()
        assert "sesame" not in str(failed.value)
        assert "\n" not in str(failed.value)
        assert failed.value.__cause__ is None


def test_a_file_that_is_no_database_fails_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("this is no database, and it is long enough to be looked at" * 20)
    with pytest.raises(DatabaseFailed, match="not a database"):
        WishTable.at(f"sqlite:///{tmp_path}/x").version()


def test_wishes_are_read_again_once_a_killed_server_is_back(server: PostgreSQL) -> None:
    table = WishTable.at(server.database("killed"))
    table.add([row("ada", "song", DISALLOW, TRAIN)])
    server.kill()
    with pytest.raises(DatabaseFailed):
        table.version()
    server.start()
    assert [each.work for each in table.read(DAY)] == ["song"]
    table.database.close()


def test_a_user_who_may_only_read_can_read(server: PostgreSQL) -> None:
    address = server.database("read_only")
    table = WishTable.at(address)
    table.add([row("ada", "song", DISALLOW, TRAIN)])
    with table.database.writing("noai_wishes") as connection:
        connection.exec_driver_sql("CREATE ROLE guard LOGIN")
        connection.exec_driver_sql("GRANT SELECT ON noai_wishes TO guard")
    reader = WishTable.at(address.replace("postgres@", "guard@"))
    assert [each.work for each in reader.read(DAY)] == ["song"]
    with pytest.raises(DatabaseFailed, match="permission denied"):
        reader.add([row("ada", "song", ALLOW, TRAIN)])
    empty = WishTable.at(server.database("not_theirs").replace("postgres@", "guard@"))
    with pytest.raises(DatabaseFailed, match="permission denied"):
        empty.version()
    table.database.close()
    reader.database.close()
