"""The wishes that are in force: followed in the source that the policy names, and loaded beside the requests."""

import logging
import os
import threading
from collections.abc import Callable
from datetime import date
from time import monotonic, time

from noai_guard.build_date import today
from noai_guard.config.wishes import KeptWishes, kept_wishes, kind_of
from noai_guard.core.policy import Creators, Policy
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.works import Works
from noai_guard.observability.metrics import Telemetry

_log = logging.getLogger("noai_guard")

_COMPLAINT_SECONDS = 60.0


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
        self._kept: KeptWishes | None = None
        self._reading: tuple[int, threading.Thread] | None = None
        self._next_complaint = 0.0
        self._failed = False

    def follow(self, policy: Policy) -> None:
        """Look into the source of a policy from now on. Raises ValueError and MissingExtra if it is none."""
        creators = policy.creators
        if creators.source != self._creators.source or policy.works != self._works:
            self.close()
            is_followed = bool(creators.source) and not creators.asked
            self._kept = kept_wishes(creators.source, policy.works) if is_followed else None
            self._works = policy.works
        self._creators = creators
        if creators.index is not None and creators.index.known:
            self._report(creators.index)
        else:
            self._telemetry.set_wishes("", 0, 0.0)

    def close(self) -> None:
        """Close what the source has open in this process; it is opened again by a later look."""
        if self._kept is not None:
            self._kept.close()

    @property
    def is_followed(self) -> bool:
        """True if there is a source to look into."""
        return self._kept is not None

    def look(self) -> None:
        """Look into the source in a thread of its own, unless one is still at it. Never raises."""
        reading = self._reading
        if self._kept is None or (reading is not None and reading[0] == os.getpid() and reading[1].is_alive()):
            return
        thread = threading.Thread(target=self.look_now, name="noai-guard-wishes", daemon=True)
        self._reading = os.getpid(), thread
        try:
            thread.start()
        except RuntimeError as error:
            self._complain(error)

    def look_now(self) -> None:
        """Look into the source, and read what has changed. Never raises."""
        kept, creators = self._kept, self._creators
        if kept is None:
            return
        try:
            index = kept.index(date.fromisoformat(today()))
            if index is not creators.index:
                self._use(creators, index)
                _note_looser(creators.index, index)
        except Exception as error:  # whatever a database driver raises: the last good index stays
            self._complain(error)
        else:
            if self._failed:
                self._failed = False
                _log.warning("the wishes of creators can be read again")
            self._report(index)

    def _report(self, index: WishIndex) -> None:
        self._telemetry.set_wishes(kind_of(self._creators.source), len(index), time())

    def _complain(self, error: Exception) -> None:
        self._failed = True
        self._telemetry.wishes_unreadable(str(error) or type(error).__name__)
        if monotonic() >= self._next_complaint:
            self._next_complaint = monotonic() + _COMPLAINT_SECONDS
            _log.error(
                "the wishes of creators cannot be read, the last good ones stay in force (said once a minute):\n%s",
                error,
            )


def _note_looser(before: WishIndex | None, after: WishIndex) -> None:
    """Log, with its date, that fewer works are reserved by their creators. A line that is gone looks like no wish."""
    if before is None or not before.known:
        return
    were, are = before.reserved, after.reserved
    fewer = [f"{usage} {were[usage]:,} -> {are[usage]:,}" for usage in were if are[usage] < were[usage]]
    if fewer:
        _log.warning(
            "creators disallow fewer works than before: %s; `noai-guard ledger publish` records from when",
            ", ".join(fewer),
        )
