"""The values of declaring header lines, which robots.txt and metas share: what they say, and what is wrong with them.

What is said is a mapping of usages, by AIPREF's labels (`train-ai`, `ai-use`, `search`), to whether they are allowed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any

import http_sf

from noai_guard.core.text import closest
from noai_guard.declarations import content_signal, content_usage

LABELS: tuple[str, ...] = tuple(label for label, _ in content_usage.LABELS)

TRAINING = "train-ai"

SIGNALS: Mapping[str, str] = {
    key: next(label for label, usages in content_usage.LABELS if usages == meant) for key, meant in content_signal.KEYS
}
"""Key of a Content Signal -> the AIPREF label that means the same usages."""

MOST_KEPT = ("immediate", "reference", "full")
"""What the fourth key of a Content Signal, `use`, may say."""

_MOST_PAIRS = 100
_SIMILARITY = 0.7
"""From which on a key is taken for a misspelled one; labels of older drafts are as near."""

Said = dict[str, bool]


class Fault(StrEnum):
    """How a value is wrong."""

    SYNTAX = "syntax"
    VALUE = "value"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Value:
    """What a value says, and its faults with a few words each."""

    said: Said = field(default_factory=dict)
    faults: tuple[tuple[Fault, str], ...] = ()


def content_usage_value(text: str) -> Value:
    """An AIPREF preference (vocab-08): an RFC 9651 dictionary. What does not parse says nothing at all."""
    try:
        members: Any = http_sf.parse(text.encode("latin-1", "replace"), tltype="dictionary")
    except ValueError as error:
        return Value(faults=((Fault.SYNTAX, str(error)),))
    said: Said = {}
    faults: list[tuple[Fault, str]] = []
    for key, (value, parameters) in islice(members.items(), _MOST_PAIRS):
        if key not in LABELS:
            if near := closest(key, (*LABELS, *SIGNALS), _SIMILARITY):
                faults.append((Fault.KEY, f"{key} is not a label; {SIGNALS.get(near, near)} is"))
            continue
        if isinstance(value, http_sf.Token) and str(value) in ("y", "n"):
            said[key] = str(value) == "y"
        else:
            faults.append((Fault.VALUE, f"{key} is neither y nor n"))
        lost = sorted(set(parameters).intersection(LABELS))
        faults += ((Fault.VALUE, f"{label} stands behind a semicolon, so it belongs to {key}") for label in lost)
    return Value(said, tuple(faults))


def content_signal_value(text: str) -> Value:
    """Content Signals: pairs with commas between them; `yes` and `no`, and `use`."""
    said: Said = {}
    faults: list[tuple[Fault, str]] = []
    if ";" in text:
        faults.append((Fault.SYNTAX, "a semicolon where a comma belongs"))
    for pair in filter(None, map(str.strip, re.split("[,;]", text)[:_MOST_PAIRS])):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if key in SIGNALS and value in ("yes", "no"):
            said[SIGNALS[key]] = value == "yes"
        elif key in SIGNALS or (key == "use" and value not in MOST_KEPT):
            faults.append((Fault.VALUE, f"{key}{equals}{value}"))
        elif key != "use" and (near := closest(key, (*SIGNALS, *LABELS), _SIMILARITY)):
            right = next((signal for signal, label in SIGNALS.items() if near in (signal, label)), near)
            faults.append((Fault.KEY, f"{key} is not a signal; {right} is"))
    return Value({} if ";" in text else said, tuple(faults))


NOAI = ("noai", "noimageai")


@dataclass(frozen=True, slots=True)
class RobotsDirectives:
    """What lines of X-Robots-Tag, or metas, say about noai (noimageai is about pictures alone).

    `plain` are lines that everybody reads it in, `hidden` those with a colon before or beside it, `capitals` those
    with capital letters, `misspelt` words that are nearly it.
    """

    plain: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    capitals: tuple[str, ...] = ()
    misspelt: tuple[str, ...] = ()

    @property
    def meant(self) -> bool:
        """Whether it is said at all, however badly."""
        return bool(self.plain or self.hidden)


def robots_directives(lines: Sequence[str]) -> RobotsDirectives:
    """Lines of X-Robots-Tag as those read them who act on noai.

    img2dataset takes what stands before a line's first colon for a user agent; Spawning's datadiligence compares
    capitals too (both read 2026-11-23).
    """
    plain: list[str] = []
    hidden: list[str] = []
    capitals: list[str] = []
    misspelt: list[str] = []
    for line in lines:
        words = [word.strip() for word in re.split("[,:]", line)]
        misspelt += [word for word in words if word.lower() not in NOAI and _letters(word) in NOAI]
        if any(word != word.lower() for word in words if word.lower() in NOAI):
            capitals.append(line)
        if "noai" in map(str.lower, words):
            (hidden if ":" in line else plain).append(line)
    return RobotsDirectives(tuple(plain), tuple(hidden), tuple(capitals), tuple(misspelt))


def _letters(word: str) -> str:
    return re.sub("[^a-z]", "", word[:40].lower())


def tdm_reservation(text: str) -> bool | None:
    """Whether text and data mining is reserved; None for anything but 1 and 0, which counts as not said."""
    return {"1": True, "0": False}.get(text.strip())


_LINK = re.compile(r"<([^<>]*)>((?:[^,\"]|\"(?:[^\"\\]|\\.)*\")*)")
_REL = re.compile(r";\s*rel\s*=\s*\"?([^\";]*)", re.IGNORECASE)
_TYPE = re.compile(r";\s*type\s*=\s*\"?([^\";]*)", re.IGNORECASE)


def links(values: Sequence[str], relation: str) -> Iterator[tuple[str, str]]:
    """(target, media type) of each link of this relation in values of Link."""
    for value in values:
        for target, parameters in _LINK.findall(value[:8192]):
            rel, kind = _REL.search(parameters), _TYPE.search(parameters)
            if rel and relation in rel[1].lower().split():
                yield target.strip(), kind[1].strip().lower() if kind else ""
