"""The wishes that are in force: followed in the source that the policy names, and loaded beside the requests."""

import logging
import os
import threading
from collections.abc import Callable
from datetime import date
from time import monotonic, time

from noai_guard.build_date import today
from noai_guard.config.wishes import kind_of, open_wishes
from noai_guard.core.policy import Creators, Policy
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.wishes import WishesSource
from noai_guard.core.works import Works
from noai_guard.observability.metrics import Telemetry

_log = logging.getLogger("noai_guard")

_COMPLAINT_SECONDS = 60.0
_MAX_CHANGED = 20_000
"""Works that may have changed before all are read again."""


class WishesInForce:
    """Looks whether wishes have changed, and hands an index of them to `use`, with the policy that it is for.

    One thread at a time reads; requests go by the index in force meanwhile. What cannot be read leaves the last good
    index in force, is counted, and is logged once a minute.
    """

    def __init__(self, telemetry: Telemetry, use: Callable[[Creators, WishIndex], None]) -> None:
        self._telemetry = telemetry
        self._use = use
        self._creators = Creators()
        self._works = Works()
        self._source: WishesSource | None = None
        self._day = ""
        self._reading: tuple[int, threading.Thread] | None = None
        self._next_complaint = 0.0
        self._failed = False

    def follow(self, policy: Policy) -> None:
        """Look into the source of a policy from now on. Raises ValueError and MissingExtra if it is none."""
        creators = policy.creators
        if creators.source != self._creators.source or policy.works != self._works:
            self.close()
            is_followed = bool(creators.source) and not creators.asked
            self._source = open_wishes(creators.source, policy.works) if is_followed else None
            self._works, self._day = policy.works, today()
        self._creators = creators
        if creators.index is not None and creators.index.known:
            self._report(creators.index)
        else:
            self._telemetry.set_wishes("", 0, 0.0)

    def close(self) -> None:
        """Close what the source has open in this process; it is opened again by a later look."""
        if self._source is not None:
            self._source.close()

    @property
    def is_followed(self) -> bool:
        """True if there is a source to look into."""
        return self._source is not None

    def look(self) -> None:
        """Look into the source in a thread of its own, unless one is still at it. Never raises."""
        reading = self._reading
        if self._source is None or (reading is not None and reading[0] == os.getpid() and reading[1].is_alive()):
            return
        thread = threading.Thread(target=self.look_now, name="noai-guard-wishes", daemon=True)
        self._reading = os.getpid(), thread
        try:
            thread.start()
        except RuntimeError as error:
            self._complain(error)

    def look_now(self) -> None:
        """Look into the source, and read what has changed. Never raises."""
        source, creators = self._source, self._creators
        if source is None:
            return
        try:
            index, day = self._read(source, creators.index), today()
            if index is not creators.index:
                self._use(creators, index)
            self._day = day
        except Exception as error:  # whatever a database driver raises: the last good index stays
            self._complain(error)
        else:
            if self._failed:
                self._failed = False
                _log.warning("the wishes of creators can be read again")
            self._report(index)

    def _read(self, source: WishesSource, before: WishIndex | None) -> WishIndex:
        version, day = source.version(), today()
        is_known = before is not None and before.known and day == self._day
        if is_known and before is not None:
            if version == before.version:
                return before
            if before.changed < _MAX_CHANGED:
                changes = source.changes(before.version, date.fromisoformat(day))
                if changes is not None:
                    return before.with_changes(changes, version)
        return WishIndex(source.read(date.fromisoformat(day)), version)

    def _report(self, index: WishIndex) -> None:
        self._telemetry.set_wishes(kind_of(self._creators.source), len(index), time())

    def _complain(self, error: Exception) -> None:
        self._failed = True
        self._telemetry.metrics.wish_failures.labels("source").inc()
        if monotonic() >= self._next_complaint:
            self._next_complaint = monotonic() + _COMPLAINT_SECONDS
            _log.error(
                "the wishes of creators cannot be read, the last good ones stay in force (said once a minute):\n%s",
                error,
            )
