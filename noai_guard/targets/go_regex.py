"""A first look at user agents that is quick where regular expressions are Go's (Caddy, Traefik).

Go's engine follows every way at once: an expression of some hundred names takes a microsecond for each character of
a user agent (measured 2026-11-26). So only those are searched that are no usual browser's and hold one of the names'
words.
"""

import re
from collections.abc import Collection, Iterable
from string import ascii_lowercase
from typing import TypeVar

from noai_guard.core import browser_words
from noai_guard.core.user_agent_matcher import Token
from noai_guard.targets import user_agent_regex

V = TypeVar("V")


def browser_expression(anchors: Collection[str]) -> str:
    """As `user_agents.browser_expression`, with fewer words, for a user agent with a blank behind it.

    Go reads it in one pass, twenty times as fast: at each character only one way leads on, and it is shorter than
    the thousand steps up to which Go tries that (regexp/onepass.go, seen in Go 1.19).
    """
    words = {
        *browser_words.COMMON,
        *ascii_lowercase,
        *(one + two for one in ascii_lowercase for two in ascii_lowercase),
    }
    root: dict[str, dict[str, object]] = {}
    for word in words - set(anchors):
        node: dict[str, object] = root  # type: ignore[assignment]
        for character in (*word, ""):
            node = node.setdefault(character, {})  # type: ignore[assignment]
    other = r"[^A-Za-z%\x5c]"
    return rf"^{other}*(?:{_forks(root)}{other}+)*$"


def _forks(node: dict[str, dict[str, object]]) -> str:
    """As `trie`, and letters after which the same may follow are one class."""
    by_rest: dict[str, list[str]] = {}
    for character, below in sorted(node.items()):
        if character:
            by_rest.setdefault(_forks(below), []).append(character)  # type: ignore[arg-type]
    ways = [f"[{''.join(letters)}]{rest}" for rest, letters in by_rest.items()]
    return f"(?:{'|'.join(ways)}){'?' if '' in node else ''}" if ways else ""


def words_of(tokens: Iterable[Token[V]]) -> frozenset[str]:
    """Of each token one run of letters and digits that has none beside it wherever the token is found."""
    # A host's path may go on as it likes.
    texts = ((token.text + token.path[: token.path.rfind(b"/") + 1]).decode("ascii") for token in tokens)
    return frozenset(max(re.findall("[a-z0-9]+", text), key=_rarity) for text in texts)


def _rarity(word: str) -> tuple[bool, bool, int]:
    return word not in user_agent_regex.BROWSER_WORDS and not word.isdigit(), not word.isdigit(), len(word)


def in_characters(pattern: str) -> str:
    """An expression for Go, which reads characters where PCRE reads the bytes of their UTF-8."""

    def characters(match: re.Match[str]) -> str:
        return "".join(rf"\x{{{ord(found):x}}}" for found in bytes.fromhex(match[0].replace(r"\x", "")).decode())

    return re.sub(r"(?:\\x[89a-f][0-9a-f])+", characters, pattern)
