"""Where the processes of `noai-guard serve` log to: decisions as JSON lines to stdout, everything else to stderr."""

import fcntl
import logging
import os
import sys
import threading
from contextlib import suppress
from queue import Empty, Full, Queue
from tempfile import mkstemp

from noai_guard.observability.decision_log import JsonFormatter, decisions

_log = logging.getLogger("noai_guard")

_MOST_WAITING = 10_000
_FLUSH_SECONDS = 2.0


def log_to_streams() -> "DecisionLines":
    """To be called once, before workers are forked; the handler's `flush` is for the end of each process."""
    logging.raiseExceptions = False  # a reader that has gone is no reason to fill the other stream
    told = logging.StreamHandler(sys.stderr)
    told.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    server = logging.getLogger("uvicorn.error")
    server.setLevel(logging.ERROR)  # it warns of every request that is none
    server.addFilter(_is_news)
    for logger in (_log, server):
        logger.addHandler(told)
        logger.propagate = False
    _log.setLevel(logging.INFO)
    lines = DecisionLines()
    lines.setFormatter(JsonFormatter())
    decisions.addHandler(lines)
    decisions.setLevel(logging.INFO)
    decisions.propagate = False
    return lines


def _file_without_name() -> int:
    """A file to lock: POSIX locks are a process's own, also on a file that it has inherited."""
    if hasattr(os, "memfd_create"):  # in a container, no folder may be writable
        return os.memfd_create("noai-guard")
    file, path = mkstemp(prefix="noai-guard-")
    os.unlink(path)
    return file


def _is_news(record: logging.LogRecord) -> bool:
    """Not of a websocket that was refused with a status, which uvicorn 0.54 takes for a fault, and not of answers
    that were given their time."""
    message = str(record.msg)
    return "without completing handshake" not in message and "timeout graceful shutdown exceeded" not in message


class DecisionLines(logging.Handler):
    """Writes to stdout from a thread, so that a reader that stalls does not stall the site; what is more than it can
    keep is dropped, and said. Lines are longer than a pipe takes at once, so workers take turns."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = _file_without_name()
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._waiting: Queue[bytes] = Queue(_MOST_WAITING)
        self._dropped = 0
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.put_nowait(f"{self.format(record)}\n".encode())
        except Full:
            self._dropped += 1
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_for_ever, name="noai-guard-decisions", daemon=True)
            self._writer.start()

    def flush(self) -> None:
        """Waits until everything is written, but not for long."""
        done = threading.Thread(target=self._waiting.join, daemon=True)
        done.start()
        done.join(_FLUSH_SECONDS)

    def _write_for_ever(self) -> None:
        while True:
            lines = [self._waiting.get()]
            with suppress(Empty):
                while len(lines) < 100:
                    lines.append(self._waiting.get_nowait())
            with suppress(OSError):
                self._write(b"".join(lines))
            for _ in lines:
                self._waiting.task_done()
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                _log.warning("%d decisions are missing in the log: what reads stdout is too slow", dropped)

    def _write(self, text: bytes) -> None:
        fcntl.lockf(self._turn, fcntl.LOCK_EX)
        try:
            while text:
                text = text[os.write(sys.stdout.fileno(), text) :]
        finally:
            fcntl.lockf(self._turn, fcntl.LOCK_UN)
