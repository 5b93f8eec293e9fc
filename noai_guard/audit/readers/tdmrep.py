"""/.well-known/tdmrep.json as TDMRep defines it: an array of which the first matching entry counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from noai_guard.audit.readers.html import parsed_json
from noai_guard.declarations.shared.robots_file import matches

_MAX_ENTRIES = 2000
_MAX_COMPARED = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. If it cannot be used, `reserved` is None and `problem` says why. `policy` is as written."""

    location: str
    reserved: bool | None
    policy: str = ""
    problem: str = ""


def read_entries(body: bytes) -> tuple[Entry, ...]:
    """Return the entries in order; none if the file is no JSON array."""
    data = parsed_json(body)
    return tuple(_entry(item) for item in data[:_MAX_ENTRIES]) if isinstance(data, list) else ()


def _entry(item: Any) -> Entry:
    if not isinstance(item, dict):
        return Entry("", None, problem="an entry is not an object")
    location, reserved, policy = (item.get(key) for key in ("location", "tdm-reservation", "tdm-policy"))
    policy = policy if isinstance(policy, str) else ""
    if not isinstance(location, str) or location[:1] not in ("/", "*"):
        return Entry("", None, policy, f"location is {location!r}")
    if type(reserved) is not int or reserved not in (0, 1):
        return Entry(location, None, policy, f"tdm-reservation is {reserved!r}")
    return Entry(location, bool(reserved), policy)


def first_match(entries: Sequence[Entry], path: str) -> Entry | None:
    """Return the entry that counts for a path (with its query)."""
    return next((entry for entry in entries if entry.location and matches(entry.location, path)), None)


def shadowed(entries: Sequence[Entry]) -> list[tuple[Entry, Entry]]:
    """Return each entry that is never reached, with the earlier, contradicting one that matches wherever it does."""
    pairs = []
    for index, entry in enumerate(entries[:_MAX_COMPARED]):
        for earlier in entries[:index]:
            differs = None not in (entry.reserved, earlier.reserved) and entry.reserved != earlier.reserved
            if differs and _covers(earlier.location, entry.location):
                pairs.append((entry, earlier))
                break
    return pairs


def _covers(wide: str, narrow: str) -> bool:
    """Return True if the wide location surely matches whatever the narrow one does."""
    prefix = wide.rstrip("*")
    is_prefix = not wide.endswith("$") and "*" not in prefix
    return wide == narrow or (is_prefix and narrow.startswith(prefix))
