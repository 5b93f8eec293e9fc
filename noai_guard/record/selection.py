"""Which events are meant: a span of time, paths, an operator, and what else is true of them."""

import re
from calendar import monthrange
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta

from noai_guard.core.model import Identity, Usage
from noai_guard.core.path_patterns import InvalidPatterns, PathMatcher
from noai_guard.core.text import did_you_mean
from noai_guard.errors import Invalid, Problem
from noai_guard.record.event_record import PROOFS, EventRecord

NOTHING = "nothing"
"""Stands in a selection for an empty value: no name, no proof, no declaration, no work."""

_DECLARATION = "declaration"
"""The rule of events of declarations that were fetched: these are for everyone, and are not judged."""

_MONTH = re.compile(r"(\d{4})-(\d\d)", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_PAIR = re.compile(r"(?:^|, ?)([a-z]+)=")


class SelectionInvalid(Invalid):
    """What somebody typed does not say which events are meant; each problem says what to type."""


def month_of(moment: datetime) -> str:
    """Return the month of a moment in UTC: `2026-10`."""
    return f"{moment.year:04}-{moment.month:02}"


OUTCOMES = ("refused", "failed", "declaration", "not-enforced", "served")
"""The values of `outcome_of`."""


def outcome_of(record: EventRecord) -> str:
    """Return what became of a request.

    `refused`; or let in, and answered with an error of the site (`failed`), with a declaration (`declaration`), with
    content although the policy refuses it, since the guard only watches (`not-enforced`), or with content (`served`).
    """
    if record.refused:
        return "refused"
    if record.status is not None and record.status >= 400:
        return "failed"
    if record.rule == _DECLARATION:
        return "declaration"
    return "not-enforced" if record.action.restricts else "served"


def got_content(record: EventRecord) -> bool:
    """Return True if the client was sent content of the site."""
    return record.method != "HEAD" and outcome_of(record) in ("served", "not-enforced")


def day_of(moment: datetime) -> str:
    """Return the day of a moment in UTC: `2026-10-05`."""
    return f"{month_of(moment)}-{moment.day:02}"


FACTS: Mapping[str, Callable[[EventRecord], str]] = {
    "month": lambda record: month_of(record.time),
    "operator": lambda record: record.operator,
    "claim": lambda record: record.claim,
    "usage": lambda record: record.usage or "",
    "identity": lambda record: record.identity,
    "proof": lambda record: record.proof,
    "declared": lambda record: "+".join(sorted(record.declared)),
    "outcome": outcome_of,
}
"""The facts by which events are put into groups: all events of a group agree in all of them."""

_MORE_FACTS: Mapping[str, Callable[[EventRecord], str]] = {
    **FACTS,
    "day": lambda record: day_of(record.time),
    "told": lambda record: "",
    "work": lambda record: record.work,
    "rule": lambda record: record.rule,
    "policy": lambda record: record.policy,
    "ledger": lambda record: "" if record.ledger is None else str(record.ledger),
    "got": lambda record: "yes" if got_content(record) else "no",
}


_WORDS: Mapping[str, Collection[str]] = {
    "usage": [*map(str, Usage), NOTHING],
    "identity": [*map(str, Identity)],
    "proof": [*PROOFS, NOTHING],
    "outcome": OUTCOMES,
    "got": ("yes", "no"),
}
"""Facts with few values, and these."""

_FORMS: Mapping[str, tuple[re.Pattern[str], str]] = {
    "month": (_MONTH, "2026-10"),
    "day": (_DAY, "2026-10-05"),
    "ledger": (re.compile(rf"\d{{1,9}}|{NOTHING}", re.ASCII), "7"),
}
"""Facts with values of one form, and an example."""

_MAX_SEEN = 10_000


@dataclass(frozen=True, slots=True)
class Span:
    """The moments from `since` up to, and without, `until`."""

    since: datetime
    until: datetime

    @classmethod
    def of(cls, since: str, until: str | None, now: datetime) -> "Span":
        """Return the span from the beginning of `since` to the end of `until` (to `now` if None), in UTC.

        Each is a month (2026-10), a day (2026-10-05), or a moment (2026-10-05T12:00:00Z). Raises SelectionInvalid.
        """
        begin, _ = _moments(since, "--since")
        end = _moments(until, "--until")[1] if until is not None else max(now, begin)
        if until is not None and end <= begin:
            raise _invalid("E001", f"--until {until} is before --since {since}", "exchange them")
        return cls(begin, end)

    def __contains__(self, moment: datetime) -> bool:
        return self.since <= moment < self.until

    def __str__(self) -> str:
        last = self.until - timedelta(microseconds=1)
        if self.since.time() == self.until.time() == time():
            return (
                day_of(self.since) if day_of(self.since) == day_of(last) else f"{day_of(self.since)} to {day_of(last)}"
            )
        return f"{self.since:%Y-%m-%d %H:%M:%S} to {self.until:%Y-%m-%d %H:%M:%S} UTC"


def _moments(text: str, option: str) -> tuple[datetime, datetime]:
    """Return the first moment that a text stands for, and the first one after it."""
    try:
        if month := _MONTH.fullmatch(text):
            first = datetime(int(month[1]), int(month[2]), 1, tzinfo=UTC)
            return first, first + timedelta(days=monthrange(first.year, first.month)[1])
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return moment, moment + timedelta(days=1) if _DAY.fullmatch(text) else moment
    except (ValueError, OverflowError):
        hint = "write 2026-10, 2026-10-05 or 2026-10-05T12:00:00Z"
        raise _invalid("E001", f"{option} {text!r} is no month, day or moment", hint) from None


def _invalid(code: str, message: str, hint: str) -> SelectionInvalid:
    return SelectionInvalid([Problem(code, message, hint)])


@dataclass(frozen=True, slots=True)
class Selection:
    """The events that are meant: of a span, below the paths of a pattern, of an operator, with some facts."""

    span: Span
    path: str = ""
    operator: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    _matcher: PathMatcher | None = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.path:
            try:
                object.__setattr__(self, "_matcher", PathMatcher([self.path]))
            except InvalidPatterns as error:
                problem, hint = error.problems[0][1], "write it as in noai.yaml: /artists/ines/**"
                raise _invalid("E002", f"--path {self.path!r} {problem}", hint) from None

    def __contains__(self, record: EventRecord) -> bool:
        return (
            record.time in self.span
            and (not self.operator or record.operator.casefold() == self.operator.casefold())
            and (self._matcher is None or self._matcher.first(record.path) >= 0)
            and all(_holds(record, name, value) for name, value in self.facts)
        )


def _holds(record: EventRecord, name: str, value: str) -> bool:
    if name == "told":
        return not record.declared if value == NOTHING else value in record.declared
    return _MORE_FACTS[name](record) == ("" if value == NOTHING else value)


def parse_facts(text: str) -> tuple[tuple[str, str], ...]:
    """Return the facts of a reference like `operator=OpenAI, outcome=refused`.

    Raises SelectionInvalid, with every name that there is not and every value that a fact cannot have.
    """
    names: Sequence[re.Match[str]] = list(_PAIR.finditer(text))
    if not names or names[0].start():
        hint = f"write fact=value, ... as in the report; facts: {', '.join(_MORE_FACTS)}"
        raise _invalid("E003", f"--show {text!r} names no events", hint)
    facts, problems = [], []
    for match, following in zip(names, [*names[1:], None], strict=True):
        name, value = match[1], text[match.end() : following.start() if following else len(text)].strip()
        facts.append((name, value))
        if name not in _MORE_FACTS:
            hint = did_you_mean(name, _MORE_FACTS) or f"facts: {', '.join(_MORE_FACTS)}"
            problems.append(Problem("E003", f"--show: events have no {name!r}", hint))
        elif hint := _hint_for_value(name, value):
            problems.append(Problem("E004", f"--show: no event has {name}={value!r}", hint))
    if problems:
        raise SelectionInvalid(problems)
    return tuple(facts)


def _hint_for_value(name: str, value: str) -> str:
    """Return what to write instead of a value that the fact never has; empty for one that it may have."""
    if name in _WORDS and value not in _WORDS[name]:
        words = sorted(_WORDS[name])
        return did_you_mean(value, words) or f"write {', '.join(words)}"
    if name in _FORMS and not _FORMS[name][0].fullmatch(value):
        return f"write {name}={_FORMS[name][1]}"
    return "" if value else f"write {name}={NOTHING} for events without one"


class SeenValues:
    """The values that some facts have in the events that were seen, for who asks for one that there is not."""

    def __init__(self, facts: Iterable[tuple[str, str]]) -> None:
        self._facts = tuple(facts)
        self._seen: dict[str, set[str]] = {name: set() for name, _ in self._facts}

    def add(self, record: EventRecord) -> None:
        """See an event."""
        for name, seen in self._seen.items():
            if len(seen) < _MAX_SEEN:
                values = (record.declared or [""]) if name == "told" else [_MORE_FACTS[name](record)]
                seen.update(value or NOTHING for value in values)

    def hints(self) -> list[str]:
        """Return a sentence for each value that no event had, or one if each was seen, but never all of them."""
        missing = [(name, value) for name, value in self._facts if value not in self._seen[name]]
        if not missing:
            return ["some events have each of these facts, and none has all of them"] if len(self._facts) > 1 else []
        return [f"no event has {name}={value!r}{self._instead(name, value)}" for name, value in missing]

    def _instead(self, name: str, value: str) -> str:
        seen = sorted(self._seen[name])
        hint = did_you_mean(value, seen) or (f"those that there are: {', '.join(seen[:10])}" if seen else "")
        return f"; {hint}{', ...' if len(seen) > 10 and 'those' in hint else ''}" if hint else ""


def reference(facts: Mapping[str, str]) -> str:
    """Return the reference that `parse_facts` reads."""
    return ", ".join(f"{name}={value or NOTHING}" for name, value in facts.items())
