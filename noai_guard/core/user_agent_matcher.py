"""Find the names of known agents in a user agent.

Token forms (never regular expressions; case does not matter, a word character is ``[A-Za-z0-9_-]``):

=================  ====================================================================================
``GPTBot``         the text, with no word character next to it
``aiHitBot-*``     the same, and anything may follow: a family. The star follows a non-alphanumeric
``^Cursor/``       only at the very start of the user agent
``//diffbot.com``  the host of a URL, or a parent domain of it; considered only if there is no name. With
                   ``//github.com/rom1504/`` the URL's path must begin so too
=================  ====================================================================================

A name never counts inside a URL, a domain name or an e-mail address: WordPress pingbacks, fediverse servers
and feed readers carry the addresses of other people's sites.

Raw and decoded form are both read: ``GPTBot%41`` is a GPTBot that hides, ``My%20App`` an app that encodes. Of a user
agent that is too long or too full of near misses to be read closely, `Reading.hidden` says whose names stand anywhere
in the rest, inside of words and addresses too.

The cost does not grow with the number of tokens: each token is indexed by its rarest word (its anchor, letters
only: half the words of a browser's user agent are version numbers). A user agent is split into words by one
`bytes.translate` and one `split`, and one set operation finds the anchors in it; nothing else runs for most
browsers.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from noai_guard.core import browser_words

V = TypeVar("V")

HEAD_BYTES = 1024
"""Bytes at the start of a user agent that are read closely. Of 367,590 from public lists 10 were longer, and the
99.99th percentile was 548 bytes (measured 2026-11-23); servers let 10 MB in."""

TAIL_BYTES = 512
"""Bytes at the end of a longer one that are read closely: agents append their name to a browser's user agent."""

_MAX_POSITIONS = 24
"""Positions that are examined closely before giving up: bounds the work on hostile input."""

_MAX_ESCAPES = 256
"""Percent-escapes of which the decoded form is read closely. A real user agent with every character escaped has about
120."""

_MAX_ESCAPED_NAME = 256
"""Bytes that are read on both sides of a cut: the longest name of the catalogue has 40, each may be three escaped."""

_CHUNK = 65_536
"""Bytes that are searched at a time."""

_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_FOLD = bytes(byte if byte in _LETTERS else byte + 32 if 65 <= byte <= 90 else 32 for byte in range(256))
_WORD_CHARACTERS = frozenset(_LETTERS + b"0123456789-_")
_DELIMITERS = frozenset(b" \t\n\r\v\f;,()<>[]{}\"'|")
_ADDRESS_CONTINUES = frozenset(b"@.+%")
_ENDS = frozenset(range(256)) - _WORD_CHARACTERS - _ADDRESS_CONTINUES
_START = re.compile(rb"""(?:\A|\n)[\s"'(]*\Z""")
_DELIMITER = re.compile(rb"""[\s;,()<>\[\]{}"'|]""")
_DOMAIN_TAIL = re.compile(rb"\.[a-z]{2,}(?![a-z0-9-]*\.?\d)")
_DOMAIN_PATH = re.compile(rb"[a-z0-9-]\.[a-z]{2,}(?::\d+)?/")
_SUBDOMAIN = re.compile(rb"[a-z0-9]\.\Z")
_HOST = re.compile(rb"https?://(?:[^\s/@;,()<>]{0,64}@)?([a-z0-9.-]{1,255})(?::\d{1,5})?(/[^\s;,()<>]{0,255})?")
_LOG_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|u00([0-9a-fA-F]{2})|[nrt])")
_ESCAPED_NAME = re.compile(rb"(?:\A|(?<=[\s;,(]))[A-Za-z0-9_.-]*%[A-Za-z0-9_.%-]*")
_WORD = re.compile(rb"[A-Za-z0-9_-]*")
_BROWSER_WORDS = frozenset(map(str.encode, browser_words.IN_MOST))
# Words in many of 930 user agents of people and players (rules/browsers.yaml).
COMMON_WORDS = frozenset(
    b"agent amazon app apple bot browser client com crawler data electron fetcher google http https image index "
    b"media microsoft news org player podcast reader search server site smart spider the user video web webkit "
    b"www".split()
)


@dataclass(frozen=True, slots=True)
class Token(Generic[V]):
    """One compiled token form."""

    text: bytes
    value: V
    at_start: bool = False
    family: bool = False
    host: bool = False
    path: bytes = b""
    anchor: bytes = b""

    @property
    def written(self) -> bytes:
        """The text as it stands in a user agent: of a host, with the path that it needs."""
        return self.text + self.path


class Hit(NamedTuple, Generic[V]):
    """A token in a user agent, at ``[start, end)`` of its decoded lower-case form."""

    value: V
    token: bytes
    start: int
    end: int


def token_problem(form: str) -> str | None:
    """Return what is wrong with a token form, in words, or None."""
    body = form.removeprefix("^")
    if form.startswith("//"):
        shape = r"//[a-z0-9-]+(\.[a-z0-9-]+)+(/[!-~]*)?"
        return None if re.fullmatch(shape, form) and form.count("*") == 0 else "a host form is //name.tld/path"
    if not body.strip() or body != body.strip():
        return "empty, or blanks at an end"
    stem = body.removesuffix("*")
    if "*" in stem:
        return "a star may only stand at the end"
    if stem != body and (not stem or stem[-1].isalnum()):
        return "a star follows a character that is not a letter or digit (Name-*, not Name*)"
    if not any(character.isalpha() and character.isascii() for character in stem):
        return "no letter"
    if not stem.isascii() or not stem.isprintable():
        return "only printable ASCII"
    return None


def compile_token(form: str, value: V) -> Token[V]:
    """Compile a token form as written in the catalogue. Raises ValueError with the reason."""
    if problem := token_problem(form):
        raise ValueError(f"token {form!r}: {problem}")
    host = form.startswith("//")
    at_start = form.startswith("^")
    text = form.removeprefix("//" if host else "^").removesuffix("*").lower().encode("ascii")
    anchor = max(text.translate(_FOLD).split(), key=_rarity)
    text, slash, path = text.partition(b"/") if host else (text, b"", b"")
    return Token(text, value, at_start, form.endswith("*"), host, slash + path, anchor)


def _rarity(word: bytes) -> tuple[bool, bool, int]:
    """Return a sort key: the words that the fewest other user agents hold come last. One or two letters are in many."""
    return word not in _BROWSER_WORDS, len(word) > 2 and word not in COMMON_WORDS, len(word)


class Reading(NamedTuple, Generic[V]):
    """What a user agent names: the `hits` of close reading, and the values of the tokens in what was not so read."""

    hits: Sequence[Hit[V]]
    hidden: frozenset[V] = frozenset()


def excerpt(user_agent: bytes) -> bytes:
    """Return the part of a user agent that is read closely: all of it up to HEAD_BYTES, else its head and its tail.

    They are joined by word characters, so that the cut makes no name.
    """
    if len(user_agent) <= HEAD_BYTES:
        return user_agent
    return user_agent[:HEAD_BYTES] + b"__" + user_agent[-TAIL_BYTES:]


def is_read_closely(user_agent: bytes) -> bool:
    """Return True if no part of a user agent, nor of its decoded form, is left out of close reading."""
    return len(user_agent) <= HEAD_BYTES + TAIL_BYTES and user_agent.count(b"%") <= _MAX_ESCAPES


def decoded(user_agent: bytes) -> bytes:
    """Decode what logs, proxies and apps encode: ``\\x22``, percent-encoding, plus or underscore for blanks.

    Where blanks are left, a plus belongs to ``+https://`` and most percents to somebody's URL: then only whole
    names are decoded (iOS apps escape their own name).
    """
    if b"\\" in user_agent:
        user_agent = _LOG_ESCAPE.sub(_unescaped, user_agent)
    if b"%" in user_agent and user_agent.count(b"%") <= _MAX_ESCAPES:
        if b" " in user_agent:
            return _ESCAPED_NAME.sub(lambda match: unquote_to_bytes(match[0]), user_agent)
        user_agent = unquote_to_bytes(user_agent)
        if b" " not in user_agent and b"%" in user_agent:
            user_agent = unquote_to_bytes(user_agent)
    if b" " in user_agent:
        return user_agent
    if b"+" in user_agent:
        return user_agent.replace(b"+", b" ")
    return user_agent.replace(b"_", b" ") if user_agent.startswith(b"Mozilla/") else user_agent


def wholly_decoded(user_agent: bytes) -> bytes:
    """Decode every escape, wherever it stands, and twice: for what is searched for names, not read."""
    if b"\\" in user_agent:
        user_agent = _LOG_ESCAPE.sub(_unescaped, user_agent)
    return unquote_to_bytes(unquote_to_bytes(user_agent)) if b"%" in user_agent else user_agent


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1] or match[2]
    return bytes.fromhex(code.decode("ascii")) if code else b" "


class TokenIndex(Generic[V]):
    """An index of tokens that searches for all of them at once."""

    def __init__(self, tokens: Iterable[Token[V]]) -> None:
        by_anchor: dict[bytes, list[Token[V]]] = {}
        for token in tokens:
            by_anchor.setdefault(token.anchor, []).append(token)
        self._by_anchor = by_anchor
        self._anchors = frozenset(by_anchor)

    def hits(self, user_agent: bytes) -> Sequence[Hit[V]]:
        """Return every token that is a name in the part that is read closely; hosts only if there is no name.

        A hit inside a longer one is left out: ``Exabot/3.0`` is not ``Exabot``.
        """
        return self.read(user_agent).hits

    def read(self, user_agent: bytes) -> Reading[V]:
        """Return what a user agent names. The time grows with its length and with nothing else."""
        whole = user_agent
        if len(user_agent) > HEAD_BYTES:
            user_agent = excerpt(user_agent)
        # Numbers, because `b"%" in bytes` first tries to read the needle as a number: five times slower.
        forms = [user_agent]
        if 0x20 not in user_agent or 0x25 in user_agent or 0x5C in user_agent:
            other = decoded(user_agent)
            if other != user_agent:
                forms.append(other)
        is_complete = is_read_closely(whole)
        names: list[Hit[V]] = []
        hosts: list[Hit[V]] = []
        for form in forms:
            words = form.translate(_FOLD).split()
            if not self._anchors.isdisjoint(words):
                anchors = sorted(self._anchors.intersection(words))
                is_complete &= self._search(form.lower(), anchors, names, hosts)
        return Reading(names or hosts, frozenset() if is_complete else self._hidden(whole))

    def _search(self, text: bytes, anchors: Iterable[bytes], names: list[Hit[V]], hosts: list[Hit[V]]) -> bool:
        """Add the names and hosts in the text to the lists. Return False if not all positions could be examined."""
        found: list[Hit[V]] = []
        host_tokens: list[Token[V]] = []
        positions = _MAX_POSITIONS
        for anchor in anchors:
            for token in self._by_anchor[anchor]:
                if token.host:
                    host_tokens.append(token)
                    continue
                name = token.text
                start = text.find(name)
                while start >= 0 and positions:
                    positions -= 1
                    end = start + len(name)
                    is_delimited = (
                        (not start or text[start - 1] in _DELIMITERS)
                        and (end == len(text) or text[end] in _ENDS)
                        and not token.at_start
                    )
                    if is_delimited or _is_name(text, start, end, token):
                        found.append(Hit(token.value, name, start, end))
                        break
                    start = text.find(name, start + 1)
        if len(found) > 1:
            found = [
                hit
                for hit in found
                if not any(a <= hit.start and hit.end <= b and (a, b) != (hit.start, hit.end) for _, _, a, b in found)
            ]
        names += found
        if host_tokens and not names:
            hosts += _hosts(text, host_tokens)
        return positions > 0

    def _hidden(self, user_agent: bytes) -> frozenset[V]:
        """Return the values of the tokens in what is not read closely, raw or decoded, wherever they stand."""
        expression, values = self._anywhere
        start, stop = 0, len(user_agent)
        if stop > HEAD_BYTES + TAIL_BYTES:
            # A name, its letters escaped, may begin before the cut and end behind it.
            start, stop = HEAD_BYTES - _MAX_ESCAPED_NAME, stop - TAIL_BYTES + _MAX_ESCAPED_NAME
        names: set[bytes] = set()
        for at in range(start, stop, _CHUNK):  # in pieces, because a copy of 10 MB is one of 10 MB
            part = user_agent[at : min(at + _CHUNK + _MAX_ESCAPED_NAME, stop)]
            for text in {part.lower(), wholly_decoded(part).lower()}:
                names.update(expression.findall(text))
        return frozenset().union(*(values[name] for name in names))

    @cached_property
    def _anywhere(self) -> tuple[re.Pattern[bytes], Mapping[bytes, frozenset[V]]]:
        """An expression for the longest token at each position, and the values of all tokens that this one begins with.

        Made when it is first needed, in about 50 ms for 2,000 tokens.
        """
        values: dict[bytes, set[V]] = {}
        for tokens in self._by_anchor.values():
            for token in tokens:
                values.setdefault(token.written, set()).add(token.value)
        # Sorted, a text stands behind its beginnings; they stay on the stack until one comes that is none of its own.
        including: dict[bytes, frozenset[V]] = {}
        beginnings: list[bytes] = []
        for text in sorted(values):
            while beginnings and not text.startswith(beginnings[-1]):
                beginnings.pop()
            inherited = including[beginnings[-1]] if beginnings else frozenset()
            including[text] = inherited | values[text]
            beginnings.append(text)
        return re.compile(b"(?=(%b))" % _trie(sorted(values))), including


def _trie(texts: Sequence[bytes]) -> bytes:
    """Return an expression for the longest of these sorted texts, none of them twice, that stands at a position."""
    may_end = not texts[0]
    branches = [
        re.escape(bytes([first])) + _trie([text[1:] for text in group])
        for first, group in groupby(texts[1:] if may_end else texts, key=lambda text: text[0])
    ]
    if not branches:
        return b""
    return b"(?:%b)%b" % (b"|".join(branches), b"?" if may_end else b"")


def _is_name(text: bytes, start: int, end: int, token: Token[V]) -> bool:
    """Return True if a token is a name at text[start:end], and no part of a longer word or an address."""
    body = token.text
    previous = text[start - 1] if start else 0x20
    following = text[end] if end < len(text) else 0x20
    if previous in _WORD_CHARACTERS and body[0] in _WORD_CHARACTERS:
        return False
    if previous == 0x2F and text.startswith(b"//", start - 2):
        return False
    if following in _WORD_CHARACTERS and body[-1] in _WORD_CHARACTERS and not token.family:
        return False
    if token.at_start and not _START.search(text[max(0, start - 8) : start]):
        return False
    ends_before = previous in _DELIMITERS or body[0] in _DELIMITERS
    if not ends_before and _continues_before(text[max(0, start - 512) : start]):
        return False
    if token.family:
        end += len(_WORD.match(text, end)[0])  # type: ignore[index]
        following = text[end] if end < len(text) else 0x20
    return following not in _ADDRESS_CONTINUES or not _continues_after(text[end : end + 512])


def _continues_before(text: bytes) -> bool:
    """Return True if the text ends in the first part of a URL, a domain name or an e-mail address."""
    before = _DELIMITER.split(text)[-1]
    is_address = any(sign in before for sign in (b"://", b"@", b"?"))
    return is_address or _SUBDOMAIN.search(before) is not None or _DOMAIN_PATH.search(before) is not None


def _continues_after(text: bytes) -> bool:
    """Return True if the text behind a name makes it a domain name or an e-mail address."""
    after = _DELIMITER.split(text, maxsplit=1)[0]
    return b"@" in after or _DOMAIN_TAIL.match(after) is not None


def _hosts(text: bytes, tokens: Iterable[Token[V]]) -> Sequence[Hit[V]]:
    return [
        Hit(token.value, token.text, match.start(1), match.end(1))
        for match in _HOST.finditer(text)
        for token in tokens
        if (b"." + match[1].rstrip(b".")).endswith(b"." + token.text) and (match[2] or b"/").startswith(token.path)
    ]
