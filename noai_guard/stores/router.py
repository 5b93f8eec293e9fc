"""Bring each question to the store that answers it, and let no store hold a request up or make it fail."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from noai_guard.core.questions import AsyncStore, Question, Store
from noai_guard.errors import Unanswered

_PASSES = (KeyboardInterrupt, SystemExit, GeneratorExit)


class Router:
    """Asks stores that answer at once. They keep to their own deadlines: nothing here can interrupt them."""

    def __init__(self, stores: Mapping[type[Question[Any]], Store]) -> None:
        self._stores = stores

    def answer(self, question: Question[Any]) -> Any:
        """Return the answer; raise Unanswered if there is none, for whatever reason."""
        try:
            return self._stores[type(question)].answer(question)
        except _PASSES:
            raise
        except BaseException as error:  # pyo3's panics are no Exceptions
            raise Unanswered(f"{type(error).__name__}: {error}") from error


class Route(NamedTuple):
    """The store for one type of question, and the seconds that it has for each answer."""

    store: AsyncStore
    deadline: float


class AsyncRouter:
    """Asks stores that are awaited, each until its deadline."""

    def __init__(self, routes: Mapping[type[Question[Any]], Route]) -> None:
        self._routes = routes

    async def answer(self, question: Question[Any]) -> Any:
        """Return the answer; raise Unanswered if there is none in time, for whatever reason."""
        try:
            store, deadline = self._routes[type(question)]
            async with asyncio.timeout(deadline):
                return await store.answer(question)
        except _PASSES:
            raise
        except BaseException as error:
            # pyo3's panics are no Exceptions, and a cancellation may be the store's own.
            task = asyncio.current_task() if isinstance(error, asyncio.CancelledError) else None
            if task is not None and task.cancelling():
                raise
            raise Unanswered(f"{type(error).__name__}: {error}") from error


class AwaitedStore:
    """A store that answers at once, for those who await answers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def answer(self, question: Question[Any]) -> Any:
        """Return the store's answer."""
        return self._store.answer(question)
