"""A function of the site that says what is wished: whatever it does, it holds up its own question at most."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from noai_guard.core.model import Usage
from noai_guard.core.wish_index import UNSET, number_of
from noai_guard.core.wishes import Choice, WishOf
from noai_guard.errors import Unanswered
from noai_guard.stores import asked_wishes
from noai_guard.stores.asked_wishes import AskedWishes, AwaitedWishes, BlockingWishes
from noai_guard.stores.router import AsyncRouter, Route, Router

DISALLOWED = number_of({Usage.TRAIN_AI: Choice.DISALLOW})


def answers(asked: AskedWishes, works: list[str], deadline: float = 0.05) -> list[Any]:
    """Return what is answered about each work to requests that come together, or why nothing is."""
    router = AsyncRouter({WishOf: Route(AwaitedWishes(asked), deadline)})

    async def answer(work: str) -> Any:
        try:
            return await router.answer(WishOf(work))
        except Unanswered as error:
            return str(error)

    async def together() -> list[Any]:
        return await asyncio.gather(*map(answer, works))

    return asyncio.run(together())


@pytest.mark.parametrize("is_async", [True, False])
def test_names_that_clients_make_up_do_not_pile_up_behind_a_function_that_hangs(
    is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_wishes, "_MAX_ASKING", 20)
    release = threading.Event()
    asked: list[str] = []

    async def waiting(work: str) -> None:
        asked.append(work)
        await asyncio.sleep(60)

    def blocking(work: str) -> None:
        asked.append(work)
        release.wait(60)

    works = [f"made-up-{number}" for number in range(50)]
    found = answers(AskedWishes(waiting if is_async else blocking), works)
    assert [text.partition(":")[0] for text in found] == ["TimeoutError"] * 20 + ["Unanswered"] * 30
    assert asked == works[: 20 if is_async else 8]
    release.set()


def test_a_question_that_never_ended_is_asked_again_before_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_wishes, "_GIVEN_UP_SECONDS", 0.01)
    asked: list[str] = []

    async def hanging_once(work: str) -> dict[str, str]:
        asked.append(work)
        if len(asked) == 1:
            await asyncio.Event().wait()
        return {"train-ai": "disallow"}

    lookup = AskedWishes(hanging_once)
    router = AsyncRouter({WishOf: Route(AwaitedWishes(lookup), 30)})

    async def twice() -> int:
        with pytest.raises(Unanswered):
            await router.answer(WishOf("tide"))
        number: int = await router.answer(WishOf("tide"))
        return number

    assert asyncio.run(twice()) == DISALLOWED


def test_a_function_that_never_returns_does_not_keep_the_process_from_ending() -> None:
    program = """
import threading
from noai_guard.core.wishes import WishOf
from noai_guard.stores.asked_wishes import AskedWishes, BlockingWishes
try:
    BlockingWishes(AskedWishes(lambda work: threading.Event().wait()), 0.01).answer(WishOf("tide"))
except TimeoutError:
    print("no answer")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == "no answer\n"


def raising(error: BaseException) -> Callable[[str], Any]:
    def function(work: str) -> Any:
        raise error

    return function


@pytest.mark.parametrize(
    "function",
    [
        raising(KeyError("tide")),
        raising(StopIteration()),  # next() without a default
        raising(SystemExit(1)),
        raising(KeyboardInterrupt()),
        lambda work: "disallow",
        lambda work: ["train-ai"],
        lambda work: {"train-ai": "perhaps"},
        lambda work: {"train-ai": ["disallow"]},
        lambda work: {"search": "disallow"},
        lambda work: {None: None},
        lambda work: dict.fromkeys(range(100_000)),
        lambda work: 1,
    ],
)
def test_what_is_no_answer_is_unanswered_at_once(function: Callable[[str], Any]) -> None:
    (found,) = answers(AskedWishes(function), ["tide"], deadline=30)
    assert isinstance(found, str)
    assert "Timeout" not in found
    with pytest.raises(Unanswered):
        Router({WishOf: BlockingWishes(AskedWishes(function), 30)}).answer(WishOf("tide"))


def test_threads_end_when_nobody_waits_and_begin_again() -> None:
    asked = AskedWishes(lambda work: {"train-ai": False} if work == "tide" else None)
    for _ in range(3):
        assert answers(asked, ["tide", "foam"] * 20, deadline=30) == [DISALLOWED, UNSET] * 20


def test_a_question_that_was_given_up_before_its_turn_is_not_asked_and_stops_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asked_wishes, "_MAX_THREADS", 1)
    begun, release = threading.Event(), threading.Event()
    works: list[str] = []

    def slow(work: str) -> None:
        works.append(work)
        begun.set()
        release.wait(60)

    asked = AskedWishes(slow)
    first, given_up, last = (asked.submitted(WishOf(work)) for work in ("first", "given up", "last"))
    assert begun.wait(60)
    assert given_up.cancel()
    assert not first.cancel()
    release.set()
    assert (first.result(60), last.result(60)) == (UNSET, UNSET)
    assert works == ["first", "last"]
    assert asked.submitted(WishOf("given up")).result(60) == UNSET
