"""The time limit that is moved for each part: one timer for many moves."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from noai_guard.reverse_proxy.deadline import Deadline


class Timer:
    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """An event loop's clock and timers, which a test moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, due: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(due, callback))
        return self.timers[-1]

    def advance(self, now: float) -> None:
        self.now = now
        for timer in [timer for timer in self.timers if timer.due <= now and not timer.cancelled]:
            timer.cancelled = True
            timer.callback()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


def test_it_expires_once_and_with_the_reason_of_the_last_move(loop: Loop) -> None:
    expired: list[Any] = []
    deadline = Deadline(expired.append)
    deadline.move(1, ValueError)
    deadline.move(2, KeyError)
    loop.advance(1.5)
    assert expired == []
    loop.advance(2.5)
    assert [type(reason) for reason in expired] == [KeyError]
    loop.advance(100)
    assert len(expired) == 1


def test_moving_it_further_away_sets_no_timer(loop: Loop) -> None:
    deadline = Deadline(lambda reason: None)
    for part in range(1000):
        loop.now = part / 1000
        deadline.move(60, TimeoutError)
    assert len(loop.timers) == 1


def test_moving_it_closer_is_in_time(loop: Loop) -> None:
    expired: list[Any] = []
    deadline = Deadline(expired.append)
    deadline.move(60, TimeoutError)
    deadline.move(1, TimeoutError)
    loop.advance(1)
    assert len(expired) == 1


def test_a_disarmed_or_closed_deadline_does_not_expire(loop: Loop) -> None:
    expired: list[Any] = []
    disarmed, closed = Deadline(expired.append), Deadline(expired.append)
    disarmed.move(1, TimeoutError)
    closed.move(1, TimeoutError)
    disarmed.disarm()
    closed.close()
    loop.advance(10)
    assert expired == []
    disarmed.move(1, TimeoutError)
    loop.advance(11)
    assert len(expired) == 1
