"""The promises of the ledger while serving: compared with each policy that is loaded, and loosened when their day
comes."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from noai_guard.build_date import today
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import catalog_of
from noai_guard.core.policy import Policy
from noai_guard.middleware.periodic_tasks import PeriodicTasks
from noai_guard.observability.metrics import Telemetry
from noai_guard.record.kept_ledger import KeptLedger

_log = logging.getLogger("noai_guard")


class PromisesInForce:
    """What the ledger adds to the loaded policy. `on_change` is called, in the thread of the tasks, when the ledger has
    changed or an announced version takes effect; each process does that for itself.

    `clock` returns seconds since 1970.
    """

    def __init__(self, telemetry: Telemetry, tasks: PeriodicTasks, on_change: Callable[[], object]) -> None:
        self.clock: Callable[[], float] = time.time
        self.loaded: Policy | None = None
        self._telemetry = telemetry
        self._tasks = tasks
        self._on_change = on_change
        self._kept = KeptLedger()
        self._next_change: float | None = None
        self._said = ""

    def compiled(self, loaded: Policy, *, documents_of: CompiledPolicy | None = None) -> CompiledPolicy:
        """Return a loaded policy with what is promised beside it; `documents_of` as for a CompiledPolicy.

        Raises PolicyTooLong; a ledger that cannot be used makes it stricter, and is logged.
        """
        loaded = self._with_its_ledger(loaded)
        current = self._kept.in_force(loaded, datetime.fromtimestamp(self.clock(), UTC))
        compiled = CompiledPolicy(loaded, catalog_of(loaded), today(), current.promised, documents_of=documents_of)
        self.loaded = loaded
        self._next_change = current.next_change.timestamp() if current.next_change else None
        states = {
            "damaged": bool(self._kept.problem),
            "unpublished": current.unpublished and not self._kept.problem,
            "announced": bool(current.promised.announcements),
        }
        self._telemetry.set_ledger(frozenset(state for state, holds in states.items() if holds), self._kept.problem)
        self._say(current.unpublished)
        (self._tasks.add if loaded.ledger else self._tasks.remove)(self.look)
        return compiled

    def _with_its_ledger(self, loaded: Policy) -> Policy:
        """Return a policy that is loaded while serving, with the ledger of the one before if it names none any more."""
        before = self.loaded.ledger if self.loaded is not None else None
        if loaded.ledger is not None or before is None:
            return loaded
        _log.error("the policy does not name its ledger any more; until a restart, what the ledger promises holds")
        return replace(loaded, ledger=before)

    def _say(self, unpublished: bool) -> None:
        """Log what an operator has to know of the ledger, once until it changes."""
        said = ""
        if self._kept.problem:
            said = (
                "the ledger cannot be used, so the stricter of the policy and of what was last known to be promised is "
                f"in force:\n{self._kept.problem}"
            )
        elif unpublished:
            said = (
                "the policy is not published in the ledger, so the stricter of both is in force; "
                "`noai-guard ledger publish` publishes it"
            )
        if said and said != self._said:
            _log.error("%s", said)
        elif self._said and not said:
            _log.info("the policy is the one that the ledger has published")
        self._said = said

    def look(self) -> None:
        """Call `on_change` if the ledger's files have changed, or an announced version takes effect. Never raises.

        The newest entry is remembered for the processes after this one: here, so that only who serves writes it.
        """
        try:
            if self.loaded is not None:
                self._kept.remember(self.loaded)
            due = self._next_change is not None and self.clock() >= self._next_change
            if self.loaded is not None and (due or self._kept.has_changed(self.loaded)):
                self._next_change = None  # what fails now is not tried each second
                self._on_change()
        except Exception as error:
            self._telemetry.failed("ledger", error)
