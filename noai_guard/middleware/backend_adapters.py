"""Whom a driver's judge asks: a backend, of which nothing but an answer or Unanswered comes back."""

import asyncio

from noai_guard.core.questions import Answer, Answerer, AsyncAnswerer, Question
from noai_guard.errors import Unanswered
from noai_guard.stores.memory import MemoryBackend

_PASSES = (KeyboardInterrupt, SystemExit, GeneratorExit)


class SafeBackend:
    """A backend that is asked at once. It bounds its own time: nothing here can interrupt it."""

    def __init__(self, backend: Answerer | None = None) -> None:
        self._backend = backend or MemoryBackend()

    def answer(self, question: Question) -> Answer:
        try:
            return self._backend.answer(question)
        except _PASSES:
            raise
        except BaseException as error:
            # pyo3's panics are no Exceptions.
            raise Unanswered(f"{type(error).__name__}: {error}") from error


class SafeAsyncBackend:
    """A backend that is awaited, for `deadline` seconds at most; in memory when there is none."""

    def __init__(self, backend: AsyncAnswerer | None, deadline: float) -> None:
        self._backend = backend or _AwaitedMemory()
        self._deadline = deadline

    async def answer(self, question: Question) -> Answer:
        try:
            async with asyncio.timeout(self._deadline):
                return await self._backend.answer(question)
        except _PASSES:
            raise
        except BaseException as error:
            # pyo3's panics are no Exceptions, and a cancellation may be the backend's own.
            task = asyncio.current_task() if isinstance(error, asyncio.CancelledError) else None
            if task is not None and task.cancelling():
                raise
            raise Unanswered(f"{type(error).__name__}: {error}") from error


class _AwaitedMemory:
    def __init__(self) -> None:
        self._memory = MemoryBackend()

    async def answer(self, question: Question) -> Answer:
        return self._memory.answer(question)
