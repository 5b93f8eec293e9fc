"""What the creator's page shows of the site: its policy, and what it has announced."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from noai_guard.config import load_catalog, load_policy, load_stance
from noai_guard.config.regular_file import file_identity
from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Action, Usage
from noai_guard.core.policy import Policy
from noai_guard.core.wish_index import number_of, wished_policy
from noai_guard.core.wishes import WISHED_USAGES, Choice
from noai_guard.errors import Invalid

LOGGER = logging.getLogger("noai_guard.creators")

_WILDCARDS = str.maketrans({"*": "x", "?": "x"})


@dataclass(frozen=True, slots=True)
class Announced:
    """A change of the site's policy that loosens something, and when it takes effect."""

    effective: datetime
    sentences: tuple[str, ...]


@dataclass(slots=True)
class Site:
    """A site's policy, read again when its file changes; a broken one leaves the last good one in force.

    Raises PolicyInvalid if it cannot be used from the beginning.
    """

    source: str | Path | Policy | None
    ledger: str | Path | None = None
    _identity: tuple[object, ...] = field(default=(), init=False)
    _table: DecisionTable = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        if isinstance(self.source, (str, Path)):
            self._identity = file_identity(self.source)
        self._table = DecisionTable(self._read(), load_catalog())

    @property
    def table(self) -> DecisionTable:
        """The policy in force, for look-up."""
        if isinstance(self.source, (str, Path)) and (identity := file_identity(self.source)) != self._identity:
            with self._lock:
                if identity != self._identity:
                    self._identity = identity
                    try:
                        self._table = DecisionTable(self._read(), load_catalog())
                    except Invalid as error:
                        LOGGER.warning("the policy of the creator's page stays the last good one: %s", error)
        return self._table

    def _read(self) -> Policy:
        if isinstance(self.source, Policy):
            return self.source
        return load_stance() if self.source is None else load_policy(self.source)

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.table.policy

    @property
    def name(self) -> str:
        """What the site is called: its name, its owner or its address; perhaps empty."""
        site = self.policy.site
        return site.name or site.owner or site.url

    def default(self, work: str = "") -> dict[Usage, Action]:
        """Return what the site does with each usage that creators have a say in: for a work, or for the whole site.

        Of several paths of a work, the strictest counts.
        """
        return self.outcome(work, {})

    def outcome(self, work: str, choices: Mapping[Usage, Choice]) -> dict[Usage, Action]:
        """Return what the site does with each usage of a work if these choices are in force, as the guard does it."""
        table = self.table
        # A path that stands for all of a pattern's. Wildcards could hide stricter sections below it; the guard decides.
        paths = [pattern.replace("{work}", work).translate(_WILDCARDS) for pattern in table.policy.works.patterns]
        policies = [table.path_class(path).path_policy for path in paths if work] or [table.policy.whole_site]
        number, creators, on_unknown = number_of(choices), table.policy.creators, table.policy.on_unknown
        wished = [wished_policy(each, number, decide=creators.decide, on_unknown=on_unknown) for each in policies]
        return {
            usage: max((each.usages[usage] for each in wished), key=lambda action: action.strictness)
            for usage in WISHED_USAGES
        }

    def announced(self, now: datetime) -> list[Announced]:
        """Return what the ledger has announced and what has not taken effect, the next first. Raises LedgerInvalid."""
        folder = self.ledger
        if folder is None and self.policy.ledger is not None:
            folder = self.policy.ledger.folder
        if folder is None:
            return []
        # Only here: it needs cryptography, which a site without a ledger may not have.
        from noai_guard.record.ledger import Ledger

        entries = Ledger.read(folder).announced(now)
        changes = [Announced(entry.effective, entry.loosening or entry.changes) for entry in entries]
        return sorted(changes, key=lambda change: change.effective)
