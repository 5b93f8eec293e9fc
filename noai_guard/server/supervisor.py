"""Keeps a number of worker processes: starts them, starts a dead one again, hands signals on, ends them in order.

Workers are forked, so they share what was made before and the listening sockets. A worker ends by itself when its
supervisor is gone.
"""

import gc
import logging
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from types import FrameType

_log = logging.getLogger("noai_guard")

_START_SECONDS = 60.0
_TICK_SECONDS = 1.0
_GRACE_SECONDS = 5.0
"""What a worker gets beyond the time for its answers, until it is killed."""

_SETTLED_SECONDS = 5.0
"""A worker that dies younger is not started again at once: whatever it is, it will happen again."""

_ENDING = {signal.SIGTERM, signal.SIGINT}
_HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class Link:
    """A worker's end of its link to the supervisor: it writes one byte to `ready` when it serves; `supervisor`
    becomes readable when that one is gone."""

    ready: int
    supervisor: int

    def say_ready(self) -> None:
        os.write(self.ready, b"1")
        os.close(self.ready)


@dataclass(slots=True)
class _Worker:
    pid: int
    ready: int
    born: float = field(default_factory=monotonic)
    serves: bool = False


class Supervisor:
    """`work` is what a worker does; it returns the process's exit code. `drain` seconds are for its last answers."""

    def __init__(self, work: Callable[[Link], int], count: int, drain: float) -> None:
        self._work = work
        self._count = count
        self._drain = drain
        self._workers: dict[int, _Worker] = {}
        self._came: list[int] = []
        self._due: list[float] = []
        self._asked = False
        self._here, self._there = os.pipe()
        self._alarm, self._bell = os.pipe()

    def run(
        self,
        on_start: Callable[[], None],
        on_stop: Callable[[], None],
        on_hangup: Callable[[], object],
        on_tick: Callable[[], object],
    ) -> bool:
        """Until SIGTERM or SIGINT. Returns False when the workers could not start, and nobody asked them to stop.

        `on_start` is called when all serve, `on_stop` when they are about to be stopped, `on_tick` each second.
        """
        self._listen()
        gc.collect()
        gc.freeze()
        for _ in range(self._count):
            self._fork()
        started = self._all_started()
        if started:
            on_start()
            self._look_after(on_hangup, on_tick)
        on_stop()
        self._stop()
        return started or self._asked

    def _listen(self) -> None:
        for end in (self._alarm, self._bell):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)
        for number in _HANDED_ON:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append(number)

    def _fork(self) -> None:
        ready, tell = os.pipe()
        # What comes before the worker has handlers of its own waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDED_ON)
        pid = os.fork()
        if pid == 0:
            self._be_worker(ready, tell)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)
        os.close(tell)
        self._workers[pid] = _Worker(pid, ready)

    def _be_worker(self, ready: int, tell: int) -> None:
        """Never returns: what the supervisor has yet to do when it ends is not the worker's to do."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGHUP):  # of the terminal, and of who reloads too early
                signal.signal(number, signal.SIG_IGN)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)
            for end in (self._there, self._alarm, self._bell, ready, *(w.ready for w in self._workers.values())):
                with suppress(OSError):
                    os.close(end)
            code = self._work(Link(tell, self._here))
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)

    def _all_started(self) -> bool:
        deadline = monotonic() + _START_SECONDS
        while monotonic() < deadline:
            self._wait(_TICK_SECONDS)
            self._taken()
            if self._asked or self._reap():
                return False
            if all(worker.serves for worker in self._workers.values()):
                return True
        _log.error("the workers do not start within %.0f seconds", _START_SECONDS)
        return False

    def _look_after(self, on_hangup: Callable[[], object], on_tick: Callable[[], object]) -> None:
        while True:
            self._wait(_TICK_SECONDS)
            came = self._taken()
            if self._asked:
                return
            if signal.SIGHUP in came:
                on_hangup()
                self._signal(signal.SIGHUP)
            for worker, status in self._reap():
                lived = monotonic() - worker.born
                _log.error("worker %d ended by itself (%s); another takes its place", worker.pid, _how(status))
                self._due.append(monotonic() + (0.0 if lived > _SETTLED_SECONDS else _TICK_SECONDS))
            for when in [when for when in self._due if when <= monotonic()]:
                self._due.remove(when)
                self._fork()
            on_tick()

    def _stop(self) -> None:
        self._signal(signal.SIGTERM)
        deadline = monotonic() + self._drain + _GRACE_SECONDS
        while self._workers:
            if monotonic() >= deadline or not self._taken().isdisjoint(_ENDING):
                _log.warning("workers are killed that have not ended: %s", ", ".join(map(str, self._workers)))
                self._signal(signal.SIGKILL)
                deadline = float("inf")
            self._wait(_TICK_SECONDS)
            self._reap()

    def _wait(self, seconds: float) -> None:
        """Until a signal comes or a worker serves."""
        starting = {worker.ready: worker for worker in self._workers.values() if not worker.serves}
        readable, _, _ = select.select([self._alarm, *starting], [], [], seconds)
        with suppress(BlockingIOError):
            os.read(self._alarm, 4096)
        for end in readable:
            if end in starting and os.read(end, 1):
                starting[end].serves = True

    def _taken(self) -> set[int]:
        came = set(self._came)
        self._came.clear()
        self._asked = self._asked or not came.isdisjoint(_ENDING)
        return came

    def _signal(self, number: signal.Signals) -> None:
        for pid in list(self._workers):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _reap(self) -> list[tuple[_Worker, int]]:
        """The workers that have ended, each with the status that `waitpid` gives."""
        ended = []
        for pid in list(self._workers):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                worker = self._workers.pop(pid)
                os.close(worker.ready)
                ended.append((worker, status))
        return ended


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
