"""Whatever a store does, the judge gets an answer or Unanswered, in time."""

import asyncio
from typing import Any

import pytest

from noai_guard.core.questions import Count, Question
from noai_guard.errors import Unanswered
from noai_guard.stores.memory import MemoryStore
from noai_guard.stores.router import AsyncRouter, AwaitedStore, Route, Router

QUESTION = Count("GPTBot|192.0.2.1/32", 60, 0.0)


class Other(Question[str]):
    """A question of a type that no store answers."""


class Panic(BaseException):
    """What a panic of Rust code looks like in Python."""


class Failing:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def answer(self, question: Any) -> int:
        raise self.error


def asked(store: Any, question: Any = QUESTION, deadline: float = 5) -> Any:
    return asyncio.run(AsyncRouter({Count: Route(store, deadline)}).answer(question))


def test_a_question_is_answered_by_the_store_of_its_type() -> None:
    router = Router({Count: MemoryStore()})
    assert [router.answer(QUESTION), router.answer(QUESTION)] == [1, 2]
    assert asked(AwaitedStore(MemoryStore())) == 1


def test_a_question_that_no_store_answers_is_unanswered() -> None:
    with pytest.raises(Unanswered, match="KeyError"):
        Router({Count: MemoryStore()}).answer(Other())
    with pytest.raises(Unanswered, match="KeyError"):
        asked(AwaitedStore(MemoryStore()), Other())
    with pytest.raises(Unanswered, match="memory does not answer Other"):
        MemoryStore().answer(Other())


@pytest.mark.parametrize("error", [ValueError("x"), ConnectionRefusedError(), Panic(), asyncio.CancelledError()])
def test_a_store_that_fails_in_any_way_leaves_the_question_unanswered(error: BaseException) -> None:
    with pytest.raises(Unanswered, match=type(error).__name__):
        Router({Count: Failing(error)}).answer(QUESTION)
    with pytest.raises(Unanswered, match=type(error).__name__):
        asked(AwaitedStore(Failing(error)))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_the_end_of_the_process_passes_through(error: BaseException) -> None:
    with pytest.raises(type(error)):
        Router({Count: Failing(error)}).answer(QUESTION)
    with pytest.raises(type(error)):
        asked(AwaitedStore(Failing(error)))


def test_a_store_that_is_too_slow_leaves_the_question_unanswered() -> None:
    class Slow:
        async def answer(self, question: Any) -> int:
            await asyncio.sleep(3600)
            return 1

    with pytest.raises(Unanswered, match="TimeoutError"):
        asked(Slow(), deadline=0.01)


def test_a_request_that_is_cancelled_while_a_store_is_asked_stays_cancelled() -> None:
    class Asked:
        def __init__(self) -> None:
            self.waiting = asyncio.Event()

        async def answer(self, question: Any) -> int:
            self.waiting.set()
            await asyncio.sleep(3600)
            return 1

    async def story() -> None:
        store = Asked()
        task = asyncio.create_task(AsyncRouter({Count: Route(store, 5)}).answer(QUESTION))
        await store.waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
