"""Fast filters of User-Agents for servers with Go's regular expressions (Caddy, Traefik).

Go's engine follows all alternatives at once: an expression of some hundred names takes a microsecond for each character
of a User-Agent (measured 2026-11-26). So only those User-Agents are searched for names that are not a common browser's
and in which a word begins like one of a name.
"""

import re
from collections.abc import Collection, Iterable
from string import ascii_lowercase

from noai_guard.core import browser_words
from noai_guard.core.user_agent_matcher import HEAD_BYTES, TAIL_BYTES
from noai_guard.targets import user_agent_regex
from noai_guard.targets.plan import grouped


def browser_expression(anchors: Collection[str]) -> str:
    """Return `user_agent_regex.browser_expression` with fewer words, for a User-Agent with a space appended.

    Go matches it in one pass, twenty times as fast: at each character only one alternative is possible, and it has
    fewer than the thousand instructions up to which Go tries that (regexp/onepass.go, seen in Go 1.19).
    """
    words = {
        *browser_words.COMMON,
        *ascii_lowercase,
        *(one + two for one in ascii_lowercase for two in ascii_lowercase),
    }
    other = r"[^A-Za-z%\x5c]"
    return rf"^{other}*(?:{_branches(user_agent_regex.word_tree(words - set(anchors)))}{other}+)*$"


def _branches(node: user_agent_regex.Node) -> str:
    """Return the expression of a trie node; letters with the same continuation form one character class."""
    by_rest = grouped(sorted(filter(None, node)), lambda character: _branches(node[character]))
    branches = [f"[{''.join(letters)}]{rest}" for rest, letters in by_rest.items()]
    return f"(?:{'|'.join(branches)}){'?' if '' in node else ''}" if branches else ""


def harmless_expressions(words: Iterable[str]) -> list[str]:
    """Return expressions for a User-Agent in lower case with a space appended. Whom all match has none of these words.

    `words` are runs of letters that are whole words of a User-Agent with a name. Each expression is as fast as
    `browser_expression`, and looks only at the beginnings of words, so some harmless words do not pass either.
    """
    tree = user_agent_regex.word_tree(sorted(map(_beginning, set(words))))
    parts: list[user_agent_regex.Node] = [{}]
    for letter, below in sorted(tree.items()):
        if _size(parts[-1]) + _size({letter: below}) > _ONE_PASS:
            parts.append({})
        parts[-1][letter] = below
    return [rf"^{_NO_WORD}*(?:{_other_words(part).removesuffix('?')}{_NO_WORD}+)*$" for part in parts]


_NO_WORD = r"(?:[^a-z%\x5c]|%(?:20|[89a-f][0-9a-f]))"
"""A character between words; apps encode blanks and letters beyond ASCII in their names."""

_ONE_PASS = 900
"""Instructions, as `_size` estimates them."""

_LEAST = 4
_ENDS, _GOES_ON = "$", "*"


def _beginning(word: str) -> str:
    """Return the shortest beginning of a word that no known word has, with a mark for whether it is the whole word."""
    lengths = range(_LEAST, len(word))
    cuts = (word[:length] for length in lengths if not any(known.startswith(word[:length]) for known in _KNOWN))
    cut = next(cuts, "")
    return f"{cut}{_GOES_ON}" if cut else f"{word}{_ENDS}"


_KNOWN = sorted(browser_words.ALL)


def _other_words(node: user_agent_regex.Node) -> str:
    """Return an expression for the rest of every word that does not go on as one of the tree does."""
    letters = "".join(letter for letter in ascii_lowercase if letter not in node)
    on = {letter: below for letter, below in node.items() if letter not in (_ENDS, _GOES_ON) and _GOES_ON not in below}
    by_rest = grouped(sorted(on), lambda letter: _other_words(on[letter]))
    branches = [f"[{letters}][a-z]*"] * bool(letters) + [f"[{''.join(some)}]{rest}" for rest, some in by_rest.items()]
    return f"(?:{'|'.join(branches)}){'' if _ENDS in node else '?'}"


def _size(node: user_agent_regex.Node) -> int:
    """Return about how many instructions Go compiles `_other_words` to."""
    return sum(1 if letter in (_ENDS, _GOES_ON) else 5 + _size(below) for letter, below in node.items())


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
