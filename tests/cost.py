"""Measures of cost that need no clock."""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType


def function_calls(function: Callable[[], object]) -> int:
    """Return the number of calls, of Python and C functions, that a function makes."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    # Hypothesis registers a callback of the garbage collector, whose calls would be counted too.
    collects = gc.isenabled()
    gc.disable()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()
    return calls


def peak_bytes(function: Callable[[], object]) -> int:
    """Return the bytes that are allocated at most while a function runs."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
