"""Every store answers every question alike: in memory, on a Redis, on a Valkey, on the server of a wheel."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from noai_guard.core.questions import MAX_VALUE_CHARS, Count, FirstUse, Keep, Lookup, Question
from noai_guard.errors import Unanswered
from noai_guard.stores.addresses import open_store
from noai_guard.stores.remote import MAX_MEMBERS, RemoteStore
from tests.stores.shared_servers import PROGRAMS, program, running, wait_for

LONG = 3600
SITE = "https://music.example"
PATIENT = 5.0
"""A deadline that a busy machine keeps."""


@pytest.fixture(scope="module", params=["memory", "embedded", *PROGRAMS])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    kind = request.param
    if kind == "memory":
        yield "memory"
    elif kind == "embedded":
        program("valkey")
        yield f"embedded:{tmp_path_factory.mktemp('embedded') / 'server'}"
    else:
        with running(kind, tmp_path_factory.mktemp(kind)) as server:
            yield server.address


def opened(address: str, site: str = SITE) -> Any:
    store, _ = open_store(address, site, PATIENT)
    if isinstance(store, RemoteStore):
        store.start()
        wait_for(lambda: store.processes)
    return store


@pytest.fixture(scope="module")
def store(address: str) -> Iterator[Any]:
    """Yield a store, the same for all tests of an address: each uses keys of its own."""
    store = opened(address)
    yield store
    if isinstance(store, RemoteStore):
        store.close()


def now() -> float:
    return time.monotonic()


def test_requests_are_counted_for_each_key_and_each_length_of_window(store: Any) -> None:
    asked = [("a", LONG), ("a", LONG), ("b", LONG), ("a", 86_400), ("a", LONG)]
    assert [store.answer(Count(key, seconds, now())) for key, seconds in asked] == [1, 2, 1, 1, 3]


def test_the_next_window_begins_at_one(store: Any) -> None:
    counts: list[int] = []
    while counts[-2:] != [2, 1]:  # a window may end between any two
        counts.append(store.answer(Count("window", 1, now())))
        time.sleep(0.4)
        assert len(counts) < 40
    assert max(counts) <= 3


def test_a_key_is_used_for_the_first_time_once(store: Any) -> None:
    assert [store.answer(FirstUse(key, LONG, now())) for key in ("n1", "n2", "n1", "n1")] == [True, True, False, False]


def test_a_key_may_be_used_again_when_its_time_is_over(store: Any) -> None:
    assert store.answer(FirstUse("soon", 1, now()))
    assert not store.answer(FirstUse("soon", 1, now()))
    time.sleep(1.1)
    assert store.answer(FirstUse("soon", 1, now()))


def test_a_value_is_kept_until_its_time_is_over(store: Any) -> None:
    assert store.answer(Lookup("v", now())) == ""
    assert store.answer(Keep("v", "näme.example", 1, now()))
    assert store.answer(Lookup("v", now())) == "näme.example"
    time.sleep(1.1)
    assert store.answer(Lookup("v", now())) == ""


def test_a_value_is_replaced_only_if_it_is_the_expected_one(store: Any) -> None:
    steps = [
        ("1", "", True),
        ("2", "", False),
        ("2", "0", False),
        ("2", "1", True),
        ("3", None, True),
        ("4", "2", False),
    ]
    for value, expected, kept in steps:
        assert store.answer(Keep("cas", value, LONG, now(), expected)) is kept
    assert store.answer(Lookup("cas", now())) == "3"


def test_a_value_that_is_too_long_is_not_kept(store: Any) -> None:
    with pytest.raises(Unanswered, match="more than"):
        store.answer(Keep("long", "x" * (MAX_VALUE_CHARS + 1), LONG, now()))
    assert store.answer(Keep("long", "x" * MAX_VALUE_CHARS, LONG, now()))


def test_odd_keys_are_keys(store: Any) -> None:
    keys = ["", "x" * 10_000, "a\nb", "\udcff", "{x}", "*", "日本"]
    assert all(store.answer(FirstUse(f"{key}odd", LONG, now())) for key in keys)
    assert not any(store.answer(FirstUse(f"{key}odd", LONG, now())) for key in keys)


def test_a_question_of_another_kind_is_unanswered(store: Any) -> None:
    class Other(Question[str]):
        pass

    with pytest.raises(Unanswered, match="does not answer Other"):
        store.answer(Other())


def test_awaiting_gets_the_same_answers(address: str) -> None:
    store, awaited = open_store(address, SITE, PATIENT)

    async def story() -> list[Any]:
        questions = [
            Count("w", LONG, now()),
            FirstUse("w", LONG, now()),
            FirstUse("w", LONG, now()),
            Keep("w", "v", LONG, now()),
        ]
        return [await awaited.answer(question) for question in (*questions, Lookup("w", now()))]

    assert asyncio.run(story()) == [1, True, False, True, "v"]
    if isinstance(store, RemoteStore):
        store.close()


def shared(address: str) -> None:
    if address == "memory":
        pytest.skip("memory is not shared")


def test_two_processes_know_together(address: str, store: Any) -> None:
    shared(address)
    other = opened(address)
    assert store.answer(FirstUse("both", LONG, now()))
    assert not other.answer(FirstUse("both", LONG, now()))
    for _ in range(5):
        store.answer(Count("both", LONG, now(), 60))
    wait_for(lambda: other.answer(Count("both", LONG, now(), 1_000_000)) > 6)
    other.close()


def test_a_set_is_shared_and_keeps_the_latest(address: str, store: Any) -> None:
    shared(address)
    other = opened(address)
    for number in range(2 * MAX_MEMBERS):
        store.share(f"member{number}")
        if number % 1000 == 999:  # what one process tells at once is bounded
            store._process.exchange_due = True  # at once, and not within a second
            store._process.wake.set()
            wait_for(lambda: not store._process.told)
    heard: dict[str, float] = {}
    wait_for(lambda: heard.update(other.take_shared()) or f"member{2 * MAX_MEMBERS - 1}" in heard)
    late = opened(address)
    kept: dict[str, float] = {}
    wait_for(lambda: kept.update(late.take_shared()) or f"member{2 * MAX_MEMBERS - 1}" in kept)
    assert len(kept) <= MAX_MEMBERS
    assert all(age < LONG for age in kept.values())
    other.close()
    late.close()


def test_two_sites_share_a_server_without_seeing_each_other(address: str, store: Any) -> None:
    shared(address)
    other = opened(address, "https://other.example")
    for asked in (store, other):
        assert asked.answer(FirstUse("site", LONG, now()))
        assert asked.answer(Lookup("site", now())) == ""
        assert asked.answer(Keep("site", "mine", LONG, now()))
        assert asked.answer(Count("site", LONG, now(), 3)) == 1
    time.sleep(1.2)
    assert [asked.answer(Count("site", LONG, now(), 3)) for asked in (store, other)] == [2, 2]
    other.close()
