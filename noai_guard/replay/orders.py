"""Lines like those of the combined format, with fields in another order, in front or between.

Where each field stands is found by what stands there in the first lines of a log: the request is the first quoted text
that begins like one, the client's address the place in front of it that holds addresses most often, the user agent the
quoted text behind it that most often begins like one.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from noai_guard.replay.addresses import OF_A_LIST, likelihood
from noai_guard.replay.log_format import LogFormat, clf_seconds
from noai_guard.replay.text_formats import COMBINED, END, PRODUCT, QUOTED, REQUEST

_TOKEN = rf'(?:[a-z_]+=)?"{QUOTED}"|\[[^\]]*\]|[^ "\[][^ ]*'
_TOKENS = re.compile(_TOKEN)
_SKIPPED = rf"(?:{_TOKEN}) +"
_LABEL = "(?:[A-Za-z_]+=)?"

_MAX_TOKENS = 12
"""Tokens in front of the request, and behind it, among which fields are looked for."""

_EARLIEST = 631_152_000
"""1990: a smaller number is no time."""

_FIRST = '(?P<address>[^ ,"]+)[^"]*'
"""The first address of a list."""

_IS_REQUEST = re.compile(rf'"(?:[A-Z]{{3,16}}) (?:/|\*|[a-z]+:)[^ "]*(?: {QUOTED})?"')
_IS_STATUS = re.compile(rf'{_LABEL}"?[1-5][0-9][0-9]"?$')
_IS_SIZE = re.compile(rf'{_LABEL}"?(?:[0-9]+|-)"?$')
_IS_PAGE = re.compile(rf'{_LABEL}"https?:')
_TEXT = re.compile(rf'^{_LABEL}"({QUOTED})"$')


@dataclass(frozen=True, slots=True)
class _Line:
    """The tokens in front of a request, and behind it."""

    before: list[str]
    after: list[str]


def _line(text: str) -> _Line | None:
    match = _IS_REQUEST.search(text)
    if match is None:
        return None
    before, after = (_TOKENS.findall(part)[:_MAX_TOKENS] for part in (text[: match.start()], text[match.end() :]))
    return _Line(before, after)


def in_its_own_order(lines: Sequence[str]) -> LogFormat | None:
    """Return the format of lines in which a quoted request stands, None if too little is found."""
    found = [line for line in map(_line, lines) if line is not None]
    before, after = [line.before for line in found], [line.after for line in found]
    address = _place(before, likelihood)
    status = _place(after, lambda text: bool(_IS_STATUS.match(text)))
    if status is None:
        return None
    sizes = ([text if at > status else "" for at, text in enumerate(tokens)] for tokens in after)
    size = _place(sizes, lambda text: bool(_IS_SIZE.match(text)))
    last = status if size is None else size
    quoted = [[text for text in tokens[last + 1 :] if _TEXT.match(text)] for tokens in after]
    user_agent = _place(quoted, lambda text: bool(PRODUCT.match(_TEXT.sub(r"\1", text))))
    referer = _place(quoted, lambda text: bool(_IS_PAGE.match(text)))
    forwarded = _place(quoted, likelihood)
    behind = {"referer": referer, "user_agent": user_agent}
    if forwarded is not None and _score(quoted, forwarded) > (0 if address is None else _score(before, address)):
        # Behind a proxy, nginx's `main` has the client where X-Forwarded-For is.
        behind["address"], address = forwarded, None
        where, lists = f"quoted text {forwarded + 1} behind the request", True
    elif address is not None:
        where, lists = f"word {address + 1}", any("," in line[address] for line in before if len(line) > address)
    else:
        return None
    pattern = _head(before, address) + _tail(status, size, behind)
    agent = "" if user_agent is None else f", the user agent is quoted text {user_agent + 1} behind the request"
    return replace(
        COMBINED, name="own", pattern=pattern, quoted=False, records=OF_A_LIST if lists else "",
        title=f"an order of its own: the address is {where}{agent}",
    )  # fmt: skip


def _score(lines: Iterable[Sequence[str]], place: int) -> int:
    """Return how likely addresses stand at a place, over all lines."""
    return sum(likelihood(tokens[place]) for tokens in lines if len(tokens) > place)


def _place(lines: Iterable[Sequence[str]], score: Callable[[str], int]) -> int | None:
    """Return the place whose texts score most, the first of several; None if none scores."""
    scores: Counter[int] = Counter()
    for tokens in lines:
        for at, text in enumerate(tokens):
            scores[at] += score(text)
    best = max(sorted(scores), key=scores.__getitem__, default=None)
    return None if best is None or not scores[best] else best


def _is_time(text: str) -> bool:
    try:
        return clf_seconds(text) > _EARLIEST
    except (ValueError, OverflowError):
        return False


def _head(before: Sequence[Sequence[str]], address: int | None) -> str:
    """Return the expression of what stands in front of the request, and of the request."""
    time = _place(before, _is_time)
    parts = []
    for at in range(max(place for place in (address, time, -1) if place is not None) + 1):
        if at == address:
            parts.append(rf'{_LABEL}["\[]*(?P<address>[0-9.]+|[^ ,"\]]+)\]?(?::[0-9]+)?(?:, *[^ ,"]+)*["\],]* +')
        elif at == time:
            is_enclosed = Counter(line[at][-1:] in '"]' for line in before if len(line) > at).most_common(1)[0][0]
            parts.append(rf'{_LABEL}["\[](?P<time>[^"\[\]]+)["\]] +' if is_enclosed else "(?P<time>[^ ]+) +")
        else:
            parts.append(_SKIPPED)
    return "^" + "".join(parts) + ".*?" + REQUEST


def _tail(status: int, size: int | None, quoted: dict[str, int | None]) -> str:
    """Return the expression of what stands behind the request."""
    pattern = " +" + _SKIPPED * status + _LABEL + '"?(?P<status>[0-9]{3})"?'
    if size is not None:
        pattern += " +" + _SKIPPED * (size - status - 1) + _LABEL + '"?(?P<bytes>[0-9]+|-)"?'
    names = {place: name for name, place in quoted.items() if place is not None}
    for at in range(max(names, default=-1) + 1):
        name = names.get(at)
        text = f"(?P<{name}>{QUOTED})" if name else QUOTED
        pattern += f'[^"]*"{_FIRST if name == "address" else text}"'
    return pattern + END
