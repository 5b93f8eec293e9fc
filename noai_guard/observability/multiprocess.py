"""The metrics of all workers that share PROMETHEUS_MULTIPROC_DIR."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from noai_guard.observability.prometheus_adapter import merged, slot_files
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
    """Return a registry that answers for all workers.

    None where PROMETHEUS_MULTIPROC_DIR is not set, or where this process cannot use it and counts in its memory. To be
    called for each scrape, because the folder may go away.
    """
    files = slot_files()
    if files is not None:
        files.check()
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder or (files is not None and not files.usable) or not Path(folder).is_dir():
        return None
    registry = CollectorRegistry()
    registry.register(WorkersCollector(folder))
    return registry
