"""A function of the site that says what is wished for a work, asked as seldom as a change may wait."""

import asyncio
import inspect
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from noai_guard.core.bounded_cache import ExpiringCache
from noai_guard.core.model import Usage
from noai_guard.core.wish_index import number_of, strictest_of
from noai_guard.core.wishes import WISHED_USAGES, Choice, WishOf, WorkWishes
from noai_guard.errors import Unanswered

Answer = Mapping[Any, Any] | WorkWishes | None
Lookup = Callable[[str], Answer | Awaitable[Answer]]
"""Takes the name of a work. Returns what is wished for it: usage -> `allow`, `disallow` or `unset`, `WorkWishes`, or
None for nothing. May be a coroutine function where the driver awaits answers."""

FRESH_SECONDS = 1.5
"""An answer is used so long before the function is asked again: a change has to be in force within two seconds."""

_KEPT_SECONDS = 3600.0
"""So long an answer stands in for one that does not come."""

_MAX_WORKS = 65_536
_MAX_THREADS = 8


class AskedWishes:
    """Asks a function of the site, once at a time for each work, and remembers what it said."""

    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup
        call = getattr(lookup, "__call__", lookup)  # noqa: B004  an object may have an async `__call__`
        self.is_async = inspect.iscoroutinefunction(lookup) or inspect.iscoroutinefunction(call)
        self._answers: ExpiringCache[str, tuple[float, int]] = ExpiringCache(_KEPT_SECONDS, _MAX_WORKS)
        self._asking: dict[str, Future[int]] = {}
        self._awaiting: dict[str, asyncio.Task[int]] = {}
        self._lock = threading.Lock()
        self._threads: tuple[int, ThreadPoolExecutor] | None = None

    def known(self, works: tuple[str, ...], now: float) -> int | None:
        """Return the number of the strictest choices for some works, None if the function has to be asked for one.

        `now` is in seconds of a clock that does not go backwards, here and below.
        """
        if len(works) == 1:
            answer = self._answers.get(works[0], now)
            return answer[1] if answer is not None and now - answer[0] < FRESH_SECONDS else None
        answers = [self._answers.get(work, now) for work in works]
        fresh = [answer[1] for answer in answers if answer is not None and now - answer[0] < FRESH_SECONDS]
        return strictest_of(fresh) if len(fresh) == len(works) else None

    def last(self, work: str, now: float) -> int | None:
        """Return the number that was answered last for a work, in the last hour, or None."""
        answer = self._answers.get(work, now)
        return answer[1] if answer is not None else None

    def remember(self, work: str, number: int, now: float) -> None:
        """Keep the number that was answered for a work."""
        self._answers.put(work, (now, number), now)

    def submitted(self, question: WishOf) -> "Future[int]":
        """Ask a plain function in a thread, and return what it will answer."""
        work = question.work
        with self._lock:
            if (future := self._asking.get(work)) is None:
                if self._threads is None or self._threads[0] != os.getpid():
                    self._threads = os.getpid(), ThreadPoolExecutor(_MAX_THREADS, "noai-guard-wishes")
                    self._asking.clear()
                future = self._asking[work] = self._threads[1].submit(self._number_of, work)
                future.add_done_callback(lambda _: self._asking.pop(work, None))
            return future

    def _number_of(self, work: str) -> int:
        answer: Any = self.lookup(work)
        return number_answered(answer)

    async def awaited(self, question: WishOf) -> int:
        """Await what the function answers."""
        if not self.is_async:
            return await asyncio.shield(asyncio.wrap_future(self.submitted(question)))
        work, loop = question.work, asyncio.get_running_loop()
        task = self._awaiting.get(work)
        if task is None or task.get_loop() is not loop:
            task = self._awaiting[work] = loop.create_task(self._ask(work))
            task.add_done_callback(lambda _: self._awaiting.pop(work, None))
        return await asyncio.shield(task)

    async def _ask(self, work: str) -> int:
        answer: Any = self.lookup(work)
        return number_answered(await answer)


class AwaitedWishes:
    """The same as a store whose answers are awaited."""

    def __init__(self, asked: AskedWishes) -> None:
        self._asked = asked

    async def answer(self, question: WishOf) -> int:
        """Return the number of the choices for a work."""
        return await self._asked.awaited(question)


class BlockingWishes:
    """The same as a store that blocks the thread of a request, for at most `deadline` seconds."""

    def __init__(self, asked: AskedWishes, deadline: float) -> None:
        self._asked = asked
        self._deadline = deadline

    def answer(self, question: WishOf) -> int:
        """Return the number of the choices for a work. Raises TimeoutError."""
        return self._asked.submitted(question).result(self._deadline)


_WORDS: Mapping[object, Choice] = {
    **{choice.value: choice for choice in Choice}, True: Choice.ALLOW, False: Choice.DISALLOW, None: Choice.UNSET,
}  # fmt: skip


def number_answered(answer: Answer) -> int:
    """Return the number of the choices in an answer of a function. Raises Unanswered if it is none."""
    if answer is None:
        return number_of({})
    choices: Mapping[Any, Any] = answer.choices if isinstance(answer, WorkWishes) else answer
    try:
        return number_of({_usage(usage): _WORDS[choice] for usage, choice in choices.items()})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        expected = f"a mapping of {', '.join(WISHED_USAGES)} to allow, disallow or unset"
        raise Unanswered(f"wishes= has to return {expected}, or None: {type(error).__name__}: {error}") from None


def _usage(word: Any) -> Usage:
    usage = Usage(word)
    if usage not in WISHED_USAGES:
        raise ValueError(f"creators have no say in {usage}")
    return usage
