"""The catalogue as regular expressions, for servers that have nothing else.

Except for its escapes, what `core.user_agent_matcher` recognises is a regular language: a name between delimiters, or
in a chunk (text between delimiters) that up to the name is no URL, domain or e-mail address and does not continue as
one. The expressions here match the same without look-around and without back-references, so that PCRE, RE2 and Go
agree; ASCII only, to be matched case-insensitively.

Not recognised, unlike in Python and Lua: names with escaped letters (`%47PTBot`, see `suspects.ESCAPED`), underscores
instead of spaces, names and addresses with escaped signs inside, names after a part of a domain (`node.js+GPTBot`) or
after several of `.:/` in the same chunk. There is no limit of 1,536 bytes: a longer User-Agent is read closely up to
its end, and also searched for hidden names (`hidden_expression`).
"""

import re
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_lowercase
from typing import TypeAlias, TypeVar

from noai_guard.core import browser_words
from noai_guard.core.user_agent_matcher import HEAD_BYTES, TAIL_BYTES, Token
from noai_guard.targets.plan import grouped

V = TypeVar("V")
Node: TypeAlias = "dict[str, Node]"

WORD = r"A-Za-z0-9_\-"
DELIMITERS = r"\s\x22\x27(),;<>\[\]{}|"
BLANK = r"(?:[ +]|%20)"
"""A space in a name; some clients and logs encode it."""

_SIGN = r"(?:[01][0-9A-Fa-f]|2[0-9A-Ca-cFf]|3[A-Ea-e]|5[B-Eb-e]|60|7[B-Fb-f]|[89A-Fa-f][0-9A-Fa-f])"
"""The two digits of an escape of what may stand before a name: no letter, no digit, none of `-._@?`."""

ESCAPED_SIGN = rf"(?:%(?:25)*{_SIGN}|\x5c(?:[nrt]|(?:[Xx]|[Uu]00){_SIGN}))"

_UNIT = rf"(?:[^{DELIMITERS}@?:./]|\.[^{DELIMITERS}@?:./A-Za-z]|(?::/?|/+)[^{DELIMITERS}@?:./])"
_IN_CHUNK = rf"(?:^|[{DELIMITERS}])(?:{_UNIT}*(?:(?:\.|:/?|/+)?[^{WORD}{DELIMITERS}@?.:/]|[:/]))?"
_BEFORE = (
    rf"(?:{_IN_CHUNK}"
    rf"|(?:^[^ ]*|[\s;,(][A-Za-z0-9_.%\-]*)%(?:25)*{_SIGN}|\x5c(?:[nrt]|(?:[Xx]|[Uu]00){_SIGN}))"
)
"""The start of a chunk and what may be in it before a name: nothing, or text that ends with a sign or an escape."""

BOT_WORDS = ("bot", "crawler", "spider", "scraper", "fetcher", "archiver")
CALLS_ITSELF_A_BOT = r"(?:(?:^|[^u])bot|(?:^|[^c])ubot|crawler|spider|scraper|fetcher|archiver)(?:[^a-z]|$)"
"""`noai_guard.core.guard.CALLS_ITSELF_A_BOT` without look-around."""

SINGLE_WORD = r"^[!-\x24&\x27*,-\x5b\x5d-~]{0,256}$"
"""`noai_guard.core.guard.SINGLE_WORD`, matched as a whole."""

NO_URL = r"^(?:[^:]|:(?::|/:)*(?:[^:/]|/[^:/]))*(?::(?::|/:)*/?)?$"
"""Matches a User-Agent without `://`, in which no host form can match."""

_AT_START = r"^[\s\x22\x27(]*"

_GOES_ON = (
    rf"[+%][^{DELIMITERS}@]*(?:[{DELIMITERS}]|$)"
    rf"|\.(?:[^A-Za-z{DELIMITERS}@][^{DELIMITERS}@]*|[A-Za-z][^A-Za-z{DELIMITERS}@][^{DELIMITERS}@]*|[A-Za-z]"
    rf"|[A-Za-z][A-Za-z][A-Za-z0-9\-]*\.?[0-9][^{DELIMITERS}@]*)?(?:[{DELIMITERS}]|$)"
)
"""A character after a name that could make it part of an address, and a rest that does not."""

_AFTER_WORD = rf"(?:$|[^{WORD}@.+%]|{_GOES_ON})"
_AFTER_OTHER = rf"(?:$|[^@.+%]|{_GOES_ON})"
_HOST_BEFORE = r"https?://(?:[^\s/@;,()<>]{0,64}@)?(?:[a-z0-9.-]*\.)?"

_IS_WORD = re.compile(rf"[{WORD}]")


@dataclass(frozen=True, slots=True)
class Expression:
    """One regular expression: the context before a name, the names, and the context after it."""

    before: str
    names: str
    after: str

    def pattern(self, group: str = "") -> str:
        """Return the whole expression. Its one group captures the name as it was sent; `group` names the group."""
        return f"{self.before}({f'?<{group}>' if group else ''}{self.names}){self.after}"


def escaped(text: str) -> str:
    """Return a literal for PCRE, RE2 and Go: everything but letters, digits and `_-/` in hex."""
    return "".join(map(_escaped_character, text))


@lru_cache(maxsize=1024)
def _escaped_character(character: str) -> str:
    if character == " ":
        return BLANK
    return character if character.isalnum() or character in "_-/" else f"\\x{ord(character):02x}"


def trie(words: Iterable[str]) -> str:
    """Return an expression that matches exactly these words, longer ones first, with common prefixes factored out."""
    return _trie(tuple(words))


# The same words are split by the length of their expression first, and stand in several files and targets.
@lru_cache(maxsize=256)
def _trie(words: tuple[str, ...]) -> str:
    return _branches(word_tree(words))


def word_tree(words: Iterable[str]) -> Node:
    """Return nested dictionaries by character; the key "" marks the end of a word."""
    root: Node = {}
    for word in words:
        node = root
        for character in (*word, ""):
            node = node.setdefault(character, {})
    return root


def _branches(node: Node) -> str:
    text = ""
    while len(node) == 1:
        [(character, below)] = node.items()
        if not character:
            return text
        text += escaped(character)
        node = below
    ends = "" in node
    alternatives = [escaped(character) + _branches(below) for character, below in sorted(node.items()) if character]
    return f"{text}(?:{'|'.join(alternatives)}){'?' if ends else ''}"


def _shape(token: Token[V]) -> tuple[bool, bool, bool, bool]:
    """Return what the context around a name depends on, as the arguments of a `Context`."""
    text = token.text.decode("ascii")
    return token.family, bool(_IS_WORD.match(text)), bool(_IS_WORD.match(text[-1])), token.at_start


Context = Callable[[bool, bool, bool, bool], tuple[str, str]]


def exact_context(family: bool, begins_with_word: bool, ends_with_word: bool, at_start: bool) -> tuple[str, str]:
    """Return the context before and after a name of this shape, as the guard reads it."""
    before = _AT_START if at_start else _BEFORE if begins_with_word else ""
    after = _AFTER_WORD if ends_with_word else _AFTER_OTHER
    return before, f"[{WORD}]*{_AFTER_WORD}" if family else after


def unescaped_context(family: bool, begins_with_word: bool, ends_with_word: bool, at_start: bool) -> tuple[str, str]:
    """Return `exact_context` without names behind escapes, which is 150 characters shorter."""
    before, after = exact_context(family, begins_with_word, ends_with_word, at_start)
    return _IN_CHUNK if before == _BEFORE else before, after


def short_context(family: bool, begins_with_word: bool, ends_with_word: bool, at_start: bool) -> tuple[str, str]:
    """Return a shorter context than `exact_context`: a name after a slash or a dot, or before a dot, does not match."""
    before = "^" if at_start else f"(?:^|[^./@{WORD}])" if begins_with_word else ""
    after = f"(?:[^.@{WORD}]|$)" if ends_with_word else ""
    return before, f"[{WORD}]*(?:[^.@{WORD}]|$)" if family else after


def expressions(
    tokens: Iterable[Token[V]], max_length: int = 1 << 20, context: Context = exact_context
) -> Iterator[Expression]:
    """Yield expressions that match these tokens (not hosts), each pattern at most `max_length` characters long.

    If several match, the first one yielded takes precedence.
    """
    by_shape = grouped((token for token in tokens if not token.host), _shape)
    # Families last: `Bot-News` as a token of its own is not one of the family `Bot-*`.
    for shape in sorted(by_shape):
        before, after = context(*shape)
        texts = sorted({token.text.decode("ascii") for token in by_shape[shape]})
        for words in split_words(texts, max_length - len(before) - len(after) - len("()")):
            yield Expression(before, trie(words), after)


def alternatives(tokens: Iterable[Token[V]]) -> tuple[str, int]:
    """Return one expression that matches any of these tokens (not hosts), and its number of groups.

    One of the groups captures the name. Each context before names occurs only once in it.
    """
    all_expressions = list(expressions(tokens))
    by_before = grouped(all_expressions, lambda expression: expression.before)
    branches = [
        f"{before}(?:{'|'.join(f'({each.names}){each.after}' for each in alike)})"
        for before, alike in by_before.items()
    ]
    return f"(?:{'|'.join(branches)})", len(all_expressions)


def split_words(words: Sequence[str], max_length: int) -> Iterator[Sequence[str]]:
    """Yield parts of these sorted words, the trie of each at most `max_length` characters long."""
    if len(words) <= 1 or len(trie(words)) <= max_length:
        yield words
        return
    middle = len(words) // 2
    yield from split_words(words[:middle], max_length)
    yield from split_words(words[middle:], max_length)


UNREAD_HEAD, UNREAD_TAIL = HEAD_BYTES - 256, TAIL_BYTES - 256
"""Bytes at both ends of a long User-Agent in which the guard searches for no hidden names."""

LONG = rf"(?s)^.{{1000}}.{{{HEAD_BYTES + TAIL_BYTES - 999}}}"
"""Matches a User-Agent of which the guard reads a part not closely. Go repeats nothing more than 1,000 times."""


EXCERPT = rf"(?s)^(.{{{UNREAD_HEAD}}})(.{{256}})(.+)(.{{256}})(.{{{UNREAD_TAIL}}})$"
"""Groups 1, 2, 4 and 5 of a long User-Agent (PCRE) are read closely; 2, 3 and 4 are searched for hidden names."""


def hidden_expression(tokens: Iterable[Token[V]]) -> str:
    """Return an expression for names and hosts in the part of a long User-Agent that the guard does not read closely.

    They count there wherever they stand, also inside of words.
    """
    return _hidden(names_anywhere(tokens))


def hidden_expressions(tokens: Iterable[Token[V]], max_length: int) -> Iterator[str]:
    """Yield what `hidden_expression` returns in parts, each at most `max_length` characters long."""
    yield from (_hidden(names) for names in names_anywhere_in_parts(tokens, max_length - len(_hidden(""))))


def names_anywhere_in_parts(tokens: Iterable[Token[V]], max_length: int) -> Iterator[str]:
    """Yield what `names_anywhere` returns in parts, each at most `max_length` characters long."""
    texts = sorted({token.written.decode("ascii") for token in tokens})
    yield from (trie(words) for words in split_words(texts, max_length))


def _hidden(names: str) -> str:
    return rf"(?s)^.{{{UNREAD_HEAD}}}.*?{names}.{{{UNREAD_TAIL}}}"


def names_anywhere(tokens: Iterable[Token[V]]) -> str:
    """Return an expression for the texts of these tokens wherever they stand."""
    return trie(sorted({token.written.decode("ascii") for token in tokens}))


def host_expression(token: Token[V]) -> str:
    """Return an expression for a host form: the host or a parent domain of a URL in the User-Agent."""
    return hosts_expression((token,))


def hosts_expression(tokens: Iterable[Token[V]]) -> str:
    """Return an expression for any of these host forms."""
    by_path = grouped(tokens, lambda token: token.path)
    alternatives = [_of_hosts(path, alike) for path, alike in by_path.items()]
    return _HOST_BEFORE + (alternatives[0] if len(alternatives) == 1 else f"(?:{'|'.join(alternatives)})")


def _of_hosts(path: bytes, tokens: Iterable[Token[V]]) -> str:
    hosts = trie(sorted({token.text.decode("ascii") for token in tokens}))
    end = escaped(path.decode("ascii")) if path else r"(?:[^a-z0-9.:-]|$)"
    return rf"{hosts}\.?(?::[0-9]{{1,5}})?{end}"


BROWSER_WORDS = tuple(sorted(browser_words.ALL - {"os"}))
"""Without "os": expressions admit every word of two letters that is no name."""


def skip_to_name(names: Container[str]) -> str:
    """Return an expression (PCRE only) for everything up to the next word that could be one of `names`, or the end.

    It skips addresses (up to the end of their chunk), numbers, punctuation, and browsers' words that are no such name.
    A run of word characters follows, or nothing. Possessive, so it takes linear time.
    """
    words = trie(word for word in BROWSER_WORDS if word not in names)
    rest = rf"[^{DELIMITERS}]*"
    domain = r"\.[A-Za-z]{2,}+(?![A-Za-z0-9\-]*\.?[0-9])"
    items = (
        rf"[{DELIMITERS}]++",
        ESCAPED_SIGN,
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
    """Return an expression that matches only User-Agents without a token that has one of these anchors.

    They consist of common words, words of one or two letters, digits and punctuation. `anchors` are those of
    `core.user_agent_matcher`: one run of letters of each token, which every User-Agent with that token contains.
    `possessive` is for PCRE, which then never backtracks.
    """
    named = set(anchors)
    words = trie(word for word in BROWSER_WORDS if word not in named)
    known = "|".join([words, *_short_words_without(named)])
    other = r"[^A-Za-z%\x5c]"
    if possessive:
        return rf"^(?:{other}++|(?:{known})(?![A-Za-z]))*+$"
    return rf"^{other}*(?:(?:{known})(?:{other}+|$))*$"


_COMMON_BROWSER = (
    r"^Mozilla/5\.0 \((?:Windows NT 1[01]\.0; Win64; x64|Macintosh; Intel Mac OS X [0-9_]+|X11; Linux x86_64"
    r"|Linux; Android [0-9.]+; K|(?:iPhone; CPU iPhone|iPad; CPU) OS [0-9_]+ like Mac OS X)"
    r"(?:; rv:[0-9.]+\) Gecko/[0-9.]+|\) AppleWebKit/[0-9.]+ \(KHTML, like Gecko\))"
    r"(?: (?:Chrome|Safari|Version|Firefox|Edg|OPR|CriOS|Mobile)/(?:[0-9.]+|[0-9]+[A-Z][0-9]+)| Mobile)*$"
)
_COMMON_BROWSER_WORDS = frozenset(re.findall("[a-z]+", re.sub(r"\[[^]]*\]|\\.", " ", _COMMON_BROWSER).lower()))


def common_browser_expression(anchors: Collection[str]) -> str | None:
    """Return a fast, case-sensitive expression for the User-Agents of most people's browsers.

    Return None if one of these anchors is among its words, because an agent could then have such a name.
    """
    return None if _COMMON_BROWSER_WORDS & set(anchors) else _COMMON_BROWSER


def prefilters(tokens: Iterable[Token[V]], max_length: int) -> Iterator[str]:
    """Yield fast expressions (PCRE only); at least one matches every text with one of these tokens (not hosts)."""
    texts = sorted({token.text.decode("ascii") for token in tokens if not token.host})
    for begins in (True, False):
        chosen = [text for text in texts if bool(_IS_WORD.match(text)) is begins]
        # A digit or one of these letters may be the end of an escape.
        before = rf"(?:(?<![{WORD}])|(?<=[0-9a-fnrt]))" if begins else ""
        for words in split_words(chosen, max_length - len(before)) if chosen else ():
            yield f"{before}{trie(words)}"


def _short_words_without(named: Collection[str]) -> Iterator[str]:
    """Yield expressions for all words of one letter and of two, except these."""
    yield _one_of(letter for letter in ascii_lowercase if letter not in named)
    by_seconds = grouped(
        ascii_lowercase, lambda first: _one_of(second for second in ascii_lowercase if first + second not in named)
    )
    yield from (_one_of(firsts) + seconds for seconds, firsts in by_seconds.items())


def _one_of(letters: Iterable[str]) -> str:
    return f"[{''.join(letters)}]".replace(ascii_lowercase, "a-z")
