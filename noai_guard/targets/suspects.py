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


def harmless(plan: TargetPlan, max_length: int = 1 << 20) -> list[str]:
    """Return expressions (PCRE, case-insensitive), each at most `max_length` characters long. Who is matched by all of
    them is no suspect.

    Without just-in-time compilation these take half the time of `first_look`, because each is one possessive pass from
    word to word (4 instead of 7 microseconds for a browser in PCRE2 10.42, 2026-11-29).
    """
    texts = sorted({text.lstrip("0123456789") for text in suspect_words(plan)})
    beginnings = {re.split("[^a-z]", text)[0] for text in texts}
    usual = _trie(browser_words.IN_MOST - beginnings)
    other = r"[^a-z%\x5c]*+"

    def words_but(names: Iterable[str]) -> str:
        word = rf"(?:{usual}(?![a-z])|(?!{_trie(names)}(?![a-z]))[a-z]++)"
        return (
            rf"(?s)^(?!.{{{MAX_READ + 1}}}){other}(?:(?:{word}|(?!{ESCAPED}|{_LETTER_BEHIND_ESCAPE})[%\x5c]){other})*+$"
        )

    return [words_but(part) for part in _parts(texts, max_length - len(words_but(("",))))]


def short_first_look(plan: TargetPlan) -> list[str]:
    """Return what `first_look` does in half as many characters, for a server that compiles it for each request.

    A word is cut where no other known word begins like it, so more User-Agents are suspects.
    """
    words = suspect_words(plan)
    if not words:
        return first_look(plan)
    known = " ".join(("", *(browser_words.ALL | words_of(plan.tokens)).difference(words)))
    cuts = {word: _cut(word, known) for word in words}
    whole = [word for word, beginning in cuts.items() if word == beginning]
    beginnings = {beginning for word, beginning in cuts.items() if word != beginning}
    kinds = [_trie(beginnings)] * bool(beginnings) + [rf"{_trie(whole)}(?![a-z])"] * bool(whole)
    *_, long = first_look(plan)
    return [long, f"(?<![a-z])(?:{'|'.join(kinds)})", *first_look(plan)[1:-1]]


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
