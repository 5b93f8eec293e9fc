"""Compile the path patterns (globs) of a policy: matching, and their forms for robots.txt and other servers."""

import re
from collections.abc import Iterable, Sequence
from unicodedata import normalize
from urllib.parse import quote

MAX_PATTERN = 1024
"""Characters of the longest pattern."""

ELSEWHERE = "/\0"
"""A path that only `/**` matches: a control character is an error in a pattern."""

_NEVER_MATCHES = "never matches, because paths are judged without"
QUERY = re.compile(r"\?[\w*%~\[][\w*%~\[\]&.-]*=")
"""A query in a pattern: `?` and a `name=`, where `?` alone stands for one character."""
_PROBLEMS: tuple[tuple[re.Pattern[str], str], ...] = (
    (QUERY, f"{_NEVER_MATCHES} their query; ? stands for one character"),
    (re.compile(r"[\x00-\x1f\x7f-\x9f]"), "holds a control character"),
    (re.compile(r"[\ud800-\udfff]"), "holds half of a surrogate pair, which is no character"),
    (re.compile(r"\*{3}"), "`***` has no meaning; write ** for any depth or * within one segment"),
    (re.compile(r"\["), "`[` has no meaning; character classes are not supported, ? stands for one character"),
    (re.compile(r"\{"), "`{` has no meaning; alternatives are not supported, write several patterns"),
    (re.compile(r"\\"), "a backslash escapes nothing; write / between segments"),
    (re.compile(r"//"), f"{_NEVER_MATCHES} empty segments; write one slash"),
    (re.compile(r"/\.\.?(?:/|\Z)"), f"{_NEVER_MATCHES} dot segments; write the path itself"),
    (re.compile(r"%[0-9A-Fa-f]{2}"), f"{_NEVER_MATCHES} percent-encoding; write the character itself"),
)


def pattern_problem(pattern: str) -> str | None:
    """Return what is wrong with a path pattern, in words for the person who wrote it, or None."""
    if not pattern:
        return "is empty; write /** for everything"
    if len(pattern) > MAX_PATTERN:
        return f"is longer than {MAX_PATTERN} characters"
    if not pattern.startswith("/"):
        return "does not begin with /"
    return next((problem for bad, problem in _PROBLEMS if bad.search(pattern)), None)


# `/feed?`, `/*?*` and `/feed?format`, but not `/track-?`, `/colo?r`, `/tracks/?*` and `/disc?.mp3`.
_PERHAPS_QUERY = re.compile(r"[^/?_.-]\?(?:\*{0,2}|[A-Za-z_]{2,})\Z")


def perhaps_query(pattern: str) -> bool:
    """Return True if a valid pattern ends in a wildcard `?` that may have been meant as the beginning of a query."""
    return _PERHAPS_QUERY.search(pattern) is not None


def in_both_forms(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return patterns with their accents as one character with the letter (NFC), as one of their own (NFD), and as they
    are written, where a folder has the one and a file in it the other.

    Browsers send what a page says, and file systems spell names in either form (macOS in NFD).
    """
    forms = (form for each in patterns for form in (normalize("NFC", each), normalize("NFD", each), each))
    return tuple(dict.fromkeys(forms))


class InvalidPatterns(ValueError):
    """Patterns that cannot be compiled. `problems` holds (index, problem) for every bad pattern of the list."""

    def __init__(self, problems: Sequence[tuple[int, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"pattern {index} {problem}" for index, problem in self.problems))


WORK = "\0"
"""Stands for the name of a work in what `capturing_regex` and `capturing_to_regex` read."""

# The tokens of a pattern, beside text: `segments` is the `**/` of `/**/`, `below` a final `/**` with its slash,
# `deep` any other `**`. A final `/**/*` is everything below a directory and the directory with its slash.
_TOKENS = re.compile(
    r"(?P<below>/\*\*\Z)|(?<=/)(?P<all>\*\*/\*\Z)|(?<=/)(?P<segments>\*\*/)|(?P<deep>\*\*)|(?P<star>\*)|(?P<one>\?)"
    r"|(?P<work>\0)|(?P<text>[^*?/\0]+|/)"
)


def _tokens(pattern: str) -> list[tuple[str, str]]:
    """Split a pattern into tokens (kind, text); neighbouring texts are one token."""
    while (shorter := pattern.replace("/**/**", "/**")) != pattern:
        pattern = shorter
    tokens: list[tuple[str, str]] = []
    for match in _TOKENS.finditer(pattern):
        kind, text = match.lastgroup or "", match.group()
        if kind == "text" and tokens and tokens[-1][0] == "text":
            text = tokens.pop()[1] + text
        tokens.append(("deep" if kind == "all" else kind, text))
    return tokens


def _regex(pattern: str) -> re.Pattern[str]:
    """Compile a pattern to an expression for `match` that reads a path in time linear in its length.

    Every wildcard is followed by a chunk of text and `?`, and takes the first position where the chunk fits. That
    choice is final (atomic groups), because a later position never allows more: `*` stays in its segment, where a
    chunk that fits earlier leaves more to the next, and a chunk that holds a slash fits only once. Only the
    loop over whole segments that starts each `**` may go on, when what follows up to the next `**` does not
    fit, and it visits each segment once.
    """
    return re.compile("".join(_chain(lead, chunks) for lead, chunks in pattern_chains(pattern)))


Chunk = list[tuple[str, str]]


def pattern_chains(pattern: str) -> list[tuple[str, list[Chunk]]]:
    """Return a pattern as chains (lead, chunks) that match a path one behind the other, from its start.

    A chunk holds (kind, text): `text` stands for itself, `one` is a character but a slash, `below` a slash or the end,
    `end` the end, and `work`, with which a chunk begins, the name of a work before it. The first chunk of the chain
    `start` fits at the start; that of a chain `segments` at the first segment from here on where the whole chain fits.
    Every other chunk fits at the first position within its segment.
    """
    tokens = _tokens(pattern)
    chains: list[tuple[str, list[Chunk]]] = [("start", [[]])]
    for kind, text in tokens:
        if kind in ("deep", "segments"):
            chains.append((kind, [[]]))
        elif kind in ("star", "work"):
            chains[-1][1].append([(kind, text)] if kind == "work" else [])
        else:
            chains[-1][1][-1].append((kind, text))
    if tokens[-1][0] == "deep":
        chains.pop()
    elif tokens[-1][0] != "below":
        chains[-1][1][-1].append(("end", ""))
    return chains


_CHUNK = {"one": "[^/]", "below": r"(?:/|\Z)", "end": r"\Z"}


def _escaped(text: str) -> str:
    """Return the expression of a text whose accents may be in either form."""
    return re.escape(text) if text.isascii() else "".join(map(_in_either_form, normalize("NFC", text)))


def _in_either_form(character: str) -> str:
    apart = normalize("NFD", character)
    return re.escape(character) if apart == character else f"(?:{re.escape(character)}|{re.escape(apart)})"


def _chain(lead: str, chunks: Sequence[Chunk]) -> str:
    """Return the expression of one chain, in which the name of a work is a group."""
    groups = []
    for chunk in chunks:
        before = "([^/]+?)" if chunk[:1] == _NAME else "[^/]*?"
        groups.append(f"(?>{before}{_text_of(chunk)})")
    if lead != "deep":
        groups[0] = _text_of(chunks[0])
    body = "".join(groups)
    return body if lead == "start" else f"(?>(?:[^/]*+/)*?{body})"


_NAME: Chunk = [("work", WORK)]


def _text_of(chunk: Chunk) -> str:
    return "".join(_CHUNK.get(kind) or _escaped(text) for kind, text in chunk if kind != "work")


def capturing_regex(before: str, after: str) -> re.Pattern[str]:
    """Return the expression of the pattern `before*after`, whose group is what that `*` stands for: never nothing."""
    return _regex(f"{before}{WORK}{after}")


class PathMatcher:
    """Compiled path patterns of a policy. Raises InvalidPatterns with every bad one.

    `*` stands for any characters of one segment, also none; `?` for one character but not a slash; a segment
    `**` for any number of segments, also none, so `/tracks/**` is `/tracks`, `/tracks/` and everything below,
    and `/**` is everything; `**` beside other characters for any characters, slashes too. All else stands for
    itself, letter case included: `/tracks/` is only that path. Accents match in either form of Unicode. `*`, the target
    of `OPTIONS *`, matches nothing.
    """

    __slots__ = ("_below", "_exact", "_lengths", "_wild", "patterns")

    def __init__(self, patterns: Sequence[str]) -> None:
        if problems := [(index, problem) for index, text in enumerate(patterns) if (problem := pattern_problem(text))]:
            raise InvalidPatterns(problems)
        self.patterns = tuple(patterns)
        patterns = [normalize("NFC", pattern) for pattern in patterns]
        self._exact: dict[str, int] = {}
        # Directory of each `directory/**` -> (rank, index).
        self._below: dict[str, tuple[int, int]] = {}
        self._wild: list[tuple[int, str, str, re.Pattern[str], int]] = []
        for rank, index in enumerate(by_specificity(patterns)):
            tokens = _tokens(patterns[index])
            kinds = [kind for kind, _ in tokens]
            first, last = (text if kind == "text" else "" for kind, text in (tokens[0], tokens[-1]))
            if kinds == ["text"]:
                self._exact.setdefault(first, index)
            elif kinds in (["below"], ["text", "below"]):
                self._below.setdefault(first, (rank, index))
            else:
                self._wild.append((rank, first, last, _regex(patterns[index]), index))
        self._lengths = sorted({len(directory) for directory in self._below}, reverse=True)

    def first(self, path: str) -> int:
        """Return the index in `patterns` of the most specific one that matches a normal path, or -1.

        A pattern without wildcards comes before all others; then the one with more characters before its first
        wildcard, then with more characters that are no wildcards, then with fewer `**`, with fewer `*`, and then
        the one listed first.
        """
        if not path.isascii():
            path = normalize("NFC", path)
        exact = self._exact.get(path)
        if exact is not None:
            return exact
        best_rank, best = len(self.patterns), -1
        for length in self._lengths:
            below = self._below.get(path[:length])
            if below is not None and path[length : length + 1] in ("/", ""):
                best_rank, best = below
                break
        for rank, start, end, pattern, index in self._wild:
            if rank > best_rank:
                break
            if path.startswith(start) and path.endswith(end) and pattern.match(path):
                return index
        return best


def by_specificity(patterns: Sequence[str]) -> list[int]:
    """Return the indexes of `patterns`, the most specific first: the order in which `PathMatcher.first` decides."""

    def specificity(index: int) -> tuple[bool, int, int, int, int]:
        pattern = patterns[index]
        literal = re.split(r"[*?]", pattern, maxsplit=1)[0]
        wild = len(re.findall(r"[*?]", pattern))
        deep = pattern.count("**")
        return wild > 0, -len(literal), wild - len(pattern), deep, pattern.count("*") - 2 * deep

    return sorted(range(len(patterns)), key=specificity)


def pattern_to_regex(pattern: str, *, any_case: bool = False) -> str:
    """Return a pattern as a regular expression for other engines (PCRE, RE2, Go), from ^ to $.

    Letter case counts unless `any_case`: then the expression begins with `(?i)`, and other letters than those of ASCII
    are written in both cases.
    It has no look-around; everything but ASCII letters, digits and `_-/` is written in hex, non-ASCII as the bytes of
    its UTF-8. `$` must mean the very end. Where an engine backtracks, time may grow with the square of the path's
    length.
    """
    spelled = _in_any_case if any_case else _in_bytes
    parts = (_PORTABLE.get(kind) or "".join(map(spelled, text)) for kind, text in _tokens(pattern))
    return f"{'(?i)' if any_case else ''}^{''.join(parts)}$"


def capturing_to_regex(before: str, after: str, *, any_case: bool = False) -> str:
    """Return `capturing_regex` for other engines, written as by `pattern_to_regex`. Wildcards take as little as they
    can, so that the group is the same."""
    spelled = _in_any_case if any_case else _in_bytes

    def in_either_form(character: str) -> str:
        forms = dict.fromkeys((character, normalize("NFD", character)))
        spellings = ["".join(map(spelled, form)) for form in forms]
        return spellings[0] if len(spellings) == 1 else f"(?:{'|'.join(spellings)})"

    tokens = _tokens(normalize("NFC", f"{before}{WORK}{after}"))
    parts = (_LAZY.get(kind) or "".join(map(in_either_form, text)) for kind, text in tokens)
    return f"{'(?i)' if any_case else ''}^{''.join(parts)}$"


_PORTABLE = {"one": "[^/]", "star": "[^/]*", "segments": "(?:[^/]*/)*", "deep": "(?s:.*)", "below": "(?:/(?s:.*))?"}
_LAZY = {
    **_PORTABLE, "star": "[^/]*?", "segments": "(?:[^/]*/)*?", "deep": "(?:[^/]*/)*?[^/]*?", "work": "([^/]+?)",
}  # fmt: skip


def _in_bytes(character: str) -> str:
    if character.isascii() and (character.isalnum() or character in "_-/"):
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


def _in_any_case(character: str) -> str:
    spellings = dict.fromkeys((character, character.lower(), character.upper()))
    if character.isascii() or len(spellings) == 1:
        return _in_bytes(character)
    return f"(?:{'|'.join(map(_in_bytes, spellings))})"


# Characters that browsers send unescaped in a path (WHATWG URL path percent-encode set), but no `*` and `$`.
_UNESCAPED = "/!&'()+,-.:;=@_~"


def pattern_to_robots(pattern: str) -> list[str] | None:
    """Return the robots.txt rules (RFC 9309) that match exactly the URLs whose path the pattern matches, or None.

    robots.txt matches path and query from the left, so a single path is `/a$` and, with a query, `/a?`. Its
    `*` runs over slashes and into the query (`/*.mp3$` matches `/x?y=.mp3`), so only a final `**` can be written
    exactly; neither can a literal `$`, which parsers read differently, nor a bad pattern.
    """
    if pattern_problem(pattern):
        return None
    tokens = _tokens(pattern)
    path = tokens[0][1] if tokens[0][0] == "text" else ""
    rest = [kind for kind, _ in tokens if kind != "text"]
    if "$" in path or len(tokens) > 2 or (rest and tokens[-1][0] == "text"):
        return None
    path = quote(path, safe=_UNESCAPED)
    if not rest:
        return [f"{path}$", f"{path}?"]
    if rest == ["below"]:
        return [f"{path}/", f"{path}$", f"{path}?"] if path else ["/"]
    return [path] if rest == ["deep"] else None
