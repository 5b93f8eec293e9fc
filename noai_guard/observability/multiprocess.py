"""The metrics of all workers that share PROMETHEUS_MULTIPROC_DIR."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from noai_guard.observability.prometheus_adapter import merged
from noai_guard.observability.worker_slots import is_held

_LIVE_GAUGES = re.compile(r"gauge_live[a-z]+_(noai\d+)\.db\Z")


class WorkersCollector(Collector):
    """Collects what all workers wrote to `folder`: noai-guard's metrics and the app's."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def collect(self) -> Iterable[Metric]:
        return merged([path for path in sorted(self._folder.glob("*.db")) if self._counts(path)])

    def _counts(self, path: Path) -> bool:
        """Return False for live gauges of a worker that has ended, and for a file that is just being created."""
        live_gauges = _LIVE_GAUGES.match(path.name)
        if live_gauges and not is_held(self._folder, live_gauges[1]):
            return False
        try:
            return path.stat().st_size > 0
        except FileNotFoundError:
            return False


def registry_of_workers() -> CollectorRegistry | None:
    """Return a registry that answers for all workers, or None where PROMETHEUS_MULTIPROC_DIR is not set.

    Raises ValueError if it is set and is not a folder.
    """
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None:
        return None
    if not Path(folder).is_dir():
        raise ValueError(f"PROMETHEUS_MULTIPROC_DIR is not a folder: {folder!r}")
    registry = CollectorRegistry()
    registry.register(WorkersCollector(folder))
    return registry
