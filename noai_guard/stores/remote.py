"""The store that workers and hosts share: a Redis or Valkey, asked by one thread in each process.

No request waits for the network to be counted: counts are exchanged in the background (`exchanged_counts.py`). The
other questions take one round trip. The thread has the only connection, so that it serves ASGI and WSGI alike, and a
forked process begins with a thread and a connection of its own.
"""

import asyncio
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as LateError
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol
from weakref import ref

from noai_guard.core.questions import MAX_VALUE_CHARS, Count, FirstUse, Keep, Lookup, Question
from noai_guard.errors import Unanswered
from noai_guard.resources import text
from noai_guard.stores.exchanged_counts import Batch, ExchangedCounts

DEADLINE_SECONDS = 0.05
"""How long a request waits for an exact answer; counts wait for nothing."""

EXCHANGE_SECONDS = 1.0
"""The longest time between two exchanges of counts."""

RETRY_SECONDS = 1.0
"""The time between two attempts while the store does not answer."""

NETWORK_SECONDS = 0.5
"""How long the thread waits for the network; a request waits for its deadline only."""

MAX_FIELDS = 131_072
"""Fields of one window in the store, two for each key that one worker counted: a flood of a million addresses left
12 MB in Redis 7.0 (measured 2026-11-29)."""

MAX_USED_KEYS = 131_072
MAX_VALUES = 65_536

MAX_MEMBERS = 4096
MEMBER_SECONDS = 24 * 3600
"""Members of the shared set, and how long they are in it."""

_MAX_TOLD = 1024
_HEARD_AGAIN_SECONDS = 1.0
"""Members are heard again that were added shortly before: several may have been added at the time when we asked."""

_MIN_GAP_SECONDS = 0.005
"""The time between two exchanges, however many are due."""

_KEYS_PER_EXCHANGE = 500
"""More in one go would let other questions wait."""

_MAX_WAITING = 4096
"""Questions of one process that wait for the store; more are unanswered."""

_LATE_SECONDS = 0.25
"""When answers were late for so long and none came in time, nobody waits until the store is fast again: a moment in
which the machine runs something else is shorter, however many requests it makes late."""

_PROBE_SECONDS = 0.1
"""The time between two exchanges while the store is slow, so that it is soon noticed when it is fast again."""

_STALE_SECONDS = 3.0
"""Counts that were not exchanged for so long are not known."""

_SCRIPTS = ("count", "first_use", "keep", "lookup", "members", "present")
_GONE_SECONDS = 10
_KEY_VERSION = 1
_SPARE_SECONDS = 10
"""A window lives so much longer in the store than by the clock."""


class Pipeline(Protocol):
    """The part of redis-py's pipeline that is used."""

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any: ...
    def execute(self) -> list[Any]: ...


class Client(Protocol):
    """The part of redis-py's clients that is used: `redis.Redis`, that of a Sentinel, `redis.RedisCluster`."""

    def pipeline(self, transaction: bool = ...) -> Any: ...
    def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Waiting:
    question: Question[Any]
    answer: "Future[Any]" = field(default_factory=Future)


class _Process:
    """What belongs to one process: its thread, its counts and the questions that wait."""

    def __init__(self, pid: int, counts: ExchangedCounts) -> None:
        self.pid = pid
        self.counts = counts
        self.thread: threading.Thread | None = None
        self.waiting: deque[_Waiting] = deque()
        self.wake = threading.Event()
        self.exchange_due = False
        self.closed = False
        self.problem = ""
        """Why the store cannot be asked; empty while it can."""

        self.slow = False
        self.late_since = 0.0
        """When the first answer was late since the last that was in time; 0 if none was."""

        self.exchanged_at = time.monotonic()
        self.processes = 0
        self.worker = secrets.token_hex(8)
        self.told: deque[str] = deque(maxlen=_MAX_TOLD)
        self.heard: deque[tuple[str, float]] = deque(maxlen=MAX_MEMBERS)
        self.heard_until = 0.0
        """The time of the store's clock up to which members were heard."""


class RemoteStore:
    """Answers the questions of `core.questions` from a server that `connect` returns a client of.

    `site` separates the keys of sites that share a server. Each answer takes at most `deadline` seconds: later ones are
    Unanswered. `name` stands for the server in messages. `connect` is given one of the site's keys (a cluster keeps all
    of them on one node); it is called in the thread, may block, and raises what the client raises. May be asked by
    several threads and after a fork.
    """

    def __init__(
        self,
        connect: Callable[[str], Client],
        site: str,
        *,
        deadline: float = DEADLINE_SECONDS,
        name: str = "the store",
    ) -> None:
        self._connect = connect
        # A cluster places a key by what stands in braces.
        self._prefix = f"{{noai:{_KEY_VERSION}:{_digest(site)}}}:"
        self.deadline = deadline
        self.name = name
        # Read before there is a thread: to read a file of the package the first time imports modules (`addresses.py`).
        self._scripts = {name: text(f"stores/{name}.lua") for name in _SCRIPTS}
        self._starting = threading.Lock()
        self._process = _Process(0, ExchangedCounts())
        self.awaited = _AwaitedRemoteStore(self)

    @property
    def problem(self) -> str:
        """Why the store cannot be asked now, or an empty text."""
        process = self._process
        if process.pid != os.getpid():
            return ""
        if process.problem:
            return process.problem
        if time.monotonic() - process.exchanged_at > _STALE_SECONDS:
            return "no answer"
        return f"slower than {self.deadline * 1000:g} ms" if process.slow else ""

    @property
    def processes(self) -> int:
        """The number of processes that share the counts, this one included; 0 before the first exchange."""
        return self._process.processes

    def start(self) -> None:
        """Start the thread, if this process has none; connect."""
        self._own()

    def close(self) -> None:
        """Exchange what was counted and close the connection. The next question opens one again."""
        process = self._process
        process.closed = True
        process.wake.set()
        if process.thread is not None and process.pid == os.getpid() and process.thread.is_alive():
            process.thread.join(NETWORK_SECONDS)

    def answer(self, question: Question[Any]) -> Any:
        """Return the answer, or raise Unanswered after at most `deadline` seconds."""
        if type(question) is Count:
            return self.count(question)
        try:
            return self.ask(question).result(self.deadline)
        except (LateError, TimeoutError):
            raise self._late() from None

    def count(self, question: Count) -> int:
        """Return the number of requests as far as it is known, at once.

        Raises Unanswered if that is too old, unless the limit is exceeded already.
        """
        process = self._process
        if process.pid != os.getpid() or process.closed:
            process = self._own()
        number, due = process.counts.count(question)
        if due and not process.exchange_due:
            process.exchange_due = True
            process.wake.set()
        if not process.problem and time.monotonic() - process.exchanged_at < _STALE_SECONDS:
            return number
        if question.limit and number > question.limit:
            return number
        raise Unanswered(f"{self.name}: {process.problem or 'no answer'}")

    def share(self, member: str) -> None:
        """Put a member into the set of this site, with the next exchange: the oldest go first. Never waits."""
        self._process.told.append(member)

    def take_shared(self) -> list[tuple[str, float]]:
        """Return the members that any process has put in since the last call, each with its age in seconds."""
        heard = self._process.heard
        return [heard.popleft() for _ in range(len(heard))]

    def ask(self, question: Question[Any]) -> "Future[Any]":
        """Let the thread ask; raise Unanswered if it cannot."""
        process = self._own()
        problem = self.problem
        if problem:
            raise Unanswered(f"{self.name}: {problem}")
        if len(process.waiting) >= _MAX_WAITING:
            raise Unanswered(f"{self.name}: {_MAX_WAITING:,} questions wait already")
        if isinstance(question, Keep) and len(question.value) > MAX_VALUE_CHARS:
            raise Unanswered(f"a value of more than {MAX_VALUE_CHARS} characters is not kept")
        if not isinstance(question, (FirstUse, Lookup, Keep)):
            raise Unanswered(f"{self.name} does not answer {type(question).__name__}")
        waiting = _Waiting(question)
        process.waiting.append(waiting)
        process.wake.set()
        return waiting.answer

    def _late(self) -> Unanswered:
        process = self._process
        now = time.monotonic()
        if not process.late_since:
            process.late_since = now
        elif now - process.late_since >= _LATE_SECONDS and not process.slow:
            process.slow = True
            process.wake.set()
        return Unanswered(f"{self.name}: no answer within {self.deadline * 1000:g} ms")

    def _own(self) -> _Process:
        """Return what belongs to this process; start it after a fork."""
        process = self._process
        pid = os.getpid()
        if process.pid == pid and not process.closed:
            return process
        with self._starting:
            process = self._process
            if process.pid == pid and not process.closed:
                return process
            process = _Process(pid, process.counts if process.pid == pid else ExchangedCounts())
            process.thread = threading.Thread(
                target=_serve, args=(ref(self), process), name="noai-guard-store", daemon=True
            )
            self._process = process
        # Outside of the lock, which is older than gevent's replacements may be: this lets other greenlets run.
        try:
            process.thread.start()
        except RuntimeError as error:  # no thread to be had: the next request tries again
            process.closed, process.thread = True, None
            raise Unanswered(f"{self.name}: {error}") from None
        return process

    def key(self, *parts: object) -> str:
        """Return the name of a key of this site in the store."""
        return self._prefix + ":".join(map(str, parts))

    def script(self, pipeline: Pipeline, question: Question[Any]) -> None:
        """Add a question to a pipeline."""
        match question:
            case FirstUse():
                used = _digest(question.key), question.seconds, MAX_USED_KEYS
                pipeline.eval(self._scripts["first_use"], 1, self.key("used"), *used)
            case Lookup():
                keys = self.key("values"), self.key("expiry")
                pipeline.eval(self._scripts["lookup"], 2, *keys, _digest(question.key))
            case Keep():
                keys = self.key("values"), self.key("expiry")
                expected = () if question.expected is None else (_bytes(question.expected),)
                arguments = _digest(question.key), _bytes(question.value), question.seconds, MAX_VALUES
                pipeline.eval(self._scripts["keep"], 2, *keys, *arguments, *expected)

    def ask_all(self, client: Client, process: _Process, questions: Sequence[_Waiting]) -> None:
        """Ask in one round trip, and give the answers to those who wait. Raise what the client raises."""
        pipeline = client.pipeline(transaction=False)
        for waiting in questions:
            self.script(pipeline, waiting.question)
        replies = self._executed(pipeline, process)
        for waiting, reply in zip(questions, replies, strict=True):
            _give(waiting, reply)

    def exchange(self, client: Client, process: _Process, batches: list[Batch]) -> None:
        """Exchange counts and members in one round trip. Raise what the client raises."""
        pipeline = client.pipeline(transaction=False)
        pipeline.eval(self._scripts["present"], 1, self.key("workers"), process.worker, _GONE_SECONDS)
        told = list(process.told)
        members = MEMBER_SECONDS, MAX_MEMBERS, process.heard_until - _HEARD_AGAIN_SECONDS, *map(_bytes, told)
        pipeline.eval(self._scripts["members"], 1, self.key("members"), *members)
        for batch in batches:
            key = self.key("count", batch.seconds, batch.number)
            flat = [part for counted, mine in batch.counts for part in (_bytes(counted), mine)]
            arguments = batch.seconds + _SPARE_SECONDS, MAX_FIELDS, batch.worker, *flat
            pipeline.eval(self._scripts["count"], 1, key, *arguments)
        asked_at = time.monotonic()
        (seconds, microseconds, processes), (until, *heard), *totals = self._executed(pipeline, process)
        now = time.monotonic()
        offset = int(seconds) + int(microseconds) / 1e6 - (asked_at + now) / 2
        process.processes = int(processes)
        process.counts.set_clock(offset, now, process.processes)
        process.heard_until = float(until)
        for member, age in zip(heard[::2], heard[1::2], strict=True):
            process.heard.append((bytes(member).decode("utf-8", "surrogatepass"), float(age)))
        for _ in told:
            process.told.popleft()
        for batch, of_all in zip(batches, totals, strict=True):
            process.counts.merge(batch, list(map(int, of_all)))
        process.exchanged_at = now

    def _executed(self, pipeline: Pipeline, process: _Process) -> list[Any]:
        asked_at = time.monotonic()
        replies = pipeline.execute()
        if time.monotonic() - asked_at <= self.deadline:
            process.slow, process.late_since = False, 0.0
        return replies


class _AwaitedRemoteStore:
    """The same store for those who await answers."""

    def __init__(self, store: RemoteStore) -> None:
        self._store = store

    async def answer(self, question: Question[Any]) -> Any:
        """Return the answer, or raise Unanswered after at most the deadline of the store."""
        store = self._store
        if type(question) is Count:
            return store.count(question)
        future = asyncio.wrap_future(store.ask(question))
        try:
            async with asyncio.timeout(store.deadline):
                return await future
        except TimeoutError:
            raise store._late() from None


def _give(waiting: _Waiting, reply: Any) -> None:
    with suppress(InvalidStateError):  # whoever waited has gone
        match waiting.question, reply:
            case FirstUse(), -1:
                waiting.answer.set_exception(Unanswered(f"the store is full: {MAX_USED_KEYS:,} keys were used lately"))
            case FirstUse() | Keep(), _:
                waiting.answer.set_result(int(reply) == 1)
            case _:
                waiting.answer.set_result(bytes(reply).decode("utf-8", "surrogatepass"))


def _serve(store: "ref[RemoteStore]", process: _Process) -> None:
    """Serve one process until its store is closed or no longer referred to."""
    client: Client | None = None
    next_exchange = last_exchange = 0.0
    while True:
        if not process.waiting or process.problem:
            process.wake.wait(max(0.0, next_exchange - time.monotonic()))
        process.wake.clear()
        owner = store()
        closing = process.closed or owner is None
        now = time.monotonic()
        if not process.problem and (process.exchange_due or process.slow):
            gap = _MIN_GAP_SECONDS if process.exchange_due else _PROBE_SECONDS
            next_exchange = min(next_exchange, last_exchange + gap)
        questions = [process.waiting.popleft() for _ in range(len(process.waiting))]
        if not questions and now < next_exchange and not closing:
            del owner
            continue
        batches: list[Batch] = []
        is_due = now >= next_exchange or closing
        if is_due:
            process.exchange_due = False
            batches = process.counts.take(_KEYS_PER_EXCHANGE)
            last_exchange, next_exchange = now, now + EXCHANGE_SECONDS
        try:
            if owner is not None:
                client = client or owner._connect(owner.key())
                if questions:
                    owner.ask_all(client, process, questions)
                if is_due:
                    owner.exchange(client, process, batches)
            process.problem = ""
            if sum(len(batch.counts) for batch in batches) == _KEYS_PER_EXCHANGE:  # there may be more
                process.exchange_due = True
                process.wake.set()
        except BaseException as error:  # whatever a server answers, and panics in Rust code: the thread goes on
            process.problem = _reason(error)
            for waiting in questions:
                with suppress(InvalidStateError):
                    waiting.answer.set_exception(Unanswered(process.problem))
            process.counts.tell_again()
            next_exchange = time.monotonic() + RETRY_SECONDS
            _close(client)
            client = None
        if closing:
            _close(client)
            return
        del owner


def _close(client: Client | None) -> None:
    if client is not None:
        with suppress(Exception):
            client.close()


def _reason(error: BaseException) -> str:
    """Return the reason for a log line: no text of the server's that is longer than a line."""
    words = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _bytes(text: str) -> bytes:
    """Return any text as bytes, which none can make fail."""
    return text.encode("utf-8", "surrogatepass")


def _digest(key: str) -> str:
    """Return a short name for a key of any length, which tells nothing of it."""
    return blake2b(_bytes(key), digest_size=16).hexdigest()
