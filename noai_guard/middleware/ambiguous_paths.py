"""A path that servers are known to read in different ways, for who does not know the server behind."""

from collections.abc import Iterable
from itertools import chain

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.paths import normal_path, other_readings


def strictest_reading(compiled: CompiledPolicy, path: str, raws: Iterable[bytes], user_agent: bytes) -> str:
    """The reading of a path under which the client is treated worst; `path` itself where none is worse.

    `path` is any of `raws`, as they came in the request, decoded once; they mean the same to us. A document is for
    everyone, whatever else it may be.
    """
    normal = normal_path(path)
    if normal in compiled.documents:
        return path
    strictness = compiled.guard.judged(normal, user_agent).action.strictness
    for reading in chain.from_iterable(map(other_readings, raws)):
        other = compiled.guard.judged(reading, user_agent).action.strictness
        if other > strictness:
            path, strictness = reading, other
    return path
