"""Logging of `noai-guard serve`: decisions as JSON lines to stdout, everything else to stderr."""

import fcntl
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from queue import Full, Queue
from tempfile import TemporaryFile
from time import monotonic
from typing import Any

from noai_guard.observability.decision_log import JsonFormatter, decisions
from noai_guard.uvicorn_adapter import LOGGER as UVICORN_LOGGER
from noai_guard.uvicorn_adapter import is_expected

_log = logging.getLogger("noai_guard")

MAX_QUEUED_LINES = 10_000
_FLUSH_SECONDS = 2.0
"""The time that a slow reader has, when a process ends, to take what is still queued."""

_REPORT_SECONDS = 10.0
"""The shortest time between two reports of dropped lines."""


class Logs:
    """The handlers of the loggers. To be made once, before workers are forked; until then they write at once."""

    def __init__(self) -> None:
        text = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
        self._handlers: dict[LineHandler, tuple[logging.Logger, ...]] = {
            LineHandler("stdout", sys.stdout.fileno(), JsonFormatter()): (decisions,),
            LineHandler("stderr", sys.stderr.fileno(), text): (_log, UVICORN_LOGGER),
        }
        for handler, loggers in self._handlers.items():
            for logger in loggers:
                logger.addHandler(handler)
                logger.propagate = False
                logger.setLevel(logging.INFO)
        UVICORN_LOGGER.setLevel(logging.ERROR)  # its warnings are about requests that are not HTTP
        UVICORN_LOGGER.addFilter(lambda record: not is_expected(record))

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Write from threads in this process, so that a slow reader does not stall the event loop.

        Flushes at the end, but does not wait long for a reader that has stalled.
        """
        writers = [BackgroundWriter(handler, loggers) for handler, loggers in self._handlers.items()]
        try:
            yield
        finally:
            for writer in writers:
                writer.close()


class LineHandler(logging.Handler):
    """Writes lines to a stream that several processes share.

    Lines are longer than a pipe takes at once, so the processes take turns: POSIX locks belong to a process, also on a
    file that it has inherited.
    """

    def __init__(self, name: str, fd: int, formatter: logging.Formatter) -> None:
        super().__init__()
        self.name = name
        self._fd = fd
        # A file without a name; in a container, no folder may be writable.
        self._lock = os.memfd_create("noai-guard") if hasattr(os, "memfd_create") else TemporaryFile()  # noqa: SIM115
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
            fcntl.lockf(self._lock, fcntl.LOCK_EX)
            try:
                while line:
                    line = line[os.write(self._fd, line) :]
            finally:
                fcntl.lockf(self._lock, fcntl.LOCK_UN)
        except OSError:
            pass  # the reader has gone
        except Exception:
            self.handleError(record)


class BackgroundWriter(QueueListener):
    """Writes the records of some loggers in a thread. Takes the place of their handler until it is closed."""

    def __init__(self, handler: LineHandler, loggers: tuple[logging.Logger, ...]) -> None:
        self._producer = _DroppingQueueHandler(Queue(MAX_QUEUED_LINES))
        super().__init__(self._producer.queue, handler)
        self._handler = handler
        self._loggers = loggers
        self._reported = 0
        self._next_report = 0.0
        self.start()
        self._replace(handler, self._producer)

    def close(self) -> None:
        """Flush, and give the loggers their handler back unless its reader has stalled."""
        self._report_dropped()
        stopping = threading.Thread(target=self.stop, daemon=True)
        stopping.start()
        stopping.join(_FLUSH_SECONDS)
        if not stopping.is_alive():
            self._replace(self._producer, self._handler)

    def handle(self, record: logging.LogRecord) -> None:
        super().handle(record)
        if monotonic() >= self._next_report:
            self._report_dropped()

    def enqueue_sentinel(self) -> None:
        self.queue.put(None)  # type: ignore[attr-defined]  # waits while the queue is full; QueueListener's raises

    def _report_dropped(self) -> None:
        dropped = self._producer.dropped - self._reported
        if dropped:
            self._reported += dropped
            self._next_report = monotonic() + _REPORT_SECONDS
            _log.warning("%d log lines were dropped: what reads %s is too slow", dropped, self._handler.name)

    def _replace(self, old: logging.Handler, new: logging.Handler) -> None:
        for logger in self._loggers:
            logger.addHandler(new)
            logger.removeHandler(old)


class _DroppingQueueHandler(QueueHandler):
    """Counts the records that the queue has no room for, instead of raising."""

    dropped = 0

    def enqueue(self, record: Any) -> None:
        try:
            self.queue.put_nowait(record)
        except Full:
            self.dropped += 1
