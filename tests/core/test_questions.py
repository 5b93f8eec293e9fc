"""Questions reach somebody who can answer; failures are answers too."""

import asyncio
from collections.abc import Callable

import pytest

from noai_guard.core.questions import Answer, Count, Examination, Question, arun, run
from noai_guard.errors import Unanswered


def examination() -> Examination[list[Answer]]:
    first = yield Count("a", 60, 0.0)
    second = yield Count("b", 60, 1.0)
    return [first, second]


class Answers:
    """Answers from a table; raises what stands in it."""

    def __init__(self, **table: Answer | Exception) -> None:
        self._table = table

    def answer(self, question: Question) -> Answer:
        found = self._table[question.key]
        if isinstance(found, Exception):
            raise found
        return found


class Later(Answers):
    async def answer(self, question: Question) -> Answer:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().answer(question)


def waited_for(examined: Examination[list[Answer]], answers: Answers, failed: Callable[..., None]) -> list[Answer]:
    return asyncio.run(arun(examined, Later(**answers._table), failed))


DRIVERS = pytest.mark.parametrize("drive", [run, waited_for])


@DRIVERS
def test_every_question_gets_its_own_answer(drive: Callable[..., list[Answer]]) -> None:
    assert drive(examination(), Answers(a=1, b=2), lambda *_: None) == [1, 2]


@DRIVERS
@pytest.mark.parametrize("error", [Unanswered("gone"), OSError("refused"), TimeoutError("slow")])
def test_a_backend_that_fails_answers_none_and_is_reported(
    drive: Callable[..., list[Answer]], error: Exception
) -> None:
    reported: list[tuple[str, Exception]] = []
    answers = drive(examination(), Answers(a=error, b=2), lambda question, what: reported.append((question.key, what)))
    assert answers == [None, 2]
    assert reported == [("a", error)]


@DRIVERS
def test_a_mistake_in_a_backend_is_not_hidden_by_the_driver(drive: Callable[..., list[Answer]]) -> None:
    with pytest.raises(ZeroDivisionError):
        drive(examination(), Answers(a=ZeroDivisionError(), b=2), lambda *_: None)
