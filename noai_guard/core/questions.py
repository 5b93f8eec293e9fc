"""Questions that the judge asks of the outside, and the two functions that carry them to a store.

The judge is a generator: it yields a Question and is sent the answer, or None if nobody could answer. It does no I/O
and reads no clock, so the same lines serve ASGI, WSGI, the command line and a replay of old logs.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from noai_guard.errors import Unanswered

A = TypeVar("A")
R = TypeVar("R")


class Question(Generic[A]):
    """Something only the outside knows; answered by an `A`, or by None if it cannot be known now."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Count(Question[int]):
    """The number of requests, this one included, that `key` made in the window of `seconds` that contains `at`.

    A store that cannot know the number may still answer with one that is too low, if that is above `limit`; 0 for none.
    """

    key: str
    seconds: int
    at: float
    limit: int = 0


@dataclass(frozen=True, slots=True)
class FirstUse(Question[bool]):
    """True if the key has not been used in the last `seconds`. To ask is to use it."""

    key: str
    seconds: int
    at: float


@dataclass(frozen=True, slots=True)
class Lookup(Question[str]):
    """The value kept under `key`; an empty text if there is none, or not any more."""

    key: str
    at: float


@dataclass(frozen=True, slots=True)
class Keep(Question[bool]):
    """Keep `value` under `key` for `seconds`; True if it is kept.

    It is not if another value than `expected` is there; None for any, an empty text for none. At most MAX_VALUE_CHARS.
    """

    key: str
    value: str
    seconds: int
    at: float
    expected: str | None = None


STORE_QUESTIONS: tuple[type[Question[Any]], ...] = (Count, FirstUse, Lookup, Keep)
"""The questions that a store answers which all workers may share."""

MAX_VALUE_CHARS = 4096
"""Characters of a value that stores keep; more are unanswered."""


Examination = Generator[Question[Any], Any, R]
"""Yields questions, is sent their answers, and returns an `R`."""

OnFailure = Callable[[Question[Any], Exception], None]
"""Called with each question that was not answered, and why."""


class Store(Protocol):
    """Answers questions at once.

    `answer` takes a Question[A] and returns an A, or None if it cannot be known; it raises Unanswered, OSError or
    TimeoutError if it cannot answer.
    """

    def answer(self, question: Any) -> Any: ...


class AsyncStore(Protocol):
    """Answers questions after waiting; otherwise a Store."""

    async def answer(self, question: Any) -> Any: ...


def run(examination: Examination[R], store: Store, on_failure: OnFailure) -> R:
    """Drive an examination to its result. A question that fails is answered None and reported to `on_failure`."""
    answer: Any = None
    try:
        while True:
            question = examination.send(answer)
            try:
                answer = store.answer(question)
            except (Unanswered, OSError, TimeoutError) as error:
                on_failure(question, error)
                answer = None
    except StopIteration as done:
        result: R = done.value
        return result


async def arun(examination: Examination[R], store: AsyncStore, on_failure: OnFailure) -> R:
    """Drive an examination as `run` does, awaiting each answer."""
    answer: Any = None
    try:
        while True:
            question = examination.send(answer)
            try:
                answer = await store.answer(question)
            except (Unanswered, OSError, TimeoutError) as error:
                on_failure(question, error)
                answer = None
    except StopIteration as done:
        result: R = done.value
        return result
