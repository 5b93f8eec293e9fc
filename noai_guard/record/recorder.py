"""The record: takes events from requests in no time, and writes them to the places that a policy names.

A request appends its event to a queue of bounded length. A thread in each process empties it ten times a second, so
that a process that is killed loses no more than that. When more events come than can be written, or none can, the
newest are dropped and counted; no request ever waits.
"""

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from weakref import WeakSet, ref

from noai_guard.core.event_settings import FILES, STDOUT, EventSettings, syslog_address
from noai_guard.core.identity.signing_keys import PublicKey
from noai_guard.core.model import Verdict
from noai_guard.observability.events import Event
from noai_guard.observability.metrics import Metrics
from noai_guard.record.event_lines import LineWriter
from noai_guard.record.event_output import Output, StdoutOutput, SyslogOutput
from noai_guard.record.file_output import FilesOutput, seal_in_background
from noai_guard.record.kept_keys import KEPT_KEYS_FOLDER, keep_keys
from noai_guard.record.pseudonyms import Pseudonyms

MAX_QUEUED = 16_384
"""Events that wait: about 10 MB, 100 MB if every client sends the longest that is kept."""

INTERVAL_SECONDS = 0.1
_BATCH = 256
"""Events between two writes, in which other threads run: 2 ms."""

_CLOSE_SECONDS = 2.0
_log = logging.getLogger("noai_guard")


class Recorder:
    """The sink that keeps the event log of one guard, in one process. It does nothing until `use` gives it settings."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._settings: EventSettings | None = None
        self._reset()
        _all_recorders.add(self)

    def _reset(self) -> None:
        self._queue: deque[Event] = deque()
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._writing = threading.Lock()
        self._counting = threading.Lock()
        self._used: EventSettings | None = None
        self._outputs: list[Output] = []
        self._failing: set[str] = set()
        self._lines = LineWriter(None)

    def use(self, settings: EventSettings | None) -> None:
        """Write as these settings say from now on; nothing if they are None. What waits is written before."""
        if settings != self._settings:
            is_running = self._thread is not None
            self.close()
            self._settings = settings
            if is_running:
                self.start()

    def wants(self, verdict: Verdict) -> bool:
        return self._settings is not None

    def write(self, event: Event) -> None:
        """Take an event, or drop it if too many wait."""
        if len(self._queue) < MAX_QUEUED:
            self._queue.append(event)
        else:
            with self._counting:
                self._dropped += 1

    def start(self) -> None:
        """Start the thread of this process, if there is something to write to and none runs."""
        if self._settings is None or (self._thread is not None and self._thread.is_alive()):
            return
        thread = threading.Thread(target=_run, args=(ref(self),), name="noai-guard-events", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:  # no thread to be had: the next call tries again, and until then this one writes
            self._thread = None
            self.flush()

    def close(self) -> None:
        """Write what waits and close everything. An event that comes later is written after the next `start`."""
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_SECONDS)
        if self._writing.acquire(timeout=_CLOSE_SECONDS):
            try:
                self._flush()
                self._close_outputs()
            finally:
                self._writing.release()

    def keep_keys(self, directory: str, keys: Mapping[str, PublicKey]) -> None:
        """Keep the keys of a key directory beside the files of events, if there are any. Never raises."""
        settings = self._settings
        if settings is None or FILES not in settings.to:
            return
        problem = ""
        try:
            keep_keys(Path(settings.folder), directory, keys, datetime.now(UTC))
        except Exception as error:
            problem = str(error) or type(error).__name__
        self._report(KEPT_KEYS_FOLDER, problem)

    def flush(self) -> None:
        """Write what waits. Never raises."""
        with self._writing:
            self._flush()

    def _flush(self) -> None:
        try:
            self._open_outputs()
            while self._queue:
                events = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
                self._deliver([line for event in events if (line := self._line(event)) is not None])
            with self._counting:
                dropped, self._dropped = self._dropped, 0
            if dropped:
                self._metrics.events_dropped.labels("queue").inc(dropped)
        except Exception as error:
            self._failed("record", error)

    def _line(self, event: Event) -> bytes | None:
        try:
            return self._lines.line(event)
        except Exception as error:
            self._failed("record", error)
            self._metrics.events_dropped.labels("queue").inc()
            return None

    def _failed(self, place: str, error: Exception) -> None:
        self._metrics.guard_failures.labels(place).inc()
        if place not in self._failing:
            self._failing.add(place)
            _log.error("noai-guard failed (%s); this is said once", place, exc_info=error)

    def _deliver(self, lines: Sequence[bytes]) -> None:
        if not lines:
            return
        for output in self._outputs:
            problem = ""
            try:
                taken = output.write(lines)
            except OSError as error:
                taken, problem = 0, error.strerror or str(error)
            if taken:
                self._metrics.events_written.labels(output.name).inc(taken)
            if taken < len(lines):
                self._metrics.events_dropped.labels(output.name).inc(len(lines) - taken)
                problem = problem or "not all lines were taken in time"
            self._report(output.name, problem)

    def _report(self, name: str, problem: str) -> None:
        """Show whether an output takes lines, and log a change."""
        if bool(problem) == (name in self._failing):
            return
        self._metrics.event_sink_failing.labels(name).set(bool(problem))
        if problem:
            self._failing.add(name)
            _log.error("events cannot be written to %s and are dropped: %s", name, problem)
        else:
            self._failing.discard(name)
            _log.warning("events are written to %s again", name)

    def _open_outputs(self) -> None:
        settings = self._settings
        if settings is None:
            return
        if settings is not self._used:
            self._close_outputs()
            self._used = settings
            self._outputs = [output_for(target, settings) for target in settings.to]
            self._lines.pseudonyms = (
                None if settings.full_addresses else Pseudonyms(settings.folder, settings.keep_keys)
            )
            for output in self._outputs:
                self._metrics.event_sink_failing.labels(output.name).set(False)
            if FILES in settings.to:
                seal_in_background(Path(settings.folder))
        if self._lines.pseudonyms is not None:
            self._lines.pseudonyms.begin(datetime.now(UTC).strftime("%Y-%m-%d"))
            self._report("keys", self._lines.pseudonyms.problem)

    def _close_outputs(self) -> None:
        for output in self._outputs:
            output.close()
        self._outputs, self._used = [], None

    def forget_parent(self) -> None:
        """After a fork, in the child: what waits, and the files, are the parent's."""
        for output in self._outputs:
            if isinstance(output, FilesOutput):
                output.forget()
        self._reset()


def output_for(target: str, settings: EventSettings) -> Output:
    """Return the output for an entry of `to`."""
    if target == FILES:
        return FilesOutput(settings.folder, settings.file_size * 1_000_000)
    if target == STDOUT:
        return StdoutOutput()
    address = syslog_address(target)
    assert address is not None  # the policy was checked
    return SyslogOutput(target, address)


def _run(reference: "ref[Recorder]") -> None:
    while True:
        time.sleep(INTERVAL_SECONDS)  # not imported by name: gevent may replace it after this module was read
        recorder = reference()
        if recorder is None or recorder._thread is not threading.current_thread():
            return
        recorder.flush()
        del recorder


_all_recorders: "WeakSet[Recorder]" = WeakSet()


def _for_all(method: Callable[[Recorder], None]) -> None:
    for recorder in list(_all_recorders):
        method(recorder)


atexit.register(_for_all, Recorder.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(_for_all, Recorder.forget_parent))
