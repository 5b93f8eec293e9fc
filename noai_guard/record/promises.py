"""What is in force: the loaded policy, and of the ledger all that is promised and may not be loosened yet."""

from dataclasses import dataclass, replace
from datetime import datetime

from noai_guard.core.model import Action
from noai_guard.core.policy import Policy
from noai_guard.core.promised import HISTORY_PATH, Announcement, Promised
from noai_guard.record.canonical_policy import policy_data, policy_digest
from noai_guard.record.history import history_documents
from noai_guard.record.ledger import Ledger


@dataclass(frozen=True, slots=True)
class InForce:
    """What goes with a loaded policy, and what there is to say about it.

    `unpublished`: the loaded policy is not the one of the ledger's last entry. `next_change` is when the next entry
    takes effect, None if none is announced.
    """

    promised: Promised
    unpublished: bool = False
    next_change: datetime | None = None


def in_force(loaded: Policy, ledger: Ledger, now: datetime) -> InForce:
    """Return what is in force by a verified ledger. Raises LedgerInvalid if a withheld part of it is not known here."""
    entries = ledger.promised(now)
    own = policy_data(loaded)
    others: dict[int, Policy] = {}
    seen = [own]
    for entry in entries:
        data = entry.policy_data
        if data not in seen:
            seen.append(data)
            others[entry.number] = _without_lost_wishes(entry.policy(loaded))
    documents = history_documents(ledger, loaded.site, now)
    announced = [Announcement(entry.effective, entry.loosening or entry.changes) for entry in ledger.announced(now)]
    promised = Promised(
        policies=tuple(others.values()),
        announcements=tuple(announced),
        documents=tuple(documents.values()),
        alternatives={HISTORY_PATH: documents},
        entry=entries[0].number if entries else None,
        digest=policy_digest(loaded),
    )
    return InForce(promised, ledger.head.policy_data != own, ledger.next_change(now))


def _without_lost_wishes(promised: Policy) -> Policy:
    """Return a promised policy under which, if nobody says any more where the wishes of creators are, every work is
    reserved as far as its creator may have reserved it."""
    return replace(promised, on_unknown=Action.DENY) if promised.creators.are_lost else promised


def without_ledger(loaded: Policy, fallback: Policy) -> InForce:
    """Return what is in force while the ledger cannot be read and nobody knows what was promised: the stricter of the
    loaded policy and the packaged stance `fallback`."""
    kept = replace(loaded, **{name: getattr(fallback, name) for name in _STANCE})
    return InForce(Promised(policies=(kept,), digest=policy_digest(loaded)), unpublished=True)


_STANCE = ("stance", "usages", "path_policies", "mode", "rules", "exemptions", "on_unknown", "unreadable", "partners")
