"""Functions that a process calls at intervals while it serves."""

import os
import threading
import time
from collections.abc import Callable
from weakref import ref

INTERVAL_SECONDS = 1.0

OVERDUE_SECONDS = 2.0
"""Within this time a change has to be in force."""


class PeriodicTasks:
    """Tasks that a daemon thread calls every INTERVAL_SECONDS, in each process that starts them.

    A task that raises stops for good: tasks report their own failures. The thread ends when this object is closed or
    no longer referred to.
    """

    def __init__(self) -> None:
        self._tasks: dict[Callable[[], object], None] = {}
        self.thread: threading.Thread | None = None
        self._process = 0
        self._ran_at = time.monotonic()
        self._running_in = 0

    def add(self, task: Callable[[], object]) -> None:
        """Add a task; do nothing if it is there already."""
        self._tasks[task] = None

    def remove(self, task: Callable[[], object]) -> None:
        """Remove a task; do nothing if it is not there."""
        self._tasks.pop(task, None)

    def start(self) -> None:
        """Start the thread if there is a task and this process has no thread yet. To be called again after a fork."""
        if not self._tasks or self._process == os.getpid():
            return
        thread = threading.Thread(target=_run, args=(ref(self),), name="noai-guard-tasks", daemon=True)
        self._process, self.thread = os.getpid(), thread
        try:
            thread.start()
        except RuntimeError:  # no thread to be had: until a later call gets one, the caller's thread does the work
            self._process = 0
            self.run()

    def close(self) -> None:
        """Let the thread end; it may still be calling the tasks."""
        self._process, self.thread = 0, None

    def run(self) -> None:
        """Call every task once."""
        self._running_in = os.getpid()
        try:
            for task in list(self._tasks):
                task()
        finally:
            self._running_in = 0
            self._ran_at = time.monotonic()

    @property
    def is_overdue(self) -> bool:
        """True if in this process no task has been called for OVERDUE_SECONDS: its thread is not there yet, or slept.

        A process that was forked knows what its parent knew.
        """
        return time.monotonic() - self._ran_at > OVERDUE_SECONDS and self._running_in != os.getpid()


def _run(tasks: "ref[PeriodicTasks]") -> None:
    while True:
        time.sleep(INTERVAL_SECONDS)  # not imported by name: gevent may replace it after this module was read
        running = tasks()
        if running is None or running.thread is not threading.current_thread():
            return
        running.run()
        del running
