"""Fixtures for tests of reload."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def hangup_as_before() -> Iterator[None]:
    """Put the handler of SIGHUP back that was there before the test."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let housekeeping and periodic tasks run a hundred times a second."""
    monkeypatch.setattr("noai_guard.middleware.runtime.HOUSEKEEPING_SECONDS", 0.01)
    monkeypatch.setattr("noai_guard.middleware.periodic_tasks.INTERVAL_SECONDS", 0.01)
