"""The private API of prometheus_client, used in this module only.

Counters, gauges and histograms that write to files named by worker slot where PROMETHEUS_MULTIPROC_DIR is set, and
reading such files. The metrics of the app keep the value class of prometheus_client and files named by process id.
Tested with the versions that pyproject.toml allows.
"""

import json
import logging
import sys
import time
from collections.abc import Iterable
from functools import cache
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


@cache
def _value_class() -> Any:
    """Return the class of values. First called within `Metrics.of`, so by one thread."""
    if sys.platform == "win32" or not values.ValueClass._multiprocess:
        return values.ValueClass
    in_file: Any = values.MultiProcessValue(process_identifier=WorkerSlot(_prepare_files))  # type: ignore[no-untyped-call]

    class SlotValue(in_file):  # type: ignore[misc]
        """A value in the file of the slot, which goes on from earlier processes; `get` returns what this one added."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._in_process: Any = values.MutexValue(*args, **options)  # type: ignore[no-untyped-call]

        def inc(self, amount: float) -> None:
            super().inc(amount)
            self._in_process.inc(amount)

        def set(self, value: float, timestamp: float | None = None) -> None:
            super().set(value, timestamp)
            self._in_process.set(value)

        def get(self) -> Any:
            return self._in_process.get()

    return SlotValue


def _prepare_files(folder: Path, slot: str) -> None:
    """Remove the live gauges of the process that held the slot before, and set files aside that cannot be read."""
    for path in folder.glob(f"gauge_live*_{slot}.db"):
        path.unlink()
    for path in folder.glob(f"*_{slot}.db"):
        if path.stat().st_size and not is_readable(path):
            path.rename(path.with_suffix(".broken"))


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
