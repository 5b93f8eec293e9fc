"""Parsers of the values of declaring headers, which robots.txt and metas share."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any

import http_sf

from noai_guard.audit.readers.guarded import describe, guarded
from noai_guard.core.text import closest
from noai_guard.declarations import content_signal, content_usage

LABELS: tuple[str, ...] = tuple(label for label, _ in content_usage.LABELS)

TRAINING = "train-ai"

SIGNALS: Mapping[str, str] = {
    key: next(label for label, usages in content_usage.LABELS if usages == meant) for key, meant in content_signal.KEYS
}
"""Key of a content signal -> AIPREF's label for the same usages."""

USE_VALUES = ("immediate", "reference", "full")
"""Values of the key `use` of a content signal, which is about no usage."""

_MAX_PAIRS = 100
_SIMILARITY = 0.7
"""Least similarity of a misspelled key; labels of older drafts are as similar."""

Preferences = dict[str, bool]
"""AIPREF's labels of usages (`train-ai`, `ai-use`, `search`), and whether they are allowed."""


class Fault(StrEnum):
    """Kind of mistake in a value."""

    SYNTAX = "syntax"
    VALUE = "value"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Value:
    """A parsed value: its preferences, and its faults with a description each."""

    preferences: Preferences = field(default_factory=dict)
    faults: list[tuple[Fault, str]] = field(default_factory=list)


def content_usage_value(text: str) -> Value:
    """Parse an AIPREF preference (vocab-08), an RFC 9651 dictionary. A value that does not parse has no preferences."""
    members: Any = guarded(lambda: http_sf.parse(text.encode("latin-1", "replace"), tltype="dictionary"), describe)
    if isinstance(members, str):
        return Value(faults=[(Fault.SYNTAX, members)])
    result = Value()
    for key, (value, parameters) in islice(members.items(), _MAX_PAIRS):
        if key not in LABELS:
            if near := closest(key, (*LABELS, *SIGNALS), _SIMILARITY):
                result.faults.append((Fault.KEY, f"{key} is not a label; {SIGNALS.get(near, near)} is"))
            continue
        if isinstance(value, http_sf.Token) and str(value) in ("y", "n"):
            result.preferences[key] = str(value) == "y"
        else:
            result.faults.append((Fault.VALUE, f"{key} is neither y nor n"))
        misplaced = sorted(set(parameters).intersection(LABELS))
        text = f"stands behind a semicolon, so it belongs to {key}"
        result.faults.extend((Fault.VALUE, f"{label} {text}") for label in misplaced)
    return result


def content_signal_value(text: str) -> Value:
    """Parse content signals: pairs of a signal and `yes` or `no`, separated by commas, and `use`."""
    result = Value()
    if ";" in text:
        result.faults.append((Fault.SYNTAX, "a semicolon where a comma belongs"))
    for pair in filter(None, map(str.strip, re.split("[,;]", text)[:_MAX_PAIRS])):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if key in SIGNALS and value in ("yes", "no"):
            result.preferences[SIGNALS[key]] = value == "yes"
        elif key in SIGNALS or (key == "use" and value not in USE_VALUES):
            result.faults.append((Fault.VALUE, f"{key}{equals}{value}"))
        elif key != "use" and (near := closest(key, (*SIGNALS, *LABELS), _SIMILARITY)):
            right = next((signal for signal, label in SIGNALS.items() if near in (signal, label)), near)
            result.faults.append((Fault.KEY, f"{key} is not a signal; {right} is"))
    return Value(faults=result.faults) if ";" in text else result


NOAI = ("noai", "noimageai")


@dataclass(frozen=True, slots=True)
class RobotsDirectives:
    """The lines of X-Robots-Tag, or metas, with noai (noimageai is about pictures alone).

    `plain` are lines that everybody understands, `hidden` those with a colon, `capitals` those with capital letters;
    `misspelled` are words that are nearly noai or noimageai.
    """

    plain: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    capitals: list[str] = field(default_factory=list)
    misspelled: list[str] = field(default_factory=list)

    @property
    def reserve_training(self) -> bool:
        """True if noai is on any line, even if not every reader finds it there."""
        return bool(self.plain or self.hidden)


def robots_directives(lines: Sequence[str]) -> RobotsDirectives:
    """Parse lines of X-Robots-Tag as the readers that act on noai do.

    img2dataset takes the text before a line's first colon for a user agent; Spawning's datadiligence compares case
    (both read 2026-11-23).
    """
    directives = RobotsDirectives()
    for line in lines:
        words = [word.strip() for word in re.split("[,:]", line)]
        others = [word for word in words if word.lower() not in NOAI]
        directives.misspelled.extend(word for word in others if re.sub("[^a-z]", "", word[:40].lower()) in NOAI)
        if any(word != word.lower() for word in words if word.lower() in NOAI):
            directives.capitals.append(line)
        if "noai" in map(str.lower, words):
            (directives.hidden if ":" in line else directives.plain).append(line)
    return directives


def tdm_reservation(text: str) -> bool | None:
    """Return whether text and data mining is reserved; None for any other value than 1 and 0, as if it was not sent."""
    return {"1": True, "0": False}.get(text.strip())


_LINK = re.compile(r"<([^<>]*)>((?:[^,\"]|\"(?:[^\"\\]|\\.)*\")*)")
_REL = re.compile(r";\s*rel\s*=\s*\"?([^\";]*)", re.IGNORECASE)
_TYPE = re.compile(r";\s*type\s*=\s*\"?([^\";]*)", re.IGNORECASE)


def links(values: Sequence[str], relation: str) -> Iterator[tuple[str, str]]:
    """Yield (target, media type) of each link of this relation in values of Link."""
    for value in values:
        for target, parameters in _LINK.findall(value[:8192]):
            rel, media_type = _REL.search(parameters), _TYPE.search(parameters)
            if rel and relation in rel[1].lower().split():
                yield target.strip(), media_type[1].strip().lower() if media_type else ""
