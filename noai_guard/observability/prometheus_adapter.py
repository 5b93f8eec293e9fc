"""The private API of prometheus_client, used in this module only.

Counters, gauges and histograms that write to files named by worker slot where PROMETHEUS_MULTIPROC_DIR is set, and
reading such files. Where the files cannot be used, at start or later, they count in memory: metrics stop no site.
The metrics of the app keep the value class of prometheus_client and files named by process id. Tested with the
versions that pyproject.toml allows.
"""

import errno
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import prometheus_client
from prometheus_client import values
from prometheus_client.core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.utils import floatToGoString

from noai_guard.observability.worker_slots import WorkerSlot

_log = logging.getLogger("noai_guard")

_INITIAL_BYTES = 64 * 1024
_MIN_FREE_BYTES = 256 * 1024
"""A file begins with 64 KiB and is doubled when it is full."""


class Counter(prometheus_client.Counter):
    """A counter whose file is named by worker slot."""

    def _metric_init(self) -> None:
        self._value = _value(self, "_total")
        self._created = time.time()


class Gauge(prometheus_client.Gauge):
    """A gauge whose file is named by worker slot."""

    def _metric_init(self) -> None:
        self._value = _value(self, "", multiprocess_mode=self._multiprocess_mode)


class BatchHistogram(prometheus_client.Histogram):
    """A histogram without labels that takes many observations at once. Its file is named by worker slot."""

    def _metric_init(self) -> None:
        self._created = time.time()
        self._sum = _value(self, "_sum")
        bounds = map(floatToGoString, self._upper_bounds)
        self._buckets = [_value(self, "_bucket", le=bound) for bound in bounds]

    def add(self, counts: list[int], total: float) -> None:
        """Add observations: `counts` by bucket, the last above all bounds; their sum is `total` seconds."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            bucket.inc(count)


def _value(metric: Counter | Gauge | BatchHistogram, suffix: str, multiprocess_mode: str = "", **labels: str) -> Any:
    """Return the value behind one sample of `metric`, which has these labels beside those of the metric."""
    return _value_class()(
        metric._type,
        metric._name,
        metric._name + suffix,
        (*metric._labelnames, *labels),
        (*metric._labelvalues, *labels.values()),
        metric._documentation,
        multiprocess_mode=multiprocess_mode,
    )


class SlotFiles:
    """The files of this process's slot, until they cannot be used; then `usable` is False, for good."""

    def __init__(self) -> None:
        self.usable = True
        self._slot = None if sys.platform == "win32" else WorkerSlot(_prepare_files)
        self._value_class: Any = None

    def value(self, *args: Any, **options: Any) -> Any:
        """Return a value in the file for metrics of its kind. Raises OSError if the disk has no room for it."""
        if self._value_class is None:
            identify = self._slot or os.getpid
            self._value_class = values.MultiProcessValue(process_identifier=identify)  # type: ignore[no-untyped-call]
        _require_room()
        value = self._value_class(*args, **options)
        _allocate(value._file._f.fileno(), value._file._capacity)
        return value

    def check(self) -> None:
        """Give the files up if they were removed."""
        if self.usable and self._slot is not None and self._slot.is_gone:
            self.give_up(FileNotFoundError(errno.ENOENT, "it was removed"))

    def give_up(self, error: Exception) -> None:
        """Count in memory from now on, and say so once."""
        if self.usable:
            self.usable = False
            _log.error(
                "metrics cannot be kept in PROMETHEUS_MULTIPROC_DIR=%s: %s; this process counts in memory and shows "
                "only what it counted itself, until it is started with a folder that it can write to",
                os.environ.get("PROMETHEUS_MULTIPROC_DIR"),
                error,
            )


class SlotValue:
    """A value in the file of the slot, which goes on from earlier processes; `get` returns what this one added.

    A failure of the file is no failure of the value.
    """

    _multiprocess = True

    def __init__(self, files: SlotFiles, *args: Any, **options: Any) -> None:
        self._in_process: Any = values.MutexValue(*args, **options)  # type: ignore[no-untyped-call]
        self._files = files
        self._in_file: Any = None
        if files.usable:
            try:
                self._in_file = files.value(*args, **options)
            except Exception as error:
                files.give_up(error)

    def inc(self, amount: float) -> None:
        self._in_process.inc(amount)
        self._write("inc", amount)

    def set(self, value: float, timestamp: float | None = None) -> None:
        self._in_process.set(value)
        self._write("set", value, timestamp)

    def get(self) -> Any:
        return self._in_process.get()

    def get_exemplar(self) -> None:
        return None

    def _write(self, method: str, *arguments: float | None) -> None:
        if self._in_file is not None and self._files.usable:
            try:
                getattr(self._in_file, method)(*arguments)
            except Exception as error:
                self._files.give_up(error)


@cache
def slot_files() -> SlotFiles | None:
    """Return the files of this process's slot, None where metrics are not shared. First called within `Metrics.of`, so
    by one thread."""
    return SlotFiles() if values.ValueClass._multiprocess else None


@cache
def _value_class() -> Any:
    files = slot_files()
    return values.ValueClass if files is None else partial(SlotValue, files)


def _require_room() -> None:
    """Raise OSError if there may be no room for a file that prometheus_client is about to make larger."""
    if shutil.disk_usage(os.environ["PROMETHEUS_MULTIPROC_DIR"]).free < _MIN_FREE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _allocate(descriptor: int, size: int) -> None:
    """Take the disk's room for a file, or raise OSError.

    prometheus_client only says how large its files are, and writes to memory that stands for them: where the disk turns
    out to be full, that kills the process (SIGBUS).
    """
    if sys.platform == "linux":
        os.posix_fallocate(descriptor, 0, size)


def _prepare_files(folder: Path, slot: str) -> None:
    """Remove the live gauges of the process that held the slot before, set files aside that cannot be read, and make
    those of this process. Raises OSError."""
    for path in folder.glob(f"gauge_live*_{slot}.db"):
        path.unlink()
    for path in folder.glob(f"*_{slot}.db"):
        if path.stat().st_size and not is_readable(path):
            path.rename(path.with_suffix(".broken"))
    for kind in ("counter", "histogram", "gauge_livemostrecent"):
        with (folder / f"{kind}_{slot}.db").open("a+b") as file:  # not "ab", which waits where somebody made a FIFO
            _allocate(file.fileno(), max(_INITIAL_BYTES, file.tell()))


def merged(paths: list[Path]) -> Iterable[Metric]:
    """Return the metrics in files that processes wrote. A file that cannot be read is logged and left out."""
    try:
        return _merge(paths)
    except Exception:
        return _merge([path for path in paths if is_readable(path)])


def _merge(paths: list[Path]) -> list[Metric]:
    return list(MultiProcessCollector.merge(map(str, paths)))  # type: ignore[no-untyped-call]


def is_readable(path: Path) -> bool:
    """Return True if a file holds metrics of a process; log what is wrong with one that exists and does not."""
    try:
        with path.open("rb") as file:
            used = int.from_bytes(file.read(4), sys.byteorder, signed=True)
        if not 0 <= used <= path.stat().st_size:
            raise ValueError(f"it says that {used} bytes of it are used")
        for key, *_ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            _, _, labels, _ = json.loads(key)
            labels.items()
    except FileNotFoundError:
        return False
    except Exception as error:
        _log.error("%s cannot be read and is left out of the metrics: %s", path, error)
        return False
    return True
