"""Paths as targets match them: globs as expressions, and what servers read in different ways."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from zlib import crc32

from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.core.paths import ODD as ODD_PATH
from noai_guard.core.policy import CERTIFICATE_CHECKS


@dataclass(frozen=True, slots=True)
class PathSet:
    """Paths that match any of some globs, in `any_case` also if their letters are in another case.

    `name` consists of `[a-z0-9_]` and is unique in a plan. Where `raw` is not empty, servers with expressions match
    these instead, all of them, against the target as it was sent: before anything is decoded or resolved.

    With a `wish`, only the works with this number in a `WorkMap` count, whose paths match `works`; without `globs`, all
    of them. The name is then that of the `area`.
    """

    name: str
    globs: tuple[str, ...]
    any_case: bool = False
    raw: tuple[str, ...] = ()
    wish: int | None = None
    works: tuple[str, ...] = ()

    @property
    def area(self) -> "PathSet | None":
        """The same paths whatever is wished, None for everywhere."""
        if self.wish is None:
            return self
        return replace(self, wish=None, works=()) if self.globs else None

    @property
    def regexes(self) -> tuple[str, ...]:
        return tuple(pattern_to_regex(glob, any_case=self.any_case) for glob in self.globs)

    @property
    def regex(self) -> str:
        return "|".join(self.regexes)


def _only_as_written(glob: str) -> str:
    """Return an expression for targets whose path matches `/a/b` or `/a/b/**` and means the same to every server."""
    below = r"(?:/[0-9A-Za-z_=~-][0-9A-Za-z_=.~-]*)*/?" if glob.endswith("/**") else ""
    return pattern_to_regex(glob.removesuffix("/**")).removesuffix("$") + rf"{below}(?:\x3f|$)"


OPEN = PathSet("open", CERTIFICATE_CHECKS, raw=("|".join(map(_only_as_written, CERTIFICATE_CHECKS)),))
"""The paths that are let in for everyone."""

NOT_ASCII = r"[^\x00-\x7f]"
"""What stands in no target of a browser."""

_ODD = ODD_PATH.replace(r"\\", r"\x5c")  # Apache takes two backslashes for one

ODD = PathSet("odd", (), raw=(rf"(?i)^[^?]*?(?:{_ODD}|{NOT_ASCII})",))
"""The paths that servers read in different ways (`noai_guard.core.paths.ODD`). No server with expressions makes all
readings."""

PLAIN_TARGET = r"^(?:/(?![/.])[^/%;\x5c#?\x00-\x20\x7f-\xff]*+)++(?:\x3f|$)"
"""A target in which nothing is odd (PCRE): most of them, told in one pass from segment to segment."""

_MAX_WORD, _MAX_WORDS = 6, 3000
"""Characters of one word of a glob, and of an expression for such words."""

_HIDDEN_CHARACTER = rf"%(?:25)+..|%c[01]%..|%e0%8.%..|%f0%80%8.%..|{NOT_ASCII}{{2,4}}"
"""A character that is encoded twice, or in more bytes than UTF-8 allows, or not at all."""


def odd_like(globs: Iterable[str]) -> PathSet:
    """Return the odd paths of which some reading may match one of these globs, because a word of the glob is in it.

    A server that is written in C may end a path at NUL, so that anything may be in its place. Return ODD where a glob
    has no word of its own.
    """
    words = [max(re.split(r"[*?/]+", glob), key=len)[:_MAX_WORD].lower() for glob in globs]
    nul = r"\x00|%(?:25)*00|%c0%80|%e0%8[01]%80|%f0%80%8[01]%80"
    alternatives = (nul, *map(_however_encoded, dict.fromkeys(words)))
    pattern = f"(?i)^[^?]*?(?:{'|'.join(alternatives)})"
    if not all(words) or len(pattern) > _MAX_WORDS:
        return ODD
    return PathSet(f"odd_{crc32(pattern.encode()):08x}", (), raw=(*ODD.raw, pattern))


def _however_encoded(word: str) -> str:
    characters = []
    for character in word:
        spellings = dict.fromkeys((character, character.upper()))
        encoded = ["".join(f"%{byte:02x}" for byte in spelling.encode()) for spelling in spellings]
        literal = [pattern_to_regex(f"/{spelling}")[2:-1] for spelling in spellings]
        repeated = "" if character.isascii() else "+"
        characters.append(f"(?:{'|'.join((*literal, *encoded))}|(?:{_HIDDEN_CHARACTER}){repeated})")
    return "".join(characters)
