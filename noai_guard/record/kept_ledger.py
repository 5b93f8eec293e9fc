"""The ledger of a policy as who serves or writes files needs it: read, verified, and the last good one kept."""

from datetime import datetime
from pathlib import Path

from noai_guard.config import load_stance
from noai_guard.core.policy import LedgerPolicy, Policy
from noai_guard.core.promised import Promised
from noai_guard.record.canonical_policy import policy_digest
from noai_guard.record.ledger import Ledger, LedgerInvalid
from noai_guard.record.ledger_files import folder_identity, read_ledger
from noai_guard.record.newest_head import is_older, remember
from noai_guard.record.promises import InForce, in_force, without_ledger
from noai_guard.record.verification import chain_problems, rewritten

_READS = 3
"""A ledger that is written while it is read is read again."""


class KeptLedger:
    """Reads the ledger that a policy names. `problem` says why it cannot be used now, empty if it can."""

    def __init__(self) -> None:
        self.problem = ""
        self._good: tuple[LedgerPolicy, Ledger] | None = None
        self._identity: tuple[object, ...] = ()

    def in_force(self, loaded: Policy, now: datetime) -> InForce:
        """Return what is in force with a loaded policy. Never raises: of a ledger that cannot be read, or was tampered
        with, the last good one counts, and if there was none, the packaged no-ai stance."""
        self.problem = ""
        if loaded.ledger is None:
            return InForce(Promised(digest=policy_digest(loaded)))
        for _ in range(_READS):
            self._identity = folder_identity(Path(loaded.ledger.folder))
            try:
                ledger = verified(loaded.ledger, now)
                self._check_not_rewritten(loaded, loaded.ledger, ledger)
                current = in_force(loaded, ledger, now)
            except Exception as error:  # files may hold anything
                self.problem = str(error) or type(error).__name__
                if not self.has_changed(loaded):
                    break
            else:
                self.problem = ""
                self._good = loaded.ledger, ledger
                return current
        return self._without(loaded, now)

    def _check_not_rewritten(self, loaded: Policy, settings: LedgerPolicy, ledger: Ledger) -> None:
        """Raise LedgerInvalid if a ledger does not go on from the last good one, of this process or of one before: an
        older copy is whole, too."""
        known = self._good[1] if self._good is not None and self._good[0].folder == settings.folder else None
        if known is not None and (problems := tuple(rewritten(ledger, known))):
            raise LedgerInvalid(problems)
        if (problem := is_older(loaded, ledger)) is not None:
            raise LedgerInvalid([problem])

    def remember(self, loaded: Policy) -> None:
        """Keep the head of the ledger that counts for the processes after this one. Never raises."""
        if self._good is not None and not self.problem:
            remember(loaded, self._good[1])

    def _without(self, loaded: Policy, now: datetime) -> InForce:
        if self._good is not None and loaded.ledger and self._good[0].folder == loaded.ledger.folder:
            return in_force(loaded, self._good[1], now)
        return without_ledger(loaded, load_stance())

    def has_changed(self, loaded: Policy) -> bool:
        """Return True if the files are others than those that were read."""
        return loaded.ledger is not None and folder_identity(Path(loaded.ledger.folder)) != self._identity


def verified(settings: LedgerPolicy, now: datetime) -> Ledger:
    """Return the ledger of a policy. Raises LedgerInvalid if its chain is not whole; MissingExtra."""
    ledger = read_ledger(settings.folder)
    if problems := tuple(chain_problems(ledger, settings.key, now)):
        raise LedgerInvalid(problems)
    return ledger
