"""Questions reach somebody who can answer; failures are answers too."""

import asyncio
from collections.abc import Callable

import pytest

from noai_guard.core.questions import Count, Examination, arun, run
from noai_guard.errors import Unanswered

Answer = int | None


def examination() -> Examination[list[Answer]]:
    first = yield Count("a", 60, 0.0)
    second = yield Count("b", 60, 1.0)
    return [first, second]


class Table:
    """A store that answers from a table; raises what stands in it."""

    def __init__(self, **table: Answer | Exception) -> None:
        self.table = table

    def answer(self, question: Count) -> Answer:
        answer = self.table[question.key]
        if isinstance(answer, Exception):
            raise answer
        return answer


class AwaitedTable(Table):
    async def answer(self, question: Count) -> Answer:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().answer(question)


def run_awaiting(examination: Examination[list[Answer]], store: Table, on_failure: Callable[..., None]) -> list[Answer]:
    return asyncio.run(arun(examination, AwaitedTable(**store.table), on_failure))


DRIVERS = pytest.mark.parametrize("drive", [run, run_awaiting])


@DRIVERS
def test_every_question_gets_its_own_answer(drive: Callable[..., list[Answer]]) -> None:
    assert drive(examination(), Table(a=1, b=2), lambda *_: None) == [1, 2]


@DRIVERS
@pytest.mark.parametrize("error", [Unanswered("gone"), OSError("refused"), TimeoutError("slow")])
def test_a_store_that_fails_answers_none_and_is_reported(drive: Callable[..., list[Answer]], error: Exception) -> None:
    reported: list[tuple[str, Exception]] = []
    store = Table(a=error, b=2)
    answers = drive(examination(), store, lambda question, reason: reported.append((question.key, reason)))
    assert answers == [None, 2]
    assert reported == [("a", error)]


@DRIVERS
def test_a_mistake_in_a_store_is_not_hidden_by_the_driver(drive: Callable[..., list[Answer]]) -> None:
    with pytest.raises(ZeroDivisionError):
        drive(examination(), Table(a=ZeroDivisionError(), b=2), lambda *_: None)
