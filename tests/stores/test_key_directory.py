"""Key directories: read once for all who wait, kept when they fail, bounded whatever they send."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from noai_guard.core.identity.signing_keys import PublicKey, SigningKey
from noai_guard.core.questions import Count
from noai_guard.errors import Unanswered
from noai_guard.outbound import Fetched, Limits, NotFetched, fetch
from noai_guard.stores import key_directory
from noai_guard.stores.key_directory import AwaitedKeyDirectory, KeyDirectory
from tests.https_site import HttpsSite, Reply
from tests.signing import Signer, directory_of

FIRST, SECOND = Signer(), Signer()
TYPE = {"content-type": "application/http-message-signatures-directory+json"}


@dataclass
class Directory:
    """A directory without a network, and a clock."""

    signers: tuple[Signer, ...] = (FIRST,)
    problem: Exception | None = None
    headers: dict[str, str] = field(default_factory=lambda: dict(TYPE))
    body: bytes | None = None
    now: float = 1000.0
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    outcomes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.released.set()
        self.keys = KeyDirectory(
            deadline=5.0, fetching=self._fetch, on_fetch=self.outcomes.append, clock=lambda: self.now
        )

    def _fetch(self, address: str, limits: Limits) -> Fetched:
        self.asked.append(address)
        assert self.released.wait(30)
        if self.problem is not None:
            raise self.problem
        return Fetched(directory_of(*self.signers) if self.body is None else self.body, self.headers)

    def answer(self, signer: Signer = FIRST, address: str = "https://agent.example/keys") -> tuple[PublicKey, ...]:
        return self.keys.answer(SigningKey(address, signer.public.thumbprint))

    def settled(self) -> None:
        """Wait until no fetch is under way."""
        for thread in threading.enumerate():
            if thread.name == "noai-guard-keys":
                thread.join(30)


def test_a_key_is_fetched_once_and_kept() -> None:
    directory = Directory()
    for _ in range(3):
        assert directory.answer() == (FIRST.public,)
    assert len(directory.asked) == 1
    assert directory.outcomes == ["ok"]


def test_a_directory_without_the_key_says_so() -> None:
    assert Directory().answer(SECOND) == ()


@pytest.mark.parametrize(
    "problem", [NotFetched("the answer was HTTP 500"), RuntimeError("broken"), KeyboardInterrupt()]
)
def test_a_failure_takes_no_key_away(problem: Exception) -> None:
    directory = Directory()
    assert directory.answer()
    directory.problem = problem
    for _ in range(20):
        directory.now += 10_000
        assert directory.answer() == (FIRST.public,)
        directory.settled()
    assert directory.outcomes[-1] == "failed"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "text/html"}, None),
        ({}, None),
        (TYPE, b"<html>"),
        (TYPE, b"[]"),
        (TYPE, b"[" * 100_000),
        (TYPE, b"\xff" * 1000),
    ],
)
def test_what_is_no_directory_takes_no_key_away(headers: dict[str, str], body: bytes | None) -> None:
    directory = Directory()
    assert directory.answer()
    directory.headers, directory.body = headers, body
    directory.now += 10_000
    assert directory.answer()
    directory.settled()
    assert directory.answer()
    assert directory.outcomes == ["ok", "failed"]
    unread = Directory(headers=headers, body=body)
    with pytest.raises(Unanswered, match=r"media type|no JSON Web Key Set"):
        unread.answer()


def test_a_directory_that_is_read_again_without_a_key_takes_it_away() -> None:
    directory = Directory()
    assert directory.answer()
    directory.signers = (SECOND,)
    directory.now += 10_000
    directory.answer()
    directory.settled()
    assert directory.answer() == ()
    assert directory.answer(SECOND) == (SECOND.public,)


def test_a_new_key_is_found_within_a_minute_and_a_flood_of_unknown_ones_asks_once() -> None:
    directory = Directory()
    assert directory.answer()
    directory.signers = (FIRST, SECOND)
    for _ in range(50):
        assert directory.answer(Signer()) == ()
    assert directory.answer(SECOND) == ()
    directory.now += 61
    assert directory.answer(SECOND) == (SECOND.public,)
    assert len(directory.asked) == 2


def test_who_has_a_key_does_not_wait_for_its_replacement() -> None:
    directory = Directory()
    assert directory.answer()
    directory.released.clear()
    directory.now += 10_000
    assert directory.answer() == (FIRST.public,)
    assert directory.answer() == (FIRST.public,)
    directory.released.set()
    directory.settled()
    assert len(directory.asked) == 2


def test_many_who_wait_ask_once() -> None:
    directory = Directory()
    directory.released.clear()
    answers: list[Any] = []
    waiting = [threading.Thread(target=lambda: answers.append(directory.answer())) for _ in range(20)]
    for thread in waiting:
        thread.start()
    directory.released.set()
    for thread in waiting:
        thread.join(30)
    assert answers == [(FIRST.public,)] * 20
    assert len(directory.asked) == 1


def test_a_failure_is_not_asked_again_at_once_and_for_five_minutes_at_most() -> None:
    directory = Directory(problem=NotFetched("no"))
    gaps = []
    last = directory.now
    for _ in range(3000):
        before = len(directory.asked)
        with pytest.raises(Unanswered, match="no"):
            directory.answer()
        directory.settled()
        if len(directory.asked) > before:
            gaps.append(directory.now - last)
            last = directory.now
        directory.now += 1
    assert gaps[1:7] == [10, 20, 40, 80, 160, 300]
    assert max(gaps) == 300
    directory.problem = None
    directory.now += 300
    assert directory.answer()


@pytest.mark.parametrize(
    ("header", "kept"),
    [("max-age=60", 300), ("public, max-age=7200", 7200), ("max-age=9999999", 86_400), ("no-store", 3600)],
)
def test_a_directory_says_how_long_it_holds_within_bounds(header: str, kept: int) -> None:
    directory = Directory(headers={**TYPE, "cache-control": header})
    directory.answer()
    directory.now += kept - 1
    directory.answer()
    directory.settled()
    assert len(directory.asked) == 1
    directory.now += 2
    directory.answer()
    directory.settled()
    assert len(directory.asked) == 2


def test_a_million_directories_are_bounded_and_keys_that_were_read_stay_longest() -> None:
    directory = Directory()
    assert directory.answer()
    directory.problem = NotFetched("no")
    for number in range(3 * key_directory._MAX_DIRECTORIES):
        with pytest.raises(Unanswered):
            directory.answer(address=f"https://{number}.example/keys")
    assert len(directory.keys._directories) <= key_directory._MAX_DIRECTORIES
    assert directory.answer() == (FIRST.public,)
    assert directory.asked.count("https://agent.example/keys") == 1


def test_at_most_eight_directories_are_fetched_at_once() -> None:
    directory = Directory()
    directory.released.clear()
    directory.keys.deadline = 0.01
    for number in range(30):
        with pytest.raises(Unanswered):
            directory.answer(address=f"https://{number}.example/keys")
    directory.released.set()
    directory.settled()
    assert len(directory.asked) == key_directory._MAX_FETCHES


def test_a_thread_that_cannot_start_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    directory = Directory()
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(Unanswered, match="not been read yet"):
        directory.answer()
    monkeypatch.undo()
    assert directory.answer()


def test_a_key_set_of_the_site_is_never_fetched() -> None:
    directory = Directory()
    directory.keys.known = {"https://agent.example/keys": {FIRST.public.thumbprint: FIRST.public}}
    assert directory.answer() == (FIRST.public,)
    assert directory.answer(SECOND) == ()
    assert not directory.asked


def test_other_questions_are_not_answered() -> None:
    with pytest.raises(Unanswered, match="Count"):
        KeyDirectory().answer(Count("a", 1, 0.0))


def test_an_awaited_answer_leaves_the_fetch_to_others_when_its_time_is_over() -> None:
    directory = Directory()
    directory.released.clear()
    awaited = AwaitedKeyDirectory(directory.keys)
    question = SigningKey("https://agent.example/keys", FIRST.public.thumbprint)

    async def ask() -> tuple[PublicKey, ...]:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await awaited.answer(question)
        directory.released.set()
        return await awaited.answer(question)

    assert asyncio.run(ask()) == (FIRST.public,)
    assert len(directory.asked) == 1


def test_a_failure_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    directory = Directory(problem=NotFetched("the answer was HTTP 500"))
    for number in range(5):
        with pytest.raises(Unanswered):
            directory.answer(address=f"https://{number}.example/keys")
    assert len(caplog.records) == 1
    assert "HTTP 500; its signatures prove nothing" in caplog.text
    directory.now += 61
    with pytest.raises(Unanswered):
        directory.answer(address="https://5.example/keys")
    assert len(caplog.records) == 2


@pytest.fixture(scope="module")
def site() -> Iterator[HttpsSite]:
    with HttpsSite() as site:
        yield site


Faults = Callable[[HttpsSite], Reply]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=500),
        Reply(endless=True, headers=TYPE),
        Reply(status=302, headers={"Location": "https://127.0.0.1/keys"}),
        Reply(b"{}" * 10, headers=TYPE),
        Reply(slow=60.0),
        Reply(raw=b"\x00" * 1000),
    ],
    ids=["500", "without an end", "redirect inside", "garbage", "silent", "no http"],
)
def test_a_real_directory_with_a_fault_holds_nobody_up(site: HttpsSite, reply: Reply) -> None:
    site.replies["/keys"] = reply
    reading = partial(fetch, tls=site.trusting, allow_inside=True)
    keys = KeyDirectory(deadline=0.3, fetching=lambda address, limits: reading(address, Limits(2, limits.max_bytes)))
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(Unanswered):
            keys.answer(SigningKey(site.url + "/keys", FIRST.public.thumbprint))
    assert time.monotonic() - began < 30  # the server is silent for 60
    site.replies["/keys"] = Reply(directory_of(FIRST), TYPE)


def test_a_real_directory_is_read(site: HttpsSite) -> None:
    site.replies["/good"] = Reply(directory_of(FIRST, SECOND), TYPE)
    keys = KeyDirectory(deadline=10, fetching=partial(fetch, tls=site.trusting, allow_inside=True))
    assert keys.answer(SigningKey(site.url + "/good", SECOND.public.thumbprint)) == (SECOND.public,)
