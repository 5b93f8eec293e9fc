"""A first look at a User-Agent that most people's fail: whether it holds a rare word of a restricted agent's name.

Who passes it is a *suspect*, on whom a server spends its exact expressions; anybody else is allowed. So it may suspect
too many and must never miss one: every User-Agent that is recognised as a restricted agent, or refused because a name
is where it cannot be read, is a suspect, in any spelling that the judge or an expression understands. (The judge alone
also finds names inside of words, after two dozen near misses.)

A name is represented by its rarest run of letters, its anchor. Where that is a word of browsers or of many agents
(`v0bot`, `channel3bot`), the whole name is looked for.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from itertools import combinations
from math import prod

from noai_guard.core import browser_words
from noai_guard.core.guard import CALLS_ITSELF_A_BOT
from noai_guard.core.model import Agent
from noai_guard.core.user_agent_matcher import COMMON_WORDS, HEAD_BYTES, TAIL_BYTES
from noai_guard.targets import user_agent_regex
from noai_guard.targets.plan import AgentToken, TargetPlan

_COMMON = browser_words.ALL | frozenset(word.decode("ascii") for word in COMMON_WORDS)
_SHORT = 3
"""Letters of an anchor that by itself is in too many other words' company: `exa`, `ias`, `lcc`."""

ESCAPES = (
    r"%(?:25)*(?:[46][1-9A-Fa-f]|[57][0-9Aa]|3[0-9]|2[DEde]|5[Ff])",
    r"\x5c(?:[Xx]|[Uu]00)(?:2[013-9A-Fa-f]|[346][0-9A-Fa-f]|5[0-9ABDEFabdef]|7[0-9A-Ea-e])",
)
"""A letter, digit, `-`, `.` or `_` that is percent-encoded, or a printable character but for `"` and the backslash that
is written as in a log. Nothing that encodes for a reason encodes those (RFC 3986, 2.3; nginx's log_format): it hides a
name. Each begins with one character in one case, which every engine finds fast."""

ESCAPED = "|".join(ESCAPES)

_LETTER_BEHIND_ESCAPE = r"%[0-9a-f][a-f][a-z]|\x5c(?:[nrt]|(?:x|u00)[0-9a-f][a-f])[a-z]"
"""A word of which the first letters are the end of an escape, so that a name may begin inside of it: `%2CGPTBot`."""

MAX_READ = HEAD_BYTES + TAIL_BYTES
"""Bytes of the longest User-Agent that is read closely as a whole."""

TOO_LONG = rf"(?s)^.{{{MAX_READ + 1}}}"
"""Matches a longer one. For PCRE: Go repeats nothing more than 1,000 times (`user_agent_regex.LONG`)."""


FAST = 2500
"""Characters of an expression: two of 2,000 took 310 ns for a User-Agent, one of 4,000 took 400, four of 1,000 took 400
(PCRE2 10.42 with JIT, 2026-11-29)."""


def suspects_everybody(plan: TargetPlan) -> bool:
    """Return True if clients without any name are restricted: no look can then tell who may pass."""
    return plan.unclaimed.restricted or plan.nameless.restricted


def reads_no_long_ones(plan: TargetPlan) -> bool:
    """Return True if a look for names (`anywhere_without_look_around`) is enough in a User-Agent above `MAX_READ`.

    Who is found is unreadable then, and nobody else can be restricted.
    """
    return bool(plan.hidden_tokens) and not (suspects_everybody(plan) or plan.detects_unknown_bots)


def suspect_words(plan: TargetPlan, also: Collection[Agent] = ()) -> tuple[str, ...]:
    """Return texts in lower case, sorted, of which every User-Agent with a restricted agent's name has one, and every
    one with the name of an agent of `also`.

    No letter stands beside one. A blank in a text may be another character there, or an escape (`user_agent_regex`).
    """
    return tuple(sorted({_rarest(token) for token in restricted_tokens(plan, also)}))


def restricted_tokens(plan: TargetPlan, also: Collection[Agent] = ()) -> tuple[AgentToken, ...]:
    """Return the tokens of agents that are restricted somewhere, and of those in `also`."""
    return tuple(token for token in plan.tokens if token.value in also or plan.class_of(token.value).restricted)


def letter_runs(tokens: Iterable[AgentToken]) -> frozenset[str]:
    """Return for each token one run of letters that is a whole word of every User-Agent with that token."""
    runs = (re.findall("[a-z]+", _rarest(token)) for token in tokens)
    common = (browser_words.ALL, browser_words.IN_MOST)
    return frozenset(max(words, key=lambda word: (*(word not in each for each in common), len(word))) for words in runs)


def words_of(tokens: Iterable[AgentToken]) -> frozenset[str]:
    """Return every run of letters in the texts of these tokens."""
    return frozenset(word for token in tokens for word in re.findall("[a-z]+", token.text.decode("ascii")))


def _rarest(token: AgentToken) -> str:
    if token.host:
        # A port may stand between a host and its path, of which the last segment may go on.
        path = token.path[: token.path.rfind(b"/") + 1].decode("ascii").strip("/")
        return path or token.text.decode("ascii")
    anchor = token.anchor.decode("ascii")
    return _without_signs_around(token.text.decode("ascii")) if _is_common(anchor) else anchor


def _is_common(word: str) -> bool:
    return word in _COMMON or len(word) <= _SHORT


def _without_signs_around(text: str) -> str:
    """Return a name without what is no letter or digit at its ends: another character may stand beside those."""
    start = next(position for position, character in enumerate(text) if character.isalnum())
    stop = next(position for position, character in enumerate(reversed(text)) if character.isalnum())
    return text[start : len(text) - stop]


def first_look(
    plan: TargetPlan, max_length: int = 1 << 20, *, decodes: bool = False, also: Collection[Agent] = ()
) -> list[str]:
    """Return expressions (PCRE, case-insensitive), each at most `max_length` characters long. Who is matched by none
    of them is no suspect.

    `decodes` is for servers with the judge, which reads escapes; `also` as for `suspect_words`. Ask
    `suspects_everybody` before.
    """
    words = [rf"(?<![a-z]){_trie(part)}(?![a-z])" for part in _parts(suspect_words(plan, also), max_length)]
    bots = [CALLS_ITSELF_A_BOT.pattern.decode("ascii")] if plan.unknown_bot.restricted else []
    return [*words, _ANY_ESCAPE if decodes else f"{ESCAPED}|{_LETTER_BEHIND_ESCAPE}", *bots, TOO_LONG]


def harmless(
    plan: TargetPlan, max_length: int = 1 << 20, *, decodes: bool = False, also: Collection[Agent] = ()
) -> list[str]:
    """Return expressions (PCRE, case-insensitive), each at most `max_length` characters long. Who is matched by all of
    them is no suspect.

    Each is one possessive pass from word to word, and takes what most browsers send in two steps: 0.1 to 0.25
    microseconds for a User-Agent, where `first_look` takes 0.4 to 0.6; without just-in-time compilation 1.3 to 2.7
    instead of 5 (PCRE2 10.42, the crowds of benchmarks/edges.py, 2026-11-29). `decodes` and `also` as for `first_look`.
    """
    texts = _begun_with_letters(suspect_words(plan, also))
    rest = max_length - len(_harmless(plan, texts, "", decodes))
    return [
        _harmless(plan, texts, f"{_trie(part)}(?![a-z])", decodes) for part in user_agent_regex.split_words(texts, rest)
    ]


def surely_harmless(plan: TargetPlan) -> str:
    """Return one shorter expression for what `harmless` does, which also suspects words that begin as a name does."""
    texts = _begun_with_letters(suspect_words(plan))
    return _harmless(plan, texts, _trie(sorted(set(_cuts(plan, texts).values()))), decodes=False)


def _begun_with_letters(words: Iterable[str]) -> tuple[str, ...]:
    """Return these texts without what is before their first letter, where a word of letters begins too."""
    return tuple(sorted({re.sub("^[^a-z]+", "", text) for text in words}))


def _harmless(plan: TargetPlan, texts: Sequence[str], names: str, decodes: bool) -> str:
    """Return an expression for who has no word that `names` matches at its beginning; `texts` are all of the plan."""
    beginnings = {re.split("[^a-z]", text)[0] for text in texts}
    start, end = ("", "") if beginnings & _PHRASES_WORDS else (_START, _END)
    words = [rf"(?!{_shape(texts)})[a-z]++", rf"(?!{names})[a-z]++"] if texts else ["[a-z]++"]
    bots = "".join(f"(?<!{word})" for word in user_agent_regex.BOT_WORDS) if plan.unknown_bot.restricted else ""
    word = f"(?:{'|'.join(words)}){bots}" if bots else "|".join(words)
    escape = "" if decodes else rf"|(?!{ESCAPED}|{_LETTER_BEHIND_ESCAPE})[%\x5c]"
    other = r"[^a-z%\x5c)]*+"
    items = f"{end}{'|' * bool(end)}{word}|\\){escape}"
    return rf"(?s)^(?!.{{{MAX_READ + 1}}}){start}{other}(?:(?:{items}){other})*+$"


_START = (
    r"(?:Mozilla/[0-9.]++ \((?:Windows NT 1[01]\.0; Win64; x64|Macintosh; Intel Mac OS X [0-9_]++|X11; Linux x86_64"
    r"|Linux; Android [0-9.]++; |(?:iPhone; CPU iPhone|iPad; CPU) OS [0-9_]++ like Mac OS X)?+)?+"
)
_END = (
    r"\) AppleWebKit/[0-9.]++ \(KHTML, like Gecko\)"
    r"(?: (?:Chrome|Safari|Version|Mobile)/(?:[0-9.]++|[0-9]++[A-Z][0-9]++)(?![a-z0-9_-])| Mobile(?![a-z/]))*+"
)
"""How the User-Agents of most browsers begin, and how they go on behind the name of the device."""

_PHRASES_WORDS = frozenset(re.findall("[a-z]+", re.sub(r"\[[^]]*\]|\\.", " ", f"{_START} {_END}").lower()))

_SHAPE_LETTERS, _SHAPE_GROUPS = 4, 5


@lru_cache(maxsize=64)
def _shape(texts: Sequence[str]) -> str:
    """Return a short expression that matches at the beginning of each of these texts, and of few other words.

    An engine without just-in-time compilation takes as long for a letter class of it as for one of the 25 letters that
    names begin with. Texts are grouped by their first letters, so that few combinations of letters are added.
    """
    groups: dict[str, Shape] = {}
    for text in texts:
        letters = re.split("[^a-z]", text)[0][:_SHAPE_LETTERS].ljust(_SHAPE_LETTERS)
        groups[text[0]] = _united(groups.get(text[0], (frozenset(),) * _SHAPE_LETTERS), tuple(map(frozenset, letters)))
    shapes = list(groups.values())
    while len(shapes) > _SHAPE_GROUPS:
        pairs = combinations(range(len(shapes)), 2)
        first, second = min(pairs, key=lambda pair: _added(shapes[pair[0]], shapes[pair[1]]))
        shapes[first] = _united(shapes[first], shapes.pop(second))
    return f"(?:{'|'.join(map(_classes, shapes))})"


Shape = tuple[frozenset[str], ...]
"""The letters at each place of some words; a blank where one has ended."""


def _united(shape: Shape, other: Shape) -> Shape:
    return tuple(a | b for a, b in zip(shape, other, strict=True))


def _added(shape: Shape, other: Shape) -> int:
    """Return how many combinations of letters more their union has."""
    return prod(map(len, _united(shape, other))) - prod(map(len, shape)) - prod(map(len, other))


def _classes(shape: Sequence[frozenset[str]]) -> str:
    if not shape or shape[0] == {" "}:
        return "(?![a-z])" if shape else ""
    letters = f"[{''.join(sorted(shape[0] - {' '}))}]{_classes(shape[1:])}"
    return f"(?:{letters}|(?![a-z]))" if " " in shape[0] else letters


def short_first_look(plan: TargetPlan) -> list[str]:
    """Return what `first_look` does in half as many characters, for a server that compiles it for each request.

    A word is cut where no other known word begins like it, so more User-Agents are suspects.
    """
    words = suspect_words(plan)
    if not words:
        return first_look(plan)
    cuts = _cuts(plan, words)
    whole = [word for word, beginning in cuts.items() if word == beginning]
    beginnings = {beginning for word, beginning in cuts.items() if word != beginning}
    kinds = [_trie(beginnings)] * bool(beginnings) + [rf"{_trie(whole)}(?![a-z])"] * bool(whole)
    *_, long = first_look(plan)
    return [long, f"(?<![a-z])(?:{'|'.join(kinds)})", *first_look(plan)[1:-1]]


def _cuts(plan: TargetPlan, words: Iterable[str]) -> dict[str, str]:
    """Return for each word what is left of it when it is cut where no other known word begins like it."""
    known = " ".join(("", *(browser_words.ALL | words_of(plan.tokens)).difference(suspect_words(plan))))
    return {word: _cut(word, known) for word in words}


def _cut(word: str, known: str) -> str:
    """Return the shortest beginning that no word of `known`, in which each has a blank before it, has too."""
    lengths = range(_SHORT + 1, len(word)) if word.isalpha() else ()
    return next((word[:length] for length in lengths if f" {word[:length]}" not in known), word)


def first_look_without_look_around(plan: TargetPlan, max_length: int = 1 << 20) -> list[str]:
    """Return what `first_look` does for Go and RE2."""
    return [*words_without_look_around(plan, max_length), ESCAPED, user_agent_regex.LONG]


def words_without_look_around(
    plan: TargetPlan, max_length: int = 1 << 20, *, also: Collection[Agent] = ()
) -> list[str]:
    """Return the expressions of that look for names, and for words of unknown bots if these are restricted; `also` as
    for `suspect_words`."""
    parts = _parts(suspect_words(plan, also), max_length)
    words = [rf"(?:^|[^a-z]){_trie(part)}(?:[^a-z]|$)" for part in parts]
    return [
        *words,
        _LETTER_BEHIND_ESCAPE,
        *([user_agent_regex.CALLS_ITSELF_A_BOT] if plan.unknown_bot.restricted else []),
    ]


def anywhere_without_look_around(tokens: Iterable[AgentToken]) -> str:
    """Return an expression for these tokens wherever they stand, also inside of words.

    Each is represented by an end of its rarest word that begins with one of few letters: Go follows every alternative
    whose first letter it sees, at each character.
    """
    ends = {token.written: _ends(token) for token in tokens}
    chosen: set[str] = set()
    while ends:
        firsts = Counter(first for choices in ends.values() for first in sorted({end[0] for end in choices}))
        [(first, _)] = firsts.most_common(1)
        for name, choices in list(ends.items()):
            if found := [end for end in choices if end[0] == first]:
                chosen.add(max(found, key=len))
                del ends[name]
    return _trie(sorted(chosen))


_LEAST = 6
"""Letters of the end of a word that are as rare as the word."""


def _ends(token: AgentToken) -> list[str]:
    rarest = _rarest(token)
    if not rarest.isalpha() or len(rarest) <= _LEAST:
        return [token.written.decode("ascii")]
    return [rarest[start:] for start in range(len(rarest) - _LEAST + 1)]


_ANY_ESCAPE = r"[%\x5c]"
_CONTEXT = 100
"""More than the characters around the words of an expression."""


def _parts(words: Sequence[str], max_length: int) -> Iterable[Sequence[str]]:
    return user_agent_regex.split_words(words, max_length - _CONTEXT) if words else ()


def _trie(words: Iterable[str]) -> str:
    # The judge also takes an underscore for a blank.
    return user_agent_regex.trie(words).replace(user_agent_regex.BLANK, "(?:[ +_]|%20)")
