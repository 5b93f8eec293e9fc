"""Paths that servers are known to read in different ways, for drivers that do not know the server behind them."""

from collections.abc import Iterable
from itertools import chain

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.paths import normal_path, other_readings


def strictest_reading(compiled: CompiledPolicy, path: str, raw_paths: Iterable[bytes], user_agent: bytes) -> str:
    """Return the reading of a path under which the client is treated most strictly; `path` itself if none is stricter.

    `path` is any of `raw_paths`, the forms in which it came in the request, decoded once; they mean the same to us. A
    document is for everyone, whatever else its path may be read as.
    """
    normal = normal_path(path)
    if normal in compiled.documents:
        return path
    strictness = compiled.guard.judged(normal, user_agent).action.strictness
    for reading in chain.from_iterable(map(other_readings, raw_paths)):
        other = compiled.guard.judged(reading, user_agent).action.strictness
        if other > strictness:
            path, strictness = reading, other
    return path
