"""Verify a ledger: find every entry that was changed, dropped, reordered or back-dated."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from noai_guard.errors import Problem
from noai_guard.record import timestamps
from noai_guard.record.ledger import (
    FORMAT,
    Entry,
    Kind,
    Ledger,
    LedgerInvalid,
    entry_message,
    head_message,
    iso,
)
from noai_guard.record.ledger_files import read_document
from noai_guard.record.ledger_keys import is_signed_by
from noai_guard.record.policy_changes import certain_changes

_FROM_COPY = "restore it from a copy that somebody else keeps"

CLOCKS_DIFFER = timedelta(minutes=10)
"""So far may the clock of an author be from that of others."""


def problems_of(
    ledger: Ledger,
    key: str = "",
    now: datetime | None = None,
    earlier: Ledger | None = None,
    authorities: timestamps.Authorities | None = None,
) -> tuple[Problem, ...]:
    """Return everything that is wrong with a ledger; nothing if it is what its authors have signed.

    `key` is the first key; if empty, that of the first entry is believed. `earlier` is an older copy, whose entries all
    have to be in this one. Timestamps are checked against `authorities`, if given. Raises MissingExtra.
    """
    problems = [*chain_problems(ledger, key, now or datetime.now(UTC))]
    for entry in ledger.entries:
        problems += (*_documents(ledger, entry), *timestamps.problems_of(entry, authorities))
    return (*problems, *rewritten(ledger, earlier)) if earlier else tuple(problems)


def rewritten(ledger: Ledger, earlier: Ledger) -> Iterator[Problem]:
    """Yield a problem for each entry of an older copy that a ledger does not hold."""
    known = {entry.hash for entry in ledger.entries}
    for old in earlier.entries:
        if old.hash not in known:
            message = f"entry {old.number} of {iso(old.time)} ({old.source}) is not in the ledger, or is another there"
            hint = "the ledger was rewritten after that copy was made"
            yield Problem("L010", message, hint, ledger.head.source)


def chain_problems(ledger: Ledger, key: str, now: datetime) -> Iterator[Problem]:
    """Yield what is wrong with the chain itself: entries, their order, times and signatures. Arguments as above."""
    yield from _order(ledger)
    expected = key or ledger.entries[0].key
    before: Entry | None = None
    # A public copy has none, nor has a folder that was handed on without them.
    has_withheld = ledger.folder is not None and (ledger.folder / "withheld").is_dir()
    for entry in ledger.entries:
        yield from _content(entry, expected, has_withheld)
        yield from _times(entry, before, now)
        if before is not None and entry.number == before.number + 1 and entry.data["previous"] != before.hash:
            yield _problem("L002", entry, f"follows another entry {before.number} than the one here")
        yield from _notice(entry, before)
        # A forged rotation hands the chain to nobody.
        if entry.kind is Kind.KEY and entry.computed_hash() == entry.hash and entry.key == expected:
            expected = entry.next_key
        before = entry
    yield from _head(ledger, expected)


def _problem(code: str, entry: Entry, message: str, hint: str = _FROM_COPY) -> Problem:
    return Problem(code, f"entry {entry.number} {message}", hint, entry.source)


def _order(ledger: Ledger) -> Iterator[Problem]:
    numbers = [entry.number for entry in ledger.entries]
    for before, entry in zip(ledger.entries, ledger.entries[1:], strict=False):
        if entry.number <= before.number:
            yield _problem("L005", entry, f"stands behind entry {before.number}: the entries were reordered")
    for missing in sorted(set(range(1, max(numbers) + 1)) - set(numbers)):
        yield Problem("L004", f"entry {missing} is missing", _FROM_COPY, ledger.head.source)


def _content(entry: Entry, expected: str, has_withheld: bool) -> Iterator[Problem]:
    if entry.computed_hash() != entry.hash:
        yield _problem("L002", entry, "was changed: its content does not have the hash that it names")
    elif entry.key != expected:
        yield _problem("L003", entry, f"is signed with {entry.key}, and the key in force is {expected}")
    elif not is_signed_by(entry.key, entry_message(entry.hash), entry.data["signature"]):
        yield _problem("L003", entry, "does not have the signature of its key")
    if entry.number == 1 and entry.data["previous"]:
        yield _problem("L004", entry, "is not the first: an entry stood before it")
    if has_withheld:
        try:
            entry.policy()
        except LedgerInvalid as error:
            yield from error.problems
        except Exception:  # what is disclosed may be anything
            yield _problem("L009", entry, "has withheld parts of which no policy can be built")


def _times(entry: Entry, before: Entry | None, now: datetime) -> Iterator[Problem]:
    if before is not None and entry.time < before.time:
        yield _problem("L006", entry, f"was back-dated: it says {iso(entry.time)}, before the entry before it")
    if entry.time > now + CLOCKS_DIFFER:
        yield _problem("L006", entry, f"says {iso(entry.time)}, which is yet to come", "set the clock of its author")
    if entry.effective < entry.time:
        yield _problem("L006", entry, f"was back-dated: it takes effect on {iso(entry.effective)}, before it was made")


def _notice(entry: Entry, before: Entry | None) -> Iterator[Problem]:
    """Yield a problem if an entry that loosens something takes effect before its notice is over."""
    if before is None or entry.kind is Kind.CORRECTION:
        if entry.kind is Kind.CORRECTION and not entry.reason:
            yield _problem("L007", entry, "is a correction without a reason")
        return
    try:
        changed = certain_changes(before.public_policy, entry.public_policy)
        loosens = any(change.loosens for change in changed) or bool(entry.loosening)
        owed = max(before.data["policy"]["notice"], entry.data["policy"]["notice"]) if loosens else 0
        until = entry.time + timedelta(days=owed)
    except Exception:  # a hostile entry may hold anything
        yield _problem("L001", entry, "holds a policy that cannot be compared with the one before")
        return
    if entry.effective < until:
        yield _problem("L007", entry, f"loosens the policy, and takes effect before its notice is over ({iso(until)})")
    if entry.effective < before.effective:
        yield _problem("L007", entry, f"takes effect before entry {before.number}, which it builds on")


def _documents(ledger: Ledger, entry: Entry) -> Iterator[Problem]:
    for path, document in entry.declarations["documents"].items() if ledger.folder else ():
        if read_document(ledger, document["sha256"]) is None:
            yield _problem("L008", entry, f"declared {path}, and the file in documents/ is missing or was changed")


def _head(ledger: Ledger, key: str) -> Iterator[Problem]:
    last = ledger.head
    head = _read_head(ledger.head_data or {})
    if head is None:
        yield _problem("L004", last, "is the last one here, and head.json, which names the last, is missing or damaged")
        return
    number, hashed, signer, signature = head
    if signer != key or not is_signed_by(signer, head_message(number, hashed), signature):
        yield _problem("L003", last, "is the last one here, and head.json is not signed with the key in force")
    elif number > last.number:
        yield _problem("L004", last, f"is the last one here, and the last one written was entry {number}")
    elif (number, hashed) != (last.number, last.hash):
        yield _problem("L002", last, f"is not the last entry that head.json names ({number})")


def _read_head(data: Mapping[str, Any]) -> tuple[int, str, str, str] | None:
    """Return number, hash, key and signature of a head, or None if it has another form."""
    if data.keys() != {"format", "number", "hash", "key", "signature"} or data["format"] != FORMAT:
        return None
    number = data["number"]
    texts = [data.get(name) for name in ("hash", "key", "signature")]
    if type(number) is not int or not all(isinstance(text, str) and text.isascii() for text in texts):
        return None
    return number, *texts  # type: ignore[return-value]
