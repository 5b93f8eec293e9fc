"""Fast filters of User-Agents for servers with Go's regular expressions (Caddy, Traefik).

Go's engine follows all alternatives at once: an expression of some hundred names takes a microsecond for each character
of a User-Agent (measured 2026-11-26). So only those User-Agents are searched for names in which a word begins like one
of a name.
"""

import re
from collections.abc import Iterable
from string import ascii_lowercase

from noai_guard.core import browser_words
from noai_guard.core.user_agent_matcher import HEAD_BYTES, TAIL_BYTES
from noai_guard.targets import user_agent_regex
from noai_guard.targets.plan import grouped


def harmless_expressions(words: Iterable[str], known: Iterable[str] = ()) -> list[str]:
    """Return expressions for a User-Agent in any case with a blank before it. Whom all match has none of these words.

    `words` are runs of letters that are whole words of a User-Agent with a name. An expression looks only at the
    beginnings of words, so some harmless words do not pass either; those of browsers and of `known` do.

    Go matches each in one pass, about 20 ns for a character (2026-11-29): at each character only one alternative is
    possible, and it has fewer than the thousand instructions up to which Go tries that (regexp/onepass.go, seen in
    Go 1.19 and 1.27).
    """
    others = browser_words.ALL.union(known)
    tree = user_agent_regex.word_tree(sorted(_beginning(word, others) for word in set(words)))
    parts: list[user_agent_regex.Node] = [{}]
    for letter, below in sorted(tree.items()):
        if _size({**parts[-1], letter: below}) > _ONE_PASS:
            parts.append({})
        parts[-1][letter] = below
    return [rf"^(?:{_NO_WORD}{_other_words(part)})*$" for part in parts]


_NO_WORD = r"(?:%(?:20|[89A-Fa-f][0-9A-Fa-f])|[^A-Za-z%\x5c])"
"""A character between words; apps encode blanks and letters beyond ASCII in their names."""

_ONE_PASS = 950
"""Instructions, as `_size` counts them; those around it are about twenty."""

_LEAST = 4
_ENDS, _GOES_ON = "$", "*"


def _beginning(word: str, known: Iterable[str]) -> str:
    """Return the shortest beginning of a word that no known word has, with a mark for whether it is the whole word."""
    lengths = range(_LEAST, len(word))
    cuts = (word[:length] for length in lengths if not any(other.startswith(word[:length]) for other in known))
    cut = next(cuts, "")
    return f"{cut}{_GOES_ON}" if cut else f"{word}{_ENDS}"


def _branches(node: user_agent_regex.Node) -> tuple[str, dict[str, list[str]]]:
    """Return the letters with which a word leaves the tree, and those that go on, by the expression of the rest."""
    leaving = "".join(letter for letter in ascii_lowercase if letter not in node)
    on = {letter: below for letter, below in node.items() if letter not in (_ENDS, _GOES_ON) and _GOES_ON not in below}
    return leaving, grouped(sorted(on), lambda letter: _other_words(on[letter]))


def _other_words(node: user_agent_regex.Node) -> str:
    """Return an expression for the rest of every word that does not go on as one of the tree does."""
    leaving, by_rest = _branches(node)
    branches = [f"{_letters(some)}{rest}" for rest, some in by_rest.items()]
    # Go tries the last alternative first: most words leave the tree.
    branches += [f"{_letters(leaving)}[A-Za-z]*"] * bool(leaving)
    return f"(?:{'|'.join(branches)}){'' if _ENDS in node else '?'}"


def _letters(some: Iterable[str]) -> str:
    letters = "".join(some)
    return f"[{letters.upper()}{letters}]"


def _size(node: user_agent_regex.Node) -> int:
    """Return the number of instructions that Go compiles `_other_words` to."""
    leaving, by_rest = _branches(node)
    rests = sum(1 + _size(node[some[0]]) for some in by_rest.values())
    alternatives = len(by_rest) + bool(leaving)
    return rests + 3 * bool(leaving) + alternatives - 1 + (_ENDS not in node)


LONG = (user_agent_regex.LONG, rf"(?s)^.{{{(HEAD_BYTES + TAIL_BYTES) // 4}}}.", "[^\\x00-\\x7f]")
"""Go counts characters, of which one has up to four bytes: a User-Agent is long if it matches the first expression, or
the two others."""


def with_ascii_letters(pattern: str) -> str:
    """Return an expression whose negated classes leave out the letters of ASCII alone, to be matched in any case.

    To Go, U+212A is a K and U+017F an s, so that neither would be the end of a name.
    """

    def negated(match: re.Match[str]) -> str:
        characters = match[1] if "A-Z" in match[1] else match[1].replace("a-z", "A-Za-z")
        return f"(?-i:[^{characters}])"

    return re.sub(r"\[\^((?:\\.|[^]\\])*a-z(?:\\.|[^]\\])*)\]", negated, pattern)


def with_characters(pattern: str) -> str:
    """Return an expression for Go, which matches characters where PCRE matches the bytes of their UTF-8."""

    def characters(match: re.Match[str]) -> str:
        text = bytes.fromhex(match[0].replace(r"\x", "")).decode()
        return "".join(rf"\x{{{ord(character):x}}}" for character in text)

    return re.sub(r"(?:\\x[89a-f][0-9a-f])+", characters, pattern)
