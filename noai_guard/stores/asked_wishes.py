"""A function of the site that says what is wished for a work, asked as seldom as a change may wait."""

import asyncio
import inspect
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
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
_MAX_ASKING = 1_000
"""Works that are asked about at a time: names in paths are whatever clients write."""

_GIVEN_UP_SECONDS = 30.0
"""A coroutine is cancelled then, so that one that never ends does not stand for its work until a restart."""


class AskedWishes:
    """Asks a function of the site, once at a time for each work, and remembers what it said."""

    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup
        call = getattr(lookup, "__call__", lookup)  # noqa: B004  an object may have an async `__call__`
        self.is_async = inspect.iscoroutinefunction(lookup) or inspect.iscoroutinefunction(call)
        self._answers: ExpiringCache[str, tuple[float, int]] = ExpiringCache(_KEPT_SECONDS, _MAX_WORKS)
        self._awaiting: dict[str, asyncio.Task[int]] = {}
        self._threads: tuple[int, _Threads] | None = None

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
        """Ask a plain function in a thread, and return what it will answer. Raises Unanswered if too many wait."""
        if self._threads is None or self._threads[0] != os.getpid():
            self._threads = os.getpid(), _Threads(self._number_of)
        return self._threads[1].submitted(question.work)

    def _number_of(self, work: str) -> int:
        answer: Any = self.lookup(work)
        return number_answered(answer)

    async def awaited(self, question: WishOf) -> int:
        """Await what the function answers. Raises Unanswered if too many wait."""
        if not self.is_async:
            return await asyncio.shield(asyncio.wrap_future(self.submitted(question)))
        work, loop = question.work, asyncio.get_running_loop()
        task = self._awaiting.get(work)
        if task is None or task.get_loop() is not loop:
            _raise_if_too_many(self._awaiting)
            task = self._awaiting[work] = loop.create_task(self._ask(work))
            task.add_done_callback(lambda _: self._awaiting.pop(work, None))
        return await asyncio.shield(task)

    async def _ask(self, work: str) -> int:
        async with asyncio.timeout(_GIVEN_UP_SECONDS):
            answer: Any = self.lookup(work)
            return number_answered(await answer)


class _Threads:
    """Asks a plain function in a few threads, which end when nobody waits. One that never returns holds up neither the
    end of the process nor more than its thread."""

    def __init__(self, ask: Callable[[str], int]) -> None:
        self._ask = ask
        self._asking: dict[str, Future[int]] = {}
        self._waiting: deque[tuple[str, Future[int]]] = deque()
        self._running = 0
        self._lock = threading.Lock()

    def submitted(self, work: str) -> "Future[int]":
        """Return what will be answered: one future for all who ask about a work at a time."""
        with self._lock:
            if (future := self._asking.get(work)) is None:
                _raise_if_too_many(self._asking)
                if self._running < _MAX_THREADS:
                    threading.Thread(target=self._answer, name="noai-guard-wishes-asked", daemon=True).start()
                    self._running += 1
                future = self._asking[work] = Future()
                self._waiting.append((work, future))
            return future

    def _answer(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                work, future = self._waiting.popleft()
            # From here on nobody can cancel it, so that it takes the result.
            if not future.set_running_or_notify_cancel():
                self._asking.pop(work)
                continue
            try:
                number = self._ask(work)
            except BaseException as error:  # whatever a function of the site raises
                self._asking.pop(work)
                # Neither a loop nor a server takes StopIteration or SystemExit for a failure.
                is_plain = isinstance(error, Exception) and not isinstance(error, StopIteration)
                future.set_exception(error if is_plain else RuntimeError(repr(error)))
            else:
                self._asking.pop(work)
                future.set_result(number)


def _raise_if_too_many(asking: Mapping[str, object]) -> None:
    if len(asking) >= _MAX_ASKING:
        raise Unanswered(f"wishes= is asked about {_MAX_ASKING:,} works already, and does not answer")


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
