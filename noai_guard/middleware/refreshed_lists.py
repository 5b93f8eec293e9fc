"""Published networks and feeds while serving: taken over when refreshed, and refreshed if the policy says so."""

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from noai_guard.config import load_catalog, welcome_user_agents
from noai_guard.config.refreshed import FILE, Refreshed, read_refreshed, write_refreshed
from noai_guard.config.regular_file import file_identity
from noai_guard.core.policy import Policy
from noai_guard.middleware.periodic_tasks import PeriodicTasks
from noai_guard.observability.metrics import Telemetry
from noai_guard.refresh import refresh

_log = logging.getLogger("noai_guard")

_RETRY_SECONDS = 3600
"""Seconds until lists that failed are fetched again, if the policy names a longer time."""


class RefreshedLists:
    """The lists in the folder of a policy. `on_change` is called, in the thread of the tasks, when the file changed.

    Of several processes that serve one folder, one refreshes it.
    """

    def __init__(self, telemetry: Telemetry, tasks: PeriodicTasks, on_change: Callable[[], object]) -> None:
        self._telemetry = telemetry
        self._tasks = tasks
        self._on_change = on_change
        self._policy: Policy | None = None
        self._seen: tuple[object, ...] = ()
        self._due = 0.0
        self._refreshing = threading.Lock()

    def use(self, policy: Policy) -> None:
        """Look after the lists of this policy from now on, and show their age. Never raises."""
        self._policy = policy if policy.refresh.folder else None
        (self._tasks.add if self._policy else self._tasks.remove)(self.look)
        if self._policy is None:
            return
        self._seen = self._identity()
        try:
            refreshed = read_refreshed(policy.refresh.folder)
        except ValueError as error:
            _log.error("the refreshed lists are not used, the packaged ones are: %s", error)
            return
        self._show(policy, refreshed)
        self._due = _next_refresh(policy, refreshed)

    def look(self) -> None:
        """Take over a file that has changed, and begin a refresh that is due. Never raises."""
        try:
            if self._policy is None:
                return
            if self._identity() != self._seen:
                self._seen = self._identity()
                self._on_change()
            if self._policy.refresh.every and time.time() >= self._due and not self._refreshing.locked():
                # In a thread of its own: the one that calls tasks also brings the metrics up to date.
                arguments = (self._policy,)
                threading.Thread(target=self._refresh, args=arguments, name="noai-guard-refresh", daemon=True).start()
        except Exception as error:
            self._telemetry.failed("refresh", error)

    def _identity(self) -> tuple[object, ...]:
        assert self._policy is not None
        return file_identity(Path(self._policy.refresh.folder) / FILE)

    def _refresh(self, policy: Policy) -> None:
        if not self._refreshing.acquire(blocking=False):
            return
        try:
            self._due = time.time() + _RETRY_SECONDS
            with _alone(Path(policy.refresh.folder)) as is_alone:
                if not is_alone:
                    return
                try:
                    before = read_refreshed(policy.refresh.folder)
                except ValueError:
                    before = Refreshed()
                if time.time() < _next_refresh(policy, before):  # another process has just done it
                    return
                done = refresh(policy, load_catalog(), before, time.time(), welcome_user_agents())
                write_refreshed(policy.refresh.folder, done.refreshed)
            for outcome in done.outcomes:
                if outcome.result == "kept":
                    _log.warning("%s was not refreshed: %s", outcome.address, outcome.detail)
            if done.newly_refused:
                _log.warning("feeds name agents that are refused from now on: %s", ", ".join(done.newly_refused))
        except Exception as error:
            self._telemetry.failed("refresh", error)
        finally:
            self._refreshing.release()

    def _show(self, policy: Policy, refreshed: Refreshed) -> None:
        known = {uri: published.published_at for uri, published in load_catalog().ranges.items()}
        metrics = self._telemetry.metrics
        for address, each in refreshed.all.items():
            if address in refreshed.feeds and address not in policy.feeds:
                continue
            metrics.list_refreshed.labels(address).set(max(each.fetched_at, known.get(address, 0.0)))
            metrics.list_failed.labels(address).set(bool(each.problem))


def _next_refresh(policy: Policy, refreshed: Refreshed) -> float:
    every = policy.refresh.every * 3600
    missing = any(url not in refreshed.feeds for url in policy.feeds)
    failed = any(each.problem for each in refreshed.all.values())
    return 0.0 if missing else refreshed.tried_at + (min(every, _RETRY_SECONDS) if failed else every)


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Hold the folder; give False if another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".refresh.lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
