"""Conditions on the header fields of a request: a field is there, or holds one of some words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

HEADER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
"""Names that every server can look for. An underscore is left out, because servers drop such fields."""

WORD = re.compile(r"[!-~](?:[ -~]{0,98}[!-~])?")
"""Words that may be looked for: printable ASCII, at most 100 characters, no blanks at the ends."""

_IN_WORD = "[A-Za-z0-9_-]"


@dataclass(frozen=True, slots=True)
class HeaderCondition:
    """A header field that a request must have, `name` in lower case, and words of which its value must hold one.

    Without `words`, any value will do. Letter case does not matter, and no character of `[A-Za-z0-9_-]` may stand
    beside a word: `zyte` is in `via: 1.1 zyte-x` no more than in `via: zytes`.
    """

    name: str
    words: tuple[str, ...] = ()
    _search: re.Pattern[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_search", re.compile(self.regex.encode("ascii"), re.IGNORECASE))

    @property
    def regex(self) -> str:
        """An expression, without lookaround, that is found in the values that meet the condition."""
        if not self.words:
            return ""
        words = "|".join(escaped(word) for word in self.words)
        return f"(?:^|[^A-Za-z0-9_-])(?:{words})(?:[^A-Za-z0-9_-]|$)"

    def holds(self, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Return True if a line of these headers, with names in lower case, meets the condition."""
        name, search = self.name.encode("ascii"), self._search.search
        return any(line == name and search(value) is not None for line, value in headers)


def escaped(text: str) -> str:
    """Return an expression for printable ASCII that PCRE, RE2 and Python read alike."""
    return re.sub(r"[^A-Za-z0-9 _/:-]", lambda match: f"\\x{ord(match[0]):02x}", text)
