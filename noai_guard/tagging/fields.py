"""What a file's tags say, and how it joins the tags that a file has."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

RESERVATION = "TDM-RESERVATION"
POLICY = "TDM-POLICY"
USAGE = "CONTENT-USAGE"
OWNER = "RIGHTS-OWNER"
PAGE = "RIGHTS-POLICY"

OWN = (RESERVATION, POLICY, USAGE, OWNER, PAGE)
"""The free-form names that are written in every format. No standard defines tags for audio that mean "no AI": the first
three are named after the header fields that say the same."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What the tags of one file say; each text is empty if it says nothing.

    `reservation` is that of TDMRep: "1" (reserved) or "0". `usage` are the preferences of AIPREF, as in the header
    Content-Usage. `policy` is the address of the policy for programs, `page` of the one for people. `mining` is the
    value of `plus:DataMining`, such as `DMI-PROHIBITED`.
    """

    reservation: str = ""
    usage: str = ""
    policy: str = ""
    page: str = ""
    owner: str = ""
    mining: str = ""

    @property
    def texts(self) -> Mapping[str, str]:
        """The value of each name of `OWN` that is said."""
        values = (self.reservation, self.policy, self.usage, self.owner, self.page)
        return {name: value for name, value in zip(OWN, values, strict=True) if value}

    @property
    def reserves(self) -> bool:
        """True if training is reserved."""
        return self.reservation == "1"


NOTHING = Fields()
"""No field: what is written to take our tags away."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How a format writes tags.

    `mirrors` are fields that the format itself defines, each with our name whose value it repeats. `read` returns
    name and value of an item if it is of ours or a mirror, else None; `write` makes an item.
    """

    mirrors: Mapping[str, str]
    read: Callable[[bytes], tuple[str, str] | None]
    write: Callable[[str, str], bytes]


@dataclass(frozen=True, slots=True)
class Merged:
    """Tags of a file, joined. `foreign` are items that are not ours; `was` are our values before."""

    items: Sequence[bytes]
    foreign: Sequence[bytes]
    was: Mapping[str, str]
    notes: Sequence[str]


def merge(items: Iterable[bytes], kind: Kind, fields: Fields) -> Merged:
    """Return the items with the fields. Items of others stay as they are, in their order.

    A mirror is ours if it repeats what our own field says; one with any other value is somebody else's, and stays.
    """
    pairs = [(item, kind.read(item)) for item in items]
    was: dict[str, str] = {}
    for _, pair in pairs:
        if pair and pair[0] in OWN:
            was.setdefault(*pair)

    def is_ours(pair: tuple[str, str] | None) -> bool:
        if pair is None:
            return False
        name, value = pair
        return name in OWN or was.get(kind.mirrors[name]) == value

    foreign = [item for item, pair in pairs if not is_ours(pair)]
    taken = {pair[0] for _, pair in pairs if pair and not is_ours(pair)}
    wanted = list(fields.texts.items())
    notes = []
    for mirror, name in kind.mirrors.items():
        value = fields.texts.get(name)
        if value and mirror in taken:
            notes.append(f"{mirror} has a value of its own, which stays")
        elif value:
            wanted.append((mirror, value))
    # The same values in another encoding are the same.
    if sorted(wanted) == sorted(pair for _, pair in pairs if pair and is_ours(pair)):
        return Merged([item for item, _ in pairs], foreign, was, notes)
    return Merged([*foreign, *(kind.write(name, value) for name, value in wanted)], foreign, was, notes)
