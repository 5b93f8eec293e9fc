"""Counts of several processes, without a store: what each tells, and what it makes of the totals."""

import time
from pathlib import Path

import pytest

from noai_guard.core.questions import Count
from noai_guard.stores.addresses import open_store
from noai_guard.stores.exchanged_counts import MAX_KEYS, SHARE, ExchangedCounts
from noai_guard.stores.remote import MAX_FIELDS, RemoteStore
from tests.stores.shared_servers import running, wait_for

LIMIT = 1000
FLOOD = 4 * MAX_KEYS
"""Addresses: the bounds are reached with the first MAX_KEYS, and more change nothing."""

HOUR = 3600


class Totals:
    """Stands for the store: the totals of each key, by worker."""

    def __init__(self) -> None:
        self.told: dict[str, dict[str, int]] = {}

    def exchange(self, counts: ExchangedCounts) -> None:
        for batch in counts.take(10_000):
            for key, mine in batch.counts:
                self.told.setdefault(key, {})[batch.worker] = mine
            counts.merge(batch, [sum(self.told[key].values()) for key, _ in batch.counts])


@pytest.mark.parametrize(
    "requests_of_each", [(1, 1, 1, 1, 1, 1, 1, 1), (1, 2, 3, 4, 5, 6, 7, 8), (50, 1, 1, 1, 1, 1, 1, 1)]
)
def test_eight_processes_of_two_groups_let_in_the_limit_and_at_most_an_eighth_and_one_each_more(
    requests_of_each: tuple[int, ...],
) -> None:
    store, processes, let_in = Totals(), [ExchangedCounts() for _ in range(8)], 0
    for process in processes:
        process.set_clock(0, 0, 8)
    for _ in range(3 * LIMIT // min(8, sum(requests_of_each))):
        for process, requests in zip(processes, requests_of_each, strict=True):
            for _ in range(requests):
                number, due = process.count(Count("GPTBot", HOUR, 0.0, LIMIT))
                let_in += number <= LIMIT
                if due:
                    store.exchange(process)
    assert LIMIT <= let_in <= LIMIT + LIMIT // SHARE + len(processes)


def test_to_tell_again_changes_nothing() -> None:
    store, one, two = Totals(), ExchangedCounts(), ExchangedCounts()
    for counts in (one, two):
        for _ in range(5):
            counts.count(Count("a", HOUR, 0.0, LIMIT))
    for _ in range(3):
        for counts in (one, two):
            counts.tell_again()
            store.exchange(counts)
    assert one.count(Count("a", HOUR, 0.0, LIMIT))[0] == two.count(Count("a", HOUR, 0.0, LIMIT))[0] == 11


def test_a_store_that_has_forgotten_is_told_and_nobody_forgets() -> None:
    store, one, two = Totals(), ExchangedCounts(), ExchangedCounts()
    for counts in (one, two):
        for _ in range(5):
            counts.count(Count("a", HOUR, 0.0, LIMIT))
        store.exchange(counts)
    store.told.clear()
    for counts in (two, one):
        counts.tell_again()
        store.exchange(counts)
    assert sum(store.told["a"].values()) == 10
    assert one.count(Count("a", HOUR, 0.0, LIMIT))[0] == 11


def test_a_table_that_is_full_begins_again_and_the_totals_stay() -> None:
    store, counts = Totals(), ExchangedCounts(max_keys=3)
    for key in ("a", "a", "b", "c"):
        counts.count(Count(key, HOUR, 0.0, LIMIT))
    store.exchange(counts)
    counts.count(Count("d", HOUR, 0.0, LIMIT))
    counts.count(Count("a", HOUR, 0.0, LIMIT))
    store.exchange(counts)
    assert {key: sum(told.values()) for key, told in store.told.items()} == {"a": 3, "b": 1, "c": 1, "d": 1}
    assert counts.count(Count("a", HOUR, 0.0, LIMIT))[0] == 4


def test_totals_of_a_window_that_is_over_are_dropped() -> None:
    counts = ExchangedCounts()
    counts.count(Count("a", 60, 0.0, LIMIT))
    (batch,) = counts.take(10)
    assert counts.count(Count("a", 60, 60.0, LIMIT))[0] == 1
    counts.merge(batch, [500])
    assert counts.count(Count("a", 60, 61.0, LIMIT))[0] == 2


def test_who_is_above_the_limit_makes_no_exchange_due() -> None:
    counts = ExchangedCounts()
    due = [counts.count(Count("a", HOUR, 0.0, 10))[1] for _ in range(100)]
    assert not any(due[10:])
    assert not counts.count(Count("b", HOUR, 0.0))[1]


@pytest.mark.thorough
def test_a_flood_of_addresses_stays_within_its_bounds(tmp_path: Path) -> None:
    with running("redis", tmp_path) as server, server.client() as client:
        store, _ = open_store(server.address, "https://music.example", 5.0)
        assert isinstance(store, RemoteStore)
        store.start()
        wait_for(lambda: store.processes)
        before = client.info("memory")["used_memory"]
        for number in range(FLOOD):
            store.answer(Count(f"GPTBot|{number}", 24 * HOUR, time.monotonic(), 60))
        largest = lambda: max((client.hlen(key) for key in client.scan_iter("*:count:*")), default=0)  # noqa: E731
        wait_for(lambda: largest() >= MAX_FIELDS - 1)
        assert largest() <= MAX_FIELDS + 1
        assert client.info("memory")["used_memory"] - before < 30_000_000
        assert sum(len(window.entries) for window in store._process.counts._windows.values()) <= MAX_KEYS
        store.close()
