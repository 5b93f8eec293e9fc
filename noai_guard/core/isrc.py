"""International Standard Recording Codes (ISO 3901:2019): country, registrant, year, number."""

import re

_ISRC = re.compile(r"([A-Z]{2})-?([A-Z0-9]{3})-?([0-9]{2})-?([0-9]{5})", re.IGNORECASE | re.ASCII)
_HYPHENATED_LENGTHS = range(13, 16)

# Blanks and dashes stand for hyphens where a catalogue was set for print.
_BETWEEN = dict.fromkeys(map(ord, " \u00a0\u2010\u2011\u2012\u2013\u2212"))


def isrc(text: str) -> str | None:
    """Return an ISRC in capitals without hyphens, None if the text is none. `ISRC` may stand in front, and blanks or
    dashes in place of hyphens."""
    match = _ISRC.fullmatch(text)
    if match is None:
        code = text.strip().upper().removeprefix("ISRC").lstrip(": ").translate(_BETWEEN)
        match = _ISRC.fullmatch(code)
    return "".join(match.groups()).upper() if match else None


def without_hyphens(name: str) -> str:
    """Return an ISRC without its hyphens, and everything else as it is."""
    if len(name) not in _HYPHENATED_LENGTHS or "-" not in name or not _ISRC.fullmatch(name):
        return name
    return name.replace("-", "")
