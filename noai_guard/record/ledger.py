"""The ledger: what was promised since when, as a chain of signed entries.

An entry is a JSON object. `hash` is the SHA-256 of the canonical form of all its other members but `signature` and
`timestamp`; `previous` is the hash of the entry before; `signature` is made over the hash. `head.json` says, signed,
which entry is the last, so that a dropped end is noticed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from noai_guard.core.policy import Policy
from noai_guard.core.stricter import stricter_policy
from noai_guard.errors import Invalid, Problem
from noai_guard.record.canonical_json import digest
from noai_guard.record.canonical_policy import policy_data, policy_from
from noai_guard.record.ledger_keys import SigningKey
from noai_guard.record.withheld import Opened, disclose, without_withheld

FORMAT = "noai-ledger/1"

_OUTSIDE_HASH = ("hash", "signature", "timestamp")


class LedgerInvalid(Invalid):
    """A ledger cannot be used, or was tampered with; each problem names an entry."""


class Kind(StrEnum):
    """What an entry records."""

    PUBLISH = "publish"
    CORRECTION = "correction"
    KEY = "key"
    CATALOGUE = "catalogue"


def iso(moment: datetime) -> str:
    """Return a moment as the ledger writes it: UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(text: str) -> datetime:
    """Return the moment that the ledger writes so. Raises ValueError for every other form."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """One entry. `data` is its JSON object, `source` names it in messages, `opened` are its withheld parts."""

    data: Mapping[str, Any]
    source: str = ""
    opened: Opened = field(default_factory=dict, repr=False)

    @property
    def number(self) -> int:
        """The number of the entry, from 1."""
        number: int = self.data["number"]
        return number

    @property
    def kind(self) -> Kind:
        """What the entry records."""
        return Kind(self.data["kind"])

    @cached_property
    def time(self) -> datetime:
        """When the entry was written, as its author says."""
        return moment_of(self.data["time"])

    @cached_property
    def effective(self) -> datetime:
        """From when a looser promise may take the place of the one before."""
        return moment_of(self.data["effective"])

    @property
    def author(self) -> str:
        """Who wrote the entry."""
        return str(self.data["author"])

    @property
    def reason(self) -> str:
        """Why the entry was written; empty but for corrections."""
        return str(self.data["reason"])

    @property
    def changes(self) -> tuple[str, ...]:
        """The difference from the entry before, in sentences."""
        return tuple(self.data["changes"])

    @property
    def loosening(self) -> tuple[str, ...]:
        """Those of the changes that loosen a reservation of an AI usage."""
        return tuple(self.data["loosening"])

    @property
    def catalogue(self) -> str:
        """The version of the catalogue that the declarations were made with."""
        return str(self.data["catalogue"])

    @property
    def declarations(self) -> Mapping[str, Any]:
        """What was declared: `documents` (path -> media_type, sha256) and `headers` (path pattern -> lines)."""
        declarations: Mapping[str, Any] = self.data["declarations"]
        return declarations

    @property
    def hash(self) -> str:
        """The hash that the entry claims."""
        return str(self.data["hash"])

    @property
    def key(self) -> str:
        """The key that the entry claims to be signed with."""
        return str(self.data["key"])

    @property
    def next_key(self) -> str:
        """The key that the entry after this has to be signed with."""
        return str(self.data.get("new_key") or self.key)

    @property
    def policy_data(self) -> dict[str, Any]:
        """What was promised, with its private parts. Raises LedgerInvalid if one is not known here, or is another."""
        try:
            return disclose(self.data["policy"], self.opened)
        except KeyError:
            message = f"entry {self.number} has withheld parts that are not here, or were changed"
            raise LedgerInvalid([Problem("L009", message, "restore the folder withheld/", self.source)]) from None

    def policy(self, running: Policy | None = None) -> Policy:
        """Return the policy that was promised, with its private parts, run as `running` is. Raises LedgerInvalid."""
        return policy_from(self.policy_data, running)

    @cached_property
    def public_policy(self) -> Policy:
        """The policy that was promised, as far as everybody may know it."""
        return policy_from(without_withheld(self.data["policy"]))

    def computed_hash(self) -> str:
        """Return the hash that the entry should have."""
        return digest({key: value for key, value in self.data.items() if key not in _OUTSIDE_HASH})


@dataclass(frozen=True)
class Ledger:
    """All entries, the oldest first. `head_data` is the signed statement which is the last; None if there is none.

    `folder` is where the declared documents are, None for a public copy, which has none.
    """

    entries: tuple[Entry, ...]
    head_data: Mapping[str, Any] | None = None
    folder: Path | None = None

    @property
    def head(self) -> Entry:
        """The last entry. Raises IndexError for an empty ledger."""
        return self.entries[-1]

    def promised(self, moment: datetime) -> tuple[Entry, ...]:
        """Return the entries of which the strictest counts at a moment: the last one that has taken effect, and
        those after it, which are announced. Empty before the first entry.

        What is stricter holds from when it was written, what is looser from when it takes effect.
        """
        known = [entry for entry in self.entries if entry.time <= moment]
        first = max((index for index, entry in enumerate(known) if entry.effective <= moment), default=0)
        return tuple(known[first:])

    def at(self, moment: datetime) -> Entry | None:
        """Return the last entry that had taken effect at a moment, or None before the first."""
        promised = self.promised(moment)
        return promised[0] if promised else None

    def waits(self, entry: Entry) -> bool:
        """Return True if something in an entry may be looser than in the one before, and waits until it takes effect.

        An entry that is only stricter holds at once, though what was announced before it still waits.
        """
        if entry.effective <= entry.time:
            return False
        before = next((each for each in self.entries if each.hash == entry.data["previous"]), None)
        if entry.loosening or before is None:
            return True
        policy = entry.public_policy
        return policy_data(stricter_policy([policy, before.public_policy])) != policy_data(policy)

    def successor(self, entry: Entry) -> Entry | None:
        """Return the last of the entries that take the place of one before it takes effect; None if none does."""
        later = [each for each in self.entries if each.number > entry.number and each.effective <= entry.effective]
        return later[-1] if later else None

    def announced(self, moment: datetime) -> tuple[Entry, ...]:
        """Return the entries that have not taken effect at a moment, and will. Of several with one day, the last."""
        return tuple(each for each in self.promised(moment)[1:] if self.successor(each) is None)

    def next_change(self, moment: datetime) -> datetime | None:
        """Return when, after a moment, the next entry takes effect; None if all have."""
        return min((entry.effective for entry in self.entries if entry.effective > moment), default=None)


def signed_entry(facts: Mapping[str, Any], key: SigningKey) -> dict[str, Any]:
    """Return an entry with its hash and signature. `facts` are all members that are hashed, but for `key`."""
    data = {"format": FORMAT, **facts, "key": key.name}
    hashed = digest(data)
    return {**data, "hash": hashed, "signature": key.sign(entry_message(hashed))}


def signed_head(entry: Mapping[str, Any], key: SigningKey) -> dict[str, Any]:
    """Return the signed statement that an entry is the last. `key` is the one that signs the next."""
    number, hashed = entry["number"], entry["hash"]
    signature = key.sign(head_message(number, hashed))
    return {"format": FORMAT, "number": number, "hash": hashed, "key": key.name, "signature": signature}


def entry_message(hashed: str) -> bytes:
    """Return what the signature of an entry is made over."""
    return f"{FORMAT} entry {hashed}".encode()


def head_message(number: int, hashed: str) -> bytes:
    """Return what the signature of the head is made over."""
    return f"{FORMAT} head {number} {hashed}".encode()


def public_copy(ledger: Ledger) -> dict[str, Any]:
    """Return all that everybody may know of a ledger, enough to verify it."""
    return {"format": FORMAT, "head": ledger.head_data, "entries": [entry.data for entry in ledger.entries]}
