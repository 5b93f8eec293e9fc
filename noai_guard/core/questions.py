"""What the judge may ask of the outside, and the two drivers that carry questions to whoever can answer.

The judge is a generator: it yields a Question and is sent an answer, or None when nobody could answer. It does
no I/O and reads no clock, so the same lines serve ASGI, WSGI, the command line and a replay of old logs.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from noai_guard.errors import Unanswered

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Count:
    """How many requests, this one included, `key` has made in the window of `seconds` that `at` lies in."""

    key: str
    seconds: int
    at: float


Question = Count
Answer = int | None
Examination = Generator[Question, Answer, R]
OnFailure = Callable[[Question, Exception], None]


class Answerer(Protocol):
    """Answers at once. Raises Unanswered when it cannot."""

    def answer(self, question: Question) -> Answer: ...


class AsyncAnswerer(Protocol):
    """Answers after waiting. Raises Unanswered when it cannot."""

    async def answer(self, question: Question) -> Answer: ...


def run(examination: Examination[R], answerer: Answerer, on_failure: OnFailure) -> R:
    """Drives an examination to its verdict; a question that fails is answered None and reported."""
    answer: Answer = None
    try:
        question = next(examination)
        while True:
            try:
                answer = answerer.answer(question)
            except (Unanswered, OSError, TimeoutError) as error:
                on_failure(question, error)
                answer = None
            question = examination.send(answer)
    except StopIteration as done:
        verdict: R = done.value
        return verdict


async def arun(examination: Examination[R], answerer: AsyncAnswerer, on_failure: OnFailure) -> R:
    """As `run`, for backends that are waited for."""
    answer: Answer = None
    try:
        question = next(examination)
        while True:
            try:
                answer = await answerer.answer(question)
            except (Unanswered, OSError, TimeoutError) as error:
                on_failure(question, error)
                answer = None
            question = examination.send(answer)
    except StopIteration as done:
        verdict: R = done.value
        return verdict
