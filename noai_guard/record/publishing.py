"""Write the next entry of a ledger: what is promised from now on, what is declared of it, and what changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.catalog import Catalog
from noai_guard.core.policy import Policy
from noai_guard.record import timestamps
from noai_guard.record.canonical_json import digest
from noai_guard.record.canonical_policy import policy_data
from noai_guard.record.ledger import Kind, Ledger, iso, signed_entry, signed_head
from noai_guard.record.ledger_files import write_documents, write_entry
from noai_guard.record.ledger_keys import SigningKey
from noai_guard.record.policy_changes import Change, first_promises, policy_changes
from noai_guard.record.withheld import withhold
from noai_guard.responses.header_fields import native

WISHES_CHANGED = Change("creators: the documents declare what they wish for their works now")
"""Owes no notice: from when a wish holds is its creator's word, and stands where wishes are kept."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What the next entry would say. `kind` is None if there is nothing to publish."""

    kind: Kind | None
    changes: tuple[Change, ...]
    effective: datetime

    @property
    def loosening(self) -> tuple[str, ...]:
        """The changes that owe a notice."""
        return tuple(change.text for change in self.changes if change.loosens)


def draft(policy: Policy, catalog: Catalog, ledger: Ledger | None, now: datetime, correction: bool = False) -> Draft:
    """Return what an entry for a policy would say now. Raises LedgerInvalid if withheld parts are missing."""
    now = now.astimezone(UTC).replace(microsecond=0)
    if ledger is None:
        return Draft(Kind.PUBLISH, first_promises(policy), now)
    head = ledger.head
    before = head.policy(policy)
    changes = policy_changes(before, policy, catalog)
    if not changes and _wishes_declared(policy, catalog) != head.declarations.get("wishes", ""):
        return Draft(Kind.PUBLISH, (WISHES_CHANGED,), max(now, head.effective))
    if not changes:
        kind = Kind.CATALOGUE if head.catalogue != catalog.version else None
        return Draft(kind, (), max(now, head.effective))
    if correction:
        return Draft(Kind.CORRECTION, changes, now)
    effective = max(now, head.effective)
    if any(change.loosens for change in changes):
        effective = max(effective, notice_over(now, max(_notice(before), _notice(policy))))
    return Draft(Kind.PUBLISH, changes, effective)


def notice_over(now: datetime, days: int) -> datetime:
    """Return the first midnight (UTC) at which a notice of so many days is over; now, if none is owed."""
    over = now + timedelta(days=days)
    midnight = datetime.combine(over.date(), time(), UTC)
    return now if not days else midnight if midnight == over else midnight + timedelta(days=1)


def _notice(policy: Policy) -> int:
    return policy.ledger.notice if policy.ledger else 0


@dataclass(frozen=True, slots=True)
class Signing:
    """Who signs an entry, and when. `authority` is the address of a timestamp authority, empty for none; `reason` is
    that of a correction; `new_key` the key that signs from the next entry on."""

    author: str
    key: SigningKey
    now: datetime
    reason: str = ""
    authority: str = ""
    new_key: SigningKey | None = None


def publish(folder: Path, policy: Policy, catalog: Catalog, ledger: Ledger | None, drafted: Draft, by: Signing) -> Path:
    """Write the next entry and return its file. Raises OSError, NoTimestamp, MissingExtra."""
    head = ledger.head if ledger else None
    data, opened = withhold(policy_data(policy), head.opened if head else {})
    declarations, bodies = declared(policy, catalog)
    assert drafted.kind is not None
    facts: dict[str, Any] = {
        "number": head.number + 1 if head else 1,
        "kind": str(drafted.kind),
        "time": iso(by.now),
        "effective": iso(drafted.effective),
        "author": by.author,
        "reason": by.reason,
        "changes": [change.text for change in drafted.changes],
        "loosening": list(drafted.loosening),
        "policy": data,
        "catalogue": catalog.version,
        "declarations": declarations,
        "previous": head.hash if head else "",
    }
    if by.new_key:
        facts["new_key"] = by.new_key.name
    if by.authority:
        facts["timestamp_by"] = by.authority
    entry = signed_entry(facts, by.key)
    if by.authority:
        entry["timestamp"] = timestamps.timestamped(entry, by.authority)
    write_documents(folder, bodies)
    return write_entry(folder, entry, signed_head(entry, by.new_key or by.key), opened)


def declared(policy: Policy, catalog: Catalog) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what a policy declares: documents by path, header fields by path pattern, and a digest of what documents
    say of single works, if they do; and the bodies by SHA-256."""
    compiled = CompiledPolicy(policy, catalog)
    bodies = {sha256(document.body).hexdigest(): document.body for document in compiled.documents.values()}
    documents = {
        document.path: {"media_type": document.media_type, "sha256": sha256(document.body).hexdigest()}
        for document in compiled.documents.values()
    }
    headers: Mapping[str, list[str]] = {
        section.pattern: [f"{name}: {value}" for name, value in native(fields.fields)]
        for section, fields in compiled.declared.items()
    }
    wishes = _wishes_digest(compiled)
    return {"documents": documents, "headers": dict(headers), **({"wishes": wishes} if wishes else {})}, bodies


def _wishes_declared(policy: Policy, catalog: Catalog) -> str:
    return _wishes_digest(CompiledPolicy(policy, catalog)) if policy.creators.index is not None else ""


def _wishes_digest(compiled: CompiledPolicy) -> str:
    """Return the digest of the sections that documents have for works; empty if they have none."""
    own = set(compiled.policy.path_policies)
    sections = {
        section.pattern: {str(usage): str(action) for usage, action in section.usages.items()}
        for section in compiled.declared_works.policy.path_policies
        if section not in own
    }
    return digest(sections) if sections else ""


def rotation(ledger: Ledger, now: datetime) -> Draft:
    """Return the draft of an entry that names a new key and changes nothing else."""
    return Draft(Kind.KEY, (), max(now.astimezone(UTC).replace(microsecond=0), ledger.head.effective))
