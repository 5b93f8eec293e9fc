"""A store that fails in the middle of load: nobody waits longer than the deadline, and everything comes back by itself."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from noai_guard.core.questions import Count, FirstUse
from noai_guard.errors import Unanswered
from noai_guard.stores.addresses import open_store
from noai_guard.stores.exchanged_counts import ExchangedCounts
from noai_guard.stores.remote import RemoteStore
from tests.stores.shared_servers import PROGRAMS, BadProxy, StoreServer, program, running, wait_for

HOUR = 3600
LIMIT = 60
SLOW_SECONDS = 0.2


class Load:
    """Threads that count and use keys without a pause, and what became of it."""

    def __init__(self, store: RemoteStore) -> None:
        self.store = store
        self.outcomes: dict[str, int] = {}
        self.slowest = 0.0
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(2)]
        for thread in self._threads:
            thread.start()

    def _run(self, thread: int) -> None:
        number = 0
        while not self._stopped.is_set():
            number += 1
            for question in (Count("load", HOUR, time.monotonic(), 10**9), FirstUse(f"{thread}-{number}", 60, 0.0)):
                started = time.monotonic()
                try:
                    self.store.answer(question)
                    outcome = f"{type(question).__name__} answered"
                except Unanswered:
                    outcome = f"{type(question).__name__} unanswered"
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
            time.sleep(0.001)

    def goes_on(self, outcome: str, times: int = 20) -> None:
        """Wait until there are so many more."""
        before = self.outcomes.get(outcome, 0)
        wait_for(lambda: self.outcomes.get(outcome, 0) >= before + times)

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture(params=PROGRAMS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreServer]:
    with running(request.param, tmp_path) as server:
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[StoreServer]:
    with running("redis", tmp_path) as server:
        yield server


@pytest.fixture
def proxy(redis: StoreServer) -> Iterator[BadProxy]:
    proxy = BadProxy(redis.port)
    yield proxy
    proxy.close()


def opened(address: str, deadline: float = 0.05) -> RemoteStore:
    store, _ = open_store(address, "https://music.example", deadline)
    assert isinstance(store, RemoteStore)
    store.start()
    wait_for(lambda: store.processes)
    return store


def endured(
    store: RemoteStore, begin: Callable[[], object], end: Callable[[], object], *, counts: bool = False
) -> Load:
    """Let something begin and end under load. `counts`: requests can be counted all the time."""
    for _ in range(LIMIT + 1):
        store.answer(Count("spent", HOUR, time.monotonic(), LIMIT))
    load = Load(store)
    try:
        load.goes_on("Count answered")
        load.goes_on("FirstUse answered")
        begin()
        load.goes_on("FirstUse unanswered")
        wait_for(lambda: store.problem)
        if not counts:
            load.goes_on("Count unanswered")
        # Who is known to be above the limit stays known.
        assert store.answer(Count("spent", HOUR, time.monotonic(), LIMIT)) > LIMIT
        end()
        wait_for(lambda: not store.problem)
        load.goes_on("FirstUse answered")
        load.goes_on("Count answered")
    finally:
        load.stop()
        store.close()
    return load


def test_a_server_that_is_killed_and_comes_back(server: StoreServer) -> None:
    endured(opened(server.address), server.kill, server.start)


def test_a_server_that_hangs(server: StoreServer) -> None:
    endured(opened(server.address), server.hang, server.go_on)


def test_a_slow_server_makes_no_request_slow_and_counts_go_on(proxy: BadProxy) -> None:
    load = endured(
        opened(proxy.address), lambda: setattr(proxy, "delay", SLOW_SECONDS), lambda: setattr(proxy, "delay", 0.0),
        counts=True,
    )  # fmt: skip
    assert "Count unanswered" not in load.outcomes
    assert load.slowest < SLOW_SECONDS


def test_a_server_whose_memory_is_full(server: StoreServer) -> None:
    client = server.client()
    endured(
        opened(server.address),
        lambda: client.config_set("maxmemory", "1"),
        lambda: client.config_set("maxmemory", "0"),
    )
    client.close()


def test_a_server_that_becomes_a_read_only_replica(server: StoreServer) -> None:
    client = server.client()
    endured(opened(server.address), lambda: client.replicaof("127.0.0.1", 1), lambda: client.replicaof("NO", "ONE"))
    client.close()


def test_another_server_takes_over(redis: StoreServer, proxy: BadProxy, tmp_path: Path) -> None:
    with running("redis", tmp_path) as other:
        store = opened(proxy.address)

        def take_over() -> None:
            proxy.point_at(other.port)

        endured(store, redis.kill, take_over)


@pytest.mark.parametrize(
    "garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$99999999\r\nx", b"*3\r\n:1\r\n", b"\0\xff\r\n" * 99]
)
def test_a_server_that_answers_garbage(proxy: BadProxy, garbage: bytes) -> None:
    def heal() -> None:
        proxy.garbage = b""

    endured(opened(proxy.address), lambda: setattr(proxy, "garbage", garbage), heal)


def test_a_password_that_is_wrong_for_a_time_and_in_no_message(redis: StoreServer) -> None:
    client = redis.client()
    client.config_set("requirepass", "right-horse")
    store = opened(redis.address.replace("//", "//:right-horse@"))

    def change() -> None:
        client.config_set("requirepass", "other-horse")
        client.client_kill_filter(_type="normal", skipme=True)

    endured(store, change, lambda: client.config_set("requirepass", "right-horse"))
    client.close()
    assert "horse" not in store.name


def test_a_wrong_password_is_said_and_not_shown(redis: StoreServer) -> None:
    redis.client().config_set("requirepass", "right-horse")
    store, _ = open_store(redis.address.replace("//", "//me:wrong-horse@"), "x", 0.05)
    assert isinstance(store, RemoteStore)
    store.start()
    wait_for(lambda: store.problem)
    with pytest.raises(Unanswered) as raised:
        store.answer(FirstUse("a", 60, 0.0))
    store.close()
    assert "Authentication" in str(raised.value)
    assert "horse" not in str(raised.value)


def test_counts_survive_a_server_that_forgets_everything(redis: StoreServer) -> None:
    one, two = opened(redis.address), opened(redis.address)
    at = time.monotonic
    for _ in range(20):
        one.answer(Count("kept", HOUR, at(), LIMIT))
    wait_for(lambda: two.answer(Count("kept", HOUR, at(), 10**9)) > 20)
    redis.kill()
    wait_for(lambda: one.problem and two.problem)
    redis.start()
    wait_for(lambda: not one.problem and not two.problem)
    three = opened(redis.address)
    wait_for(lambda: three.answer(Count("kept", HOUR, at(), 10**9)) > 21)
    for store in (one, two, three):
        store.close()


@pytest.mark.parametrize("off", [0.0, -3600.0, 3600.0, 1e9])
def test_a_host_whose_clock_is_off_counts_in_the_same_window(off: float) -> None:
    shared = 1_000_000.0
    counts = ExchangedCounts()
    counts.count(Count("a", 60, shared + off))
    counts.set_clock(-off, shared + off, 1)
    counts.count(Count("a", 60, shared + off + 1))
    (batch,) = counts.take(10)
    assert (batch.number, batch.counts) == (shared // 60, [("a", 2)])


def test_a_fork_gets_a_connection_of_its_own(redis: StoreServer) -> None:
    store = opened(redis.address, 5.0)
    assert store.answer(FirstUse("forked", 60, 0.0))
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            answers: list[Any] = [store.answer(FirstUse(key, 60, 0.0)) for key in ("forked", "child")]
            os.write(writing, repr(answers).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"[False, True]"
    assert not store.answer(FirstUse("child", 60, 0.0))
    store.close()


IMPORTED = """
import sys, time
from noai_guard.core.questions import FirstUse
from noai_guard.errors import Unanswered
from noai_guard.stores.addresses import open_store

store, _ = open_store(sys.argv[1], "https://music.example", 5.0)
before = set(sys.modules)
store.start()
while not store.processes and not store.problem:
    time.sleep(0.01)
try:
    store.answer(FirstUse("imported", 60, 0.0))
except Unanswered as error:
    print(error, file=sys.stderr)
print(*sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize("form", ["redis://localhost:{port}", "redis://localhost:1", "embedded:{folder}/embedded"])
def test_the_thread_imports_nothing_so_that_a_fork_finds_no_module_half_imported(
    redis: StoreServer, tmp_path: Path, form: str
) -> None:
    if form.startswith("embedded"):
        program("valkey")
    address = form.format(port=redis.port, folder=tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", IMPORTED, address], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.split() == []


def test_a_closed_store_leaves_no_connection_and_opens_one_again_if_asked(redis: StoreServer) -> None:
    client = redis.client(client_name="test")
    store = opened(redis.address, 5.0)
    names = lambda: [each["name"] for each in client.client_list()]  # noqa: E731
    assert "noai-guard" in names()
    store.close()
    wait_for(lambda: "noai-guard" not in names())
    assert store.answer(FirstUse("again", 60, 0.0))
    assert "noai-guard" in names()
    store.close()
    client.close()
