"""What is in force: the loaded policy, and of the ledger all that is promised and may not be loosened yet."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from noai_guard.config import load_catalog
from noai_guard.core.model import Action
from noai_guard.core.policy import Policy
from noai_guard.core.promised import HISTORY_PATH, Announcement, Promised
from noai_guard.core.stricter import stricter_policy
from noai_guard.record.canonical_policy import policy_data, policy_digest
from noai_guard.record.history import history_documents
from noai_guard.record.ledger import Ledger
from noai_guard.record.policy_changes import certain_changes, policy_changes


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
    promised = Promised(
        policies=tuple(others.values()),
        announcements=tuple(_announcements(ledger, now)),
        documents=tuple(documents.values()),
        alternatives={HISTORY_PATH: documents},
        entry=entries[0].number if entries else None,
        digest=policy_digest(loaded),
    )
    return InForce(promised, ledger.head.policy_data != own, ledger.next_change(now))


def _announcements(ledger: Ledger, now: datetime) -> Iterator[Announcement]:
    """Yield what will be looser, for each day on which something will be, and was not withdrawn since.

    Of several entries that take effect on one day only the last will count, so it is compared with what was promised
    before the first of them. Those after it are stricter at once.
    """
    waiting = ledger.promised(now)
    for entry in ledger.announced(now):
        overtaken = [each for each in waiting[1:] if each.number < entry.number and each.effective >= entry.effective]
        first = (*overtaken, entry)[0]
        before = next(each for each in reversed(waiting) if each.number < first.number).policy()
        policy, later = entry.policy(), [each.policy() for each in waiting if each.number > entry.number]
        changes: tuple[str, ...] = entry.loosening
        if overtaken:
            changes = tuple(each.text for each in policy_changes(before, policy, load_catalog()) if each.loosens)
        if later:
            comparable, left = (
                {each.text for each in certain_changes(before, after)}
                for after in (policy, stricter_policy([policy, *later]))
            )
            changes = tuple(each for each in changes if each in left or each not in comparable)
        if changes:
            yield Announcement(entry.effective, changes)


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
