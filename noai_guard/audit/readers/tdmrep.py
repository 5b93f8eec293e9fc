"""A /.well-known/tdmrep.json, read as TDMRep says: an array, whose first matching entry counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from noai_guard.audit.readers.html import parsed_json
from noai_guard.declarations.robots_txt import matches

_MOST_ENTRIES = 2000
_MOST_COMPARED = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `reserved` is None, and `problem` says why, where it cannot be used. `policy` as it is written."""

    location: str
    reserved: bool | None
    policy: str = ""
    problem: str = ""


NOT_JSON, NOT_AN_ARRAY = "not JSON", "not an array"


def read_entries(body: bytes) -> tuple[Entry, ...] | str:
    """The entries in order, or one of the two things that can be wrong with the whole file."""
    data = parsed_json(body)
    if data is None:
        return NOT_JSON
    if not isinstance(data, list):
        return NOT_AN_ARRAY
    return tuple(_entry(item) for item in data[:_MOST_ENTRIES])


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
    """The entry that counts for a path (with its query)."""
    return next((entry for entry in entries if entry.location and matches(entry.location, path)), None)


def shadowed(entries: Sequence[Entry]) -> list[tuple[Entry, Entry]]:
    """Each entry that says something else than an earlier one that matches wherever it does, and that earlier one."""
    found = []
    for place, entry in enumerate(entries[:_MOST_COMPARED]):
        for earlier in entries[:place]:
            differs = None not in (entry.reserved, earlier.reserved) and entry.reserved != earlier.reserved
            if differs and _covers(earlier.location, entry.location):
                found.append((entry, earlier))
                break
    return found


def _covers(wide: str, narrow: str) -> bool:
    """Whether a location matches whatever a narrower one does; where that is not certain, no."""
    beginning = wide.rstrip("*")
    is_plain = not wide.endswith("$") and "*" not in beginning
    return wide == narrow or (is_plain and narrow.startswith(beginning))
