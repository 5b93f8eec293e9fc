"""Fixtures for tests of reload."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def hangup_as_before() -> Iterator[None]:
    """Put the handler of SIGHUP back that was there before the test."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def make_fifo() -> Callable[[Path], None]:
    """Return a function that makes a named pipe, to which nobody ever writes."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    return os.mkfifo


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let housekeeping and periodic tasks run a hundred times a second."""
    monkeypatch.setattr("noai_guard.middleware.runtime.HOUSEKEEPING_SECONDS", 0.01)
    monkeypatch.setattr("noai_guard.middleware.periodic_tasks.INTERVAL_SECONDS", 0.01)
