"""The catalogue as regular expressions, for servers that know nothing else.

What `core.user_agent_matcher` reads in a user agent is a regular language but for its escapes: a name between
delimiters, or in a chunk (text between delimiters) that is no URL, domain or e-mail address up to there, and that
does not go on as one. The expressions here say the same without look-around and without back-references, so that
PCRE, RE2 and Go read them alike; ASCII only, to be matched without regard to case.

What is lost against the judge: names with escaped letters (`%47PTBot`), blanks written as underscores, names behind
a part of a domain (`node.js+GPTBot`) or behind several of `.:/` in the same chunk, and the limit of 1,536 bytes.
"""

import re
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import NamedTuple, TypeVar

from noai_guard.core import browser_words
from noai_guard.core.user_agent_matcher import Token

V = TypeVar("V")

WORD = r"A-Za-z0-9_\-"
DELIMITERS = r"\s\x22\x27(),;<>\[\]{}|"
BLANK = r"(?:[ +]|%20)"
"""A blank of a name; some clients and logs write it otherwise."""

_UNIT = rf"(?:[^{DELIMITERS}@?:./]|\.[^{DELIMITERS}@?:./A-Za-z]|(?::/?|/+)[^{DELIMITERS}@?:./])"
_BEFORE = rf"(?:^|[{DELIMITERS}])(?:{_UNIT}*(?:(?:\.|:/?|/+)?[^{WORD}{DELIMITERS}@?.:/]|[:/]))?"
"""The start of a chunk, and what may stand in it before a name: nothing, or text that ends with punctuation."""

BOT_WORDS = ("bot", "crawler", "spider", "scraper", "fetcher", "archiver")
CALLS_ITSELF_A_BOT = r"(?:(?:^|[^u])bot|(?:^|[^c])ubot|crawler|spider|scraper|fetcher|archiver)(?:[^a-z]|$)"
"""`noai_guard.core.guard.CALLS_ITSELF_A_BOT` without look-around."""

NO_URL = r"^(?:[^:]|:(?::|/:)*(?:[^:/]|/[^:/]))*(?::(?::|/:)*/?)?$"
"""A user agent without `://`: host forms need not be looked for."""

_AT_START = r"^[\s\x22\x27(]*"

_GOES_ON = (
    rf"[+%][^{DELIMITERS}@]*(?:[{DELIMITERS}]|$)"
    rf"|\.(?:[^A-Za-z{DELIMITERS}@][^{DELIMITERS}@]*|[A-Za-z][^A-Za-z{DELIMITERS}@][^{DELIMITERS}@]*|[A-Za-z]"
    rf"|[A-Za-z][A-Za-z][A-Za-z0-9\-]*\.?[0-9][^{DELIMITERS}@]*)?(?:[{DELIMITERS}]|$)"
)
"""What may follow a name and a character that could make it part of an address."""

_AFTER_WORD = rf"(?:$|[^{WORD}@.+%]|{_GOES_ON})"
_AFTER_OTHER = rf"(?:$|[^@.+%]|{_GOES_ON})"
_HOST_BEFORE = r"https?://(?:[^\s/@;,()<>]{0,64}@)?(?:[a-z0-9.-]*\.)?"

_IS_WORD = re.compile(rf"[{WORD}]")


@dataclass(frozen=True, slots=True)
class Expression:
    """One regular expression: what stands before a name, the names, and what stands behind."""

    before: str
    names: str
    after: str

    def pattern(self, group: str = "") -> str:
        """The whole; its one group captures the name as it was sent, under a name if one is given."""
        return f"{self.before}({f'?<{group}>' if group else ''}{self.names}){self.after}"


def escaped(text: str) -> str:
    """Literal text for PCRE, RE2 and Go alike: everything but letters, digits and `_-/` in hex."""
    return "".join(BLANK if character == " " else _literal(character) for character in text)


def _literal(character: str) -> str:
    return character if character.isalnum() or character in "_-/" else f"\\x{ord(character):02x}"


def trie(words: Iterable[str]) -> str:
    """An expression that matches exactly these words, longer ones first, with common beginnings factored out."""
    root: dict[str, dict[str, object]] = {}
    for word in words:
        node: dict[str, object] = root  # type: ignore[assignment]
        for character in word:
            node = node.setdefault(character, {})  # type: ignore[assignment]
        node[""] = {}
    return _branches(root)


def _branches(node: dict[str, dict[str, object]]) -> str:
    text = ""
    while len(node) == 1:
        [(character, below)] = node.items()
        if not character:
            return text
        text += escaped(character)
        node = below  # type: ignore[assignment]
    ends = "" in node
    alternatives = [escaped(character) + _branches(below) for character, below in sorted(node.items()) if character]  # type: ignore[arg-type]
    return f"{text}(?:{'|'.join(alternatives)}){'?' if ends else ''}"


class Kind(NamedTuple):
    """What has to stand around a name depends on these."""

    begins_with_word: bool
    ends_with_word: bool
    at_start: bool
    family: bool


def _kind(token: Token[V]) -> Kind:
    text = token.text.decode("ascii")
    return Kind(bool(_IS_WORD.match(text)), bool(_IS_WORD.match(text[-1])), token.at_start, token.family)


def as_the_judge_reads(kind: Kind) -> tuple[str, str]:
    """What stands before and behind a name of this kind."""
    before = _AT_START if kind.at_start else _BEFORE if kind.begins_with_word else ""
    after = _AFTER_WORD if kind.ends_with_word else _AFTER_OTHER
    return before, f"[{WORD}]*{_AFTER_WORD}" if kind.family else after


def in_few_characters(kind: Kind) -> tuple[str, str]:
    """As `as_the_judge_reads`, but short: a name behind a slash or a dot, or before a dot, is not seen."""
    before = "^" if kind.at_start else f"(?:^|[^./@{WORD}])" if kind.begins_with_word else ""
    after = f"(?:[^.@{WORD}]|$)" if kind.ends_with_word else ""
    return before, f"[{WORD}]*(?:[^.@{WORD}]|$)" if kind.family else after


def expressions(
    tokens: Iterable[Token[V]],
    longest: int = 1 << 20,
    around: Callable[[Kind], tuple[str, str]] = as_the_judge_reads,
) -> Iterator[Expression]:
    """Expressions that find these tokens (not hosts), each pattern at most `longest` characters.

    The first that matches counts.
    """
    kinds: dict[Kind, list[str]] = {}
    for token in tokens:
        if not token.host:
            kinds.setdefault(_kind(token), []).append(token.text.decode("ascii"))
    # Families last: what is a name of its own, `Bot-News`, is not one of the family `Bot-*`.
    for kind, texts in sorted(kinds.items(), key=lambda entry: (entry[0].family, entry[0])):
        before, after = around(kind)
        for words in pieces(sorted(set(texts)), longest - len(before) - len(after) - len("()")):
            yield Expression(before, trie(words), after)


def alternatives(tokens: Iterable[Token[V]]) -> tuple[str, int]:
    """One expression that finds any of these tokens (not hosts), and how many groups it has; one captures the name.

    What may stand before names is in it as seldom as can be.
    """
    found = list(expressions(tokens))
    by_before: dict[str, list[str]] = {}
    for expression in found:
        by_before.setdefault(expression.before, []).append(f"({expression.names}){expression.after}")
    ways = [f"{before}(?:{'|'.join(names)})" for before, names in by_before.items()]
    return f"(?:{'|'.join(ways)})", len(found)


def pieces(words: Sequence[str], longest: int) -> Iterator[Sequence[str]]:
    """Sorted words, cut so that the trie of each part is short enough."""
    if len(words) <= 1 or len(trie(words)) <= longest:
        yield words
        return
    middle = len(words) // 2
    yield from pieces(words[:middle], longest)
    yield from pieces(words[middle:], longest)


def host_expression(token: Token[V]) -> str:
    """An expression that finds a host form: the host or a parent domain of a URL in the user agent."""
    host = escaped(token.text.decode("ascii"))
    end = escaped(token.path.decode("ascii")) if token.path else r"(?:[^a-z0-9.:-]|$)"
    return rf"{_HOST_BEFORE}{host}\.?(?::[0-9]{{1,5}})?{end}"


BROWSER_WORDS = tuple(sorted(browser_words.ALL - {"os"}))
"""Without "os": expressions admit every word of two letters that is no name."""


def skipped(names: Container[str]) -> str:
    """For PCRE only: everything in a user agent up to the next name that could be one of `names`, or to the end.

    Addresses (up to the end of their chunk), numbers, punctuation, and browsers' words that are no such name. What
    follows it is a run of word characters or nothing. Look-around and possessive, so it takes linear time.
    """
    words = trie(word for word in BROWSER_WORDS if word not in names)
    rest = rf"[^{DELIMITERS}]*"
    domain = r"\.[A-Za-z]{2,}+(?![A-Za-z0-9\-]*\.?[0-9])"
    items = (
        rf"[{DELIMITERS}]++",
        rf"{words}(?![{WORD}])",
        rf"/[0-9][0-9.]*+(?![{WORD}])",
        rf"[0-9_\-]++(?![{WORD}])",
        rf"://{rest}+",
        rf"[@?]{rest}+",
        rf"//[{WORD}]*+",
        rf"(?<=[A-Za-z0-9\-])\.[A-Za-z]{{2,}}+(?::[0-9]+)?/{rest}+",
        rf"(?<=[A-Za-z0-9])\.[{WORD}]*+",
        rf"[{WORD}]++(?=@|[.+%]{rest}@|{domain})",
        rf"[^{DELIMITERS}{WORD}]",
    )
    return f"(?:{'|'.join(items)})*+"


def browser_expression(anchors: Iterable[str], *, possessive: bool = False) -> str:
    """An expression for user agents in which surely no name stands that has one of these anchors.

    They consist of common words, of one or two letters, and of digits and punctuation. `anchors` are those of
    `core.user_agent_matcher`: of each token one run of letters that stands in every user agent it is found in. With
    `possessive` for PCRE, where it then never goes back.
    """
    named = set(anchors)
    words = trie(word for word in BROWSER_WORDS if word not in named)
    known = "|".join([words, *_short_words_without(named)])
    other = r"[^A-Za-z%\x5c]"
    if possessive:
        return rf"^(?:{other}++|(?:{known})(?![A-Za-z]))*+$"
    return rf"^{other}*(?:(?:{known})(?:{other}+|$))*$"


_USUAL = (
    r"^Mozilla/5\.0 \((?:Windows NT 1[01]\.0; Win64; x64|Macintosh; Intel Mac OS X [0-9_]+|X11; Linux x86_64"
    r"|Linux; Android [0-9.]+; K|(?:iPhone; CPU iPhone|iPad; CPU) OS [0-9_]+ like Mac OS X)"
    r"(?:; rv:[0-9.]+\) Gecko/[0-9.]+|\) AppleWebKit/[0-9.]+ \(KHTML, like Gecko\))"
    r"(?: (?:Chrome|Safari|Version|Firefox|Edg|OPR|CriOS|Mobile)/(?:[0-9.]+|[0-9]+[A-Z][0-9]+)| Mobile)*$"
)
_USUAL_WORDS = frozenset(re.findall("[a-z]+", re.sub(r"\[[^]]*\]|\\.", " ", _USUAL).lower()))


def usual_browser_expression(anchors: Collection[str]) -> str | None:
    """An expression for what most people's browsers send, which is quick to read; with case.

    None when one of these anchors is among its words: then an agent could be named so.
    """
    return None if _USUAL_WORDS & set(anchors) else _USUAL


def sighting(tokens: Iterable[Token[V]], longest: int) -> Iterator[str]:
    """For PCRE: expressions of which one matches wherever one of these tokens (not hosts) may stand; quick to fail."""
    texts = sorted({token.text.decode("ascii") for token in tokens if not token.host})
    for begins in (True, False):
        chosen = [text for text in texts if bool(_IS_WORD.match(text)) is begins]
        before = rf"(?<![{WORD}])" if begins else ""
        for words in pieces(chosen, longest - len(before)) if chosen else ():
            yield f"{before}{trie(words)}"


def _short_words_without(named: Collection[str]) -> Iterator[str]:
    """Expressions for all words of one letter, and of two, but these."""
    yield _one_of(letter for letter in ascii_lowercase if letter not in named)
    by_seconds: dict[str, list[str]] = {}
    for first in ascii_lowercase:
        seconds = _one_of(second for second in ascii_lowercase if first + second not in named)
        by_seconds.setdefault(seconds, []).append(first)
    for seconds, firsts in by_seconds.items():
        yield _one_of(firsts) + seconds


def _one_of(letters: Iterable[str]) -> str:
    return f"[{''.join(letters)}]".replace(ascii_lowercase, "a-z")
