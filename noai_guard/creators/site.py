"""What the creators' page shows of the site: its policy, and what its ledger has promised and announced."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from time import monotonic

from noai_guard.config import catalog_of, load_policy, load_stance
from noai_guard.config.regular_file import file_identity
from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.decision_table import DecisionTable, PathClass, strictest_section, strictest_usages
from noai_guard.core.model import Action, Usage
from noai_guard.core.path_patterns import ELSEWHERE
from noai_guard.core.policy import LedgerPolicy, Policy
from noai_guard.core.promised import Announcement
from noai_guard.core.stricter import StricterTable
from noai_guard.core.wish_index import number_of
from noai_guard.core.wishes import WISHED_USAGES, Choice
from noai_guard.errors import Invalid
from noai_guard.record.kept_ledger import KeptLedger

LOGGER = logging.getLogger("noai_guard.creators")

_LEDGER_SECONDS = 1.0
_WILDCARDS = str.maketrans({"*": "x", "?": "x"})


class _InForce:
    """The policy in force for look-up, what is announced (None if that is not known), and what comes of choices."""

    def __init__(self, table: DecisionTable, announced: Sequence[Announcement] | None) -> None:
        self.table = table
        self.announced = announced
        self.outcomes: BoundedCache[tuple[tuple[PathClass, ...], int], Mapping[Usage, Action]] = BoundedCache(
            self._outcome
        )

    def _outcome(self, key: tuple[tuple[PathClass, ...], int]) -> Mapping[Usage, Action]:
        classes, number = key
        usages = strictest_usages([strictest_section(self.table.wished(each, number)) for each in classes])
        return {usage: usages[usage] for usage in WISHED_USAGES}


@dataclass(slots=True)
class Site:
    """A site's policy with what its ledger promises, as guards hold it. `look` keeps it so.

    A broken policy leaves the last good one in force. `ledger` is the folder of the ledger, if not the policy's.
    `clock` returns the moment. Raises PolicyInvalid if the policy cannot be used from the beginning.
    """

    source: str | Path | Policy | None
    ledger: str | Path | None
    clock: Callable[[], datetime]
    _identity: tuple[object, ...] = field(default=(), init=False)
    _loaded: Policy = field(init=False)
    _kept: KeptLedger = field(default_factory=KeptLedger, init=False)
    _next_change: datetime | None = field(default=None, init=False)
    _looked_at_ledger: float = field(default=0.0, init=False)
    # Replaced in one assignment.
    _in_force: "_InForce" = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._look_at_file()
        self._loaded = self._read()
        self._put_in_force()

    @property
    def table(self) -> DecisionTable:
        """The policy in force, for look-up."""
        return self._in_force.table

    def look(self) -> None:
        """Read again what has changed. Called once for a request: of a long ledger, that takes some milliseconds."""
        with self._lock:
            if self._look_at_file():
                try:
                    self._loaded = self._read()
                    self._put_in_force()
                except Invalid as error:
                    LOGGER.warning("the policy of the creators' page stays the last good one: %s", error)
            is_due = self._next_change is not None and self.clock() >= self._next_change
            if is_due or self._ledger_has_changed():
                self._put_in_force()

    def _ledger_has_changed(self) -> bool:
        now = monotonic()
        if now - self._looked_at_ledger < _LEDGER_SECONDS:
            return False
        self._looked_at_ledger = now
        return self._kept.has_changed(self._loaded)

    def _look_at_file(self) -> bool:
        """Return True if the file has changed since it was last looked at."""
        before = self._identity
        if isinstance(self.source, (str, Path)):
            self._identity = file_identity(self.source)
        return self._identity != before

    def _read(self) -> Policy:
        if isinstance(self.source, Policy):
            policy = self.source
        else:
            policy = load_stance() if self.source is None else load_policy(self.source)
        if self.ledger is None:
            return policy
        kept = policy.ledger or LedgerPolicy("")
        return replace(policy, ledger=replace(kept, folder=str(self.ledger)))

    def _put_in_force(self) -> None:
        loaded = self._loaded
        current = self._kept.in_force(loaded, self.clock())
        if self._kept.problem:
            LOGGER.warning("the ledger of the creators' page cannot be used: %s", self._kept.problem)
        self._next_change = current.next_change
        policies = loaded, *current.promised.policies
        tables = [DecisionTable(policy, catalog_of(policy)) for policy in policies]
        announced = None if self._kept.problem else sorted(
            current.promised.announcements, key=lambda announcement: announcement.effective
        )  # fmt: skip
        self._in_force = _InForce(StricterTable(tables) if len(tables) > 1 else tables[0], announced)

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.table.policy

    @property
    def name(self) -> str:
        """What the site is called: its name, its owner or its address; perhaps empty."""
        site = self.policy.site
        return site.name or site.owner or site.url

    def default(self, work: str = "") -> Mapping[Usage, Action]:
        """Return what the site does with each usage that creators have a say in: for a work, or for the whole site.

        Of several paths of a work, the strictest counts.
        """
        return self.outcome(work, {})

    def outcome(self, work: str, choices: Mapping[Usage, Choice]) -> Mapping[Usage, Action]:
        """Return what the site does with each usage of a work if these choices are in force, as the guard does it."""
        in_force = self._in_force
        table = in_force.table
        # A path that stands for all of a pattern's. Wildcards could hide stricter sections below it; the guard decides.
        paths = [pattern.replace("{work}", work).translate(_WILDCARDS) for pattern in table.policy.works.patterns]
        classes = [table.path_class(path) for path in paths if work] or [table.path_class(ELSEWHERE)]
        return in_force.outcomes[tuple(dict.fromkeys(classes)), number_of(choices)]

    @property
    def announced(self) -> Sequence[Announcement] | None:
        """What the ledger has announced and what has not taken effect, the next first; None if nobody can read it."""
        return self._in_force.announced
