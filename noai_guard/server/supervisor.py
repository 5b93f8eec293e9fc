"""Supervises worker processes: starts them, replaces those that die, passes signals on, and stops them in order.

Workers are forked, so they share what was made before and the listening sockets. A worker ends by itself when its
supervisor is gone.
"""

import gc
import logging
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

_log = logging.getLogger("noai_guard")

_START_SECONDS = 60.0
_TICK_SECONDS = 1.0
_KILL_GRACE_SECONDS = 5.0
"""The time that workers get beyond the one for their last responses, until they are killed."""

_STABLE_SECONDS = 5.0
"""A worker that dies younger is not replaced at once: whatever the cause is, it will happen again."""

_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
_HANDLED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class WorkerPipes:
    """A worker's ends of its pipes: `ready` to report that it serves, `supervisor`, readable when that is gone."""

    ready: int
    supervisor: int

    def report_ready(self) -> None:
        """Tell the supervisor, once, that this worker serves."""
        os.write(self.ready, b"1")
        os.close(self.ready)


@dataclass(slots=True)
class _Worker:
    pid: int
    ready: int
    started_at: float = field(default_factory=monotonic)
    serving: bool = False


class Supervisor:
    """Runs `work` in `count` processes; it returns the exit code. Stopping workers have `drain_seconds` to finish."""

    def __init__(self, work: Callable[[WorkerPipes], int], count: int, drain_seconds: float) -> None:
        self._work = work
        self._count = count
        self._drain_seconds = drain_seconds
        self._workers: dict[int, _Worker] = {}
        self._pending_signals: list[int] = []
        self._restarts_due: list[float] = []
        self._stopping = False
        self._life_read, self._life_write = os.pipe()
        """Nobody writes: the reading end becomes readable when the supervisor, which holds the other, is gone."""

        self._wakeup_read, self._wakeup_write = os.pipe()

    def run(
        self,
        on_start: Callable[[], None],
        on_stop: Callable[[], None],
        on_hangup: Callable[[], object],
        on_tick: Callable[[], object],
    ) -> bool:
        """Supervise until SIGTERM or SIGINT. Return False if the workers could not start, and no signal stopped them.

        `on_start` is called when all serve, `on_stop` before they are stopped, `on_hangup` on SIGHUP, and `on_tick`
        each second.
        """
        for end in (self._wakeup_read, self._wakeup_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        for number in _HANDLED_SIGNALS:
            signal.signal(number, lambda number, frame: self._pending_signals.append(number))
        gc.collect()
        gc.freeze()
        for _ in range(self._count):
            self._fork()
        started = self._wait_until_serving()
        if started:
            on_start()
            self._supervise(on_hangup, on_tick)
        on_stop()
        self._stop()
        return started or self._stopping

    def _fork(self) -> None:
        ready_read, ready_write = os.pipe()
        # Signals that come before the worker has its own handlers wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED_SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._run_worker(ready_read, ready_write)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED_SIGNALS)
        os.close(ready_write)
        self._workers[pid] = _Worker(pid, ready_read)

    def _run_worker(self, ready_read: int, ready_write: int) -> None:
        """Serve, and end the process: it never returns, so that the parent's cleanup does not run in the worker."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            # SIGINT comes from the terminal to all; SIGHUP may come before the worker can reload.
            for number in (signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED_SIGNALS)
            others = [worker.ready for worker in self._workers.values()]
            for end in (self._life_write, self._wakeup_read, self._wakeup_write, ready_read, *others):
                with suppress(OSError):
                    os.close(end)
            code = self._work(WorkerPipes(ready_write, self._life_read))
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)

    def _wait_until_serving(self) -> bool:
        deadline = monotonic() + _START_SECONDS
        while monotonic() < deadline:
            self._wait(_TICK_SECONDS)
            self._take_signals()
            if self._stopping or self._reap():
                return False
            if all(worker.serving for worker in self._workers.values()):
                return True
        _log.error("the workers do not start within %.0f seconds", _START_SECONDS)
        return False

    def _supervise(self, on_hangup: Callable[[], object], on_tick: Callable[[], object]) -> None:
        while True:
            self._wait(_TICK_SECONDS)
            signals = self._take_signals()
            if self._stopping:
                return
            if signal.SIGHUP in signals:
                on_hangup()
                self._send(signal.SIGHUP)
            for worker, status in self._reap():
                age = monotonic() - worker.started_at
                code = os.waitstatus_to_exitcode(status)
                cause = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
                _log.error("worker %d died (%s) and is replaced", worker.pid, cause)
                self._restarts_due.append(monotonic() + (0.0 if age > _STABLE_SECONDS else _TICK_SECONDS))
            for due in [due for due in self._restarts_due if due <= monotonic()]:
                self._restarts_due.remove(due)
                self._fork()
            on_tick()

    def _stop(self) -> None:
        self._send(signal.SIGTERM)
        deadline = monotonic() + self._drain_seconds + _KILL_GRACE_SECONDS
        while self._workers:
            if monotonic() >= deadline or not self._take_signals().isdisjoint(_STOP_SIGNALS):
                _log.warning("workers that have not ended are killed: %s", ", ".join(map(str, self._workers)))
                self._send(signal.SIGKILL)
                deadline = float("inf")
            self._wait(_TICK_SECONDS)
            self._reap()

    def _wait(self, seconds: float) -> None:
        """Wait for a signal, or for a worker to report that it serves."""
        starting = {worker.ready: worker for worker in self._workers.values() if not worker.serving}
        readable, _, _ = select.select([self._wakeup_read, *starting], [], [], seconds)
        with suppress(BlockingIOError):
            os.read(self._wakeup_read, 4096)
        for end in readable:
            if end in starting and os.read(end, 1):
                starting[end].serving = True

    def _take_signals(self) -> set[int]:
        signals = set(self._pending_signals)
        self._pending_signals.clear()
        self._stopping = self._stopping or not signals.isdisjoint(_STOP_SIGNALS)
        return signals

    def _send(self, number: signal.Signals) -> None:
        for pid in list(self._workers):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _reap(self) -> list[tuple[_Worker, int]]:
        """Return the workers that have ended, each with the status that `waitpid` gives."""
        statuses = {pid: os.waitpid(pid, os.WNOHANG) for pid in self._workers}
        ended = [(self._workers.pop(pid), status) for pid, (ended_pid, status) in statuses.items() if ended_pid]
        for worker, _ in ended:
            os.close(worker.ready)
        return ended


def notify_systemd(state: str) -> None:
    """Send systemd a state such as `READY=1` (sd_notify(3)). Do nothing where it has not started the process."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path:
        address = f"\0{path[1:]}" if path.startswith("@") else path
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(address)
            channel.sendall(state.encode())
