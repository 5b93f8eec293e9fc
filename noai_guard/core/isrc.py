"""International Standard Recording Codes (ISO 3901:2019): country, registrant, year, number."""

import re

_ISRC = re.compile(r"([A-Z]{2})-?([A-Z0-9]{3})-?([0-9]{2})-?([0-9]{5})", re.IGNORECASE | re.ASCII)
_HYPHENATED_LENGTHS = range(13, 16)


def isrc(text: str) -> str | None:
    """Return an ISRC in capitals without hyphens, None if the text is none. `ISRC` may stand in front."""
    match = _ISRC.fullmatch(text) or _ISRC.fullmatch(text.strip().upper().removeprefix("ISRC").lstrip(": "))
    return "".join(match.groups()).upper() if match else None


def without_hyphens(name: str) -> str:
    """Return an ISRC without its hyphens, and everything else as it is."""
    if len(name) not in _HYPHENATED_LENGTHS or "-" not in name or not _ISRC.fullmatch(name):
        return name
    return name.replace("-", "")
