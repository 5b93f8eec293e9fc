"""What came out of a replay, as facts for every form of output."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from noai_guard.core.model import Identity, Mode
from noai_guard.core.policy import Policy
from noai_guard.core.text import listed
from noai_guard.replay.blocks import engine
from noai_guard.replay.judge import NOT_LOGGED, Decision
from noai_guard.replay.listeners import MAX_REQUESTS, MAX_WORKS, is_probably_listener, signals
from noai_guard.replay.tally import Outcome, Tally

MIN_WORKS = 25
"""Distinct works from which on a client without a name is listed."""

MAX_CLIENTS_LISTED = 500

_PROXY_SHARE = 0.1


@dataclass(slots=True)
class LogFacts:
    """What was read of one log. `first` and `last` are in seconds since 1970, None if no time could be read."""

    name: str
    format: str = ""
    lines: int = 0
    bad: int = 0
    empty: int = 0
    samples: list[str] = field(default_factory=list)
    damage: str = ""
    records: str = ""
    first: float | None = None
    last: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Requests of one kind. `before` is the action of the policy that is compared with."""

    operator: str
    agent: str
    usage: str
    action: str
    requests: int
    works: int
    bytes: int
    before: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """One client: a user agent from an address block."""

    user_agent: str
    client: str
    agent: str
    usage: str
    rule: str
    requests: int
    works: int
    bytes: int
    signals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a replay.

    `requests` and `bytes` are of all that were judged. `spoofed` is part of the others. `works_known`: the policy names
    works. `at_least`: there were more distinct works than are kept, so their numbers are lower bounds; `dropped`
    clients were too many to be looked at one by one. `unjudged` requests are in logs without user agents; in
    `undecided` ones a client that names an agent is let in here, and might be refused by header fields; for `unchecked`
    ones somebody would be asked. `monitors`: the policy only counts.
    """

    policy: str
    against: str
    logs: tuple[LogFacts, ...]
    requests: int
    bytes: int
    refused: tuple[Group, ...]
    wronged: tuple[Client, ...]
    differences: tuple[Group, ...]
    spoofed: tuple[Group, ...]
    unclaimed: tuple[Client, ...]
    unjudged: int
    undecided: int
    unchecked: int
    monitors: bool
    works_known: bool
    at_least: bool
    dropped: int
    notes: tuple[str, ...]

    @property
    def refused_requests(self) -> int:
        return sum(group.requests for group in self.refused)

    @property
    def lines(self) -> int:
        return sum(log.lines for log in self.logs)

    @property
    def bad(self) -> int:
        return sum(log.bad for log in self.logs)

    @property
    def period(self) -> tuple[str, str] | None:
        """The first and the last day of the logs (ISO 8601, UTC); None if no time could be read."""
        first = [log.first for log in self.logs if log.first is not None]
        last = [log.last for log in self.logs if log.last is not None]
        return (_day(min(first)), _day(max(last))) if first and last else None


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return "?"


def summary(tally: Tally, logs: Sequence[LogFacts], names: Sequence[str]) -> Summary:
    """Return what a tally shows. `names` are those of the judge's policies, in their order."""
    groups = _Groups(tally)
    compared = len(names) > 1
    wronged, unclaimed = _clients(tally)
    return Summary(
        policy=names[0],
        against=names[1] if compared else "",
        logs=tuple(logs),
        requests=sum(each.requests for each in tally.sums),
        bytes=sum(each.bytes for each in tally.sums),
        refused=groups.of(lambda outcome: outcome[0].refused),
        wronged=wronged,
        differences=groups.of(lambda outcome: outcome[0].action is not outcome[1].action, True) if compared else (),
        spoofed=groups.of(lambda outcome: outcome[0].spoofed),
        unclaimed=unclaimed,
        unjudged=_requests(tally, lambda decision: decision.rule == NOT_LOGGED),
        undecided=_requests(tally, lambda decision: decision.undecided),
        unchecked=_requests(tally, lambda decision: decision.unchecked),
        monitors=tally.judge.policies[0].policy.mode is Mode.MONITOR,
        works_known=bool(tally.judge.policies[0].policy.works.patterns),
        at_least=not (tally.works.complete and tally.client_works.complete),
        dropped=tally.clients.dropped,
        notes=tuple(_notes(tally, logs, names)),
    )


_Kind = tuple[str, str, str, str]
"""Operator, agent, usage and action."""


class _Groups:
    """Outcomes added up by operator, agent, usage and action."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def of(self, chosen: Callable[[Outcome], bool], compared: bool = False) -> tuple[Group, ...]:
        """Return the groups of the outcomes that are chosen, those with most requests first."""
        tally = self._tally
        numbers: dict[tuple[_Kind, str], int] = {}
        group_of: dict[int, int] = {}
        for number, outcome in enumerate(tally.outcomes):
            if chosen(outcome):
                key = (_kind(outcome[0]), str(outcome[1].action) if compared else "")
                group_of[number] = numbers.setdefault(key, len(numbers))
        requests, sizes = [0] * len(numbers), [0] * len(numbers)
        for number, group in group_of.items():
            requests[group] += tally.sums[number].requests
            sizes[group] += tally.sums[number].bytes
        works = tally.works.counts_of(group_of)
        made = [
            Group(*kind, requests[group], works.get(group, 0), sizes[group], before)
            for (kind, before), group in numbers.items()
        ]
        return tuple(sorted(made, key=lambda group: (-group.requests, group.operator, group.agent, group.usage)))


def _kind(decision: Decision) -> _Kind:
    usage = decision.usage or ""
    return decision.operator, decision.agent, str(usage), str(decision.action)


def _clients(tally: Tally) -> tuple[tuple[Client, ...], tuple[Client, ...]]:
    """Return the clients that are probably wronged, and those without a name that took many works."""
    pl = engine()
    table = tally.clients.table()
    if table is None:
        return (), ()
    table = table.join(tally.client_works.counts(), on="whose", how="left").with_columns(pl.col("works").fill_null(0))
    proven = [n for n, outcome in enumerate(tally.outcomes) if outcome[0].identity is Identity.VERIFIED]
    few = (pl.col("requests") <= MAX_REQUESTS) & (pl.col("works") <= MAX_WORKS)
    refused = table.filter((pl.col("refused") > 0) & few & ~pl.col("outcome").is_in(proven)).sort(
        "refused", "client", "user_agent", descending=[True, False, False]
    )
    listeners = (row for row in refused.iter_rows(named=True) if is_probably_listener(row))
    wronged = list(islice(listeners, MAX_CLIENTS_LISTED))
    unclaimed = table.filter((pl.col("refused") == 0) & (pl.col("works") >= MIN_WORKS))
    unclaimed = unclaimed.sort("works", "requests", "client", "user_agent", descending=[True, True, False, False]).head(
        MAX_CLIENTS_LISTED
    )
    return (
        tuple(_client(tally, row, signals(row)) for row in wronged),
        tuple(_client(tally, row) for row in unclaimed.iter_rows(named=True)),
    )


def _client(tally: Tally, row: Mapping[str, Any], shown: tuple[str, ...] = ()) -> Client:
    decision = tally.outcomes[row["outcome"]][0] if row["outcome"] >= 0 else None
    return Client(
        user_agent=row["user_agent"],
        client=row["client"],
        agent=decision.agent if decision else "",
        usage=str(decision.usage or "") if decision else "",
        rule=decision.rule if decision else "",
        requests=row["requests"],
        works=row["works"],
        bytes=row["bytes"],
        signals=shown,
    )


def _notes(tally: Tally, logs: Sequence[LogFacts], names: Sequence[str]) -> Iterator[str]:
    """Yield what the figures do not show, or stand on."""
    policy = tally.judge.policies[0].policy
    yield (
        "A log holds no header fields beside User-Agent and Referer, and no signatures: who proves itself by a "
        "signature counts as unverified, and a partner as a stranger unless its network says who it is."
    )
    yield "Networks are those that are on this disk now (noai-guard refresh fetches them), whenever a request came."
    yield from dict.fromkeys(f"{log.name}: {log.records}." for log in logs if log.records)
    yield from _header_note(policy, tally)
    unchecked = _requests(tally, lambda decision: decision.unchecked)
    if unchecked:
        yield (
            f"{unchecked} requests would have been checked by asking somebody (reverse DNS, a key directory). A replay "
            f"asks nobody, so they are judged as the policy's on_unknown says: {policy.on_unknown}."
        )
    unjudged = _requests(tally, lambda decision: decision.rule == NOT_LOGGED)
    if unjudged:
        yield (
            f"{unjudged} requests stand without a user agent in logs that hold none: nobody can be recognised there. "
            "Log the field User-Agent to judge them."
        )
    if tally.private > _PROXY_SHARE * sum(each.requests for each in tally.sums):
        yield (
            f"{tally.private} requests come from private addresses, of a proxy of yours probably: log the client's "
            "address instead, or nobody can be told by its network."
        )
    for name, each in zip(names, tally.judge.policies, strict=True):
        if each.policy.mode is Mode.MONITOR:
            yield f"{name} says mode: monitor. What is counted here as refused would only be counted on the site, too."
    if not policy.works.patterns:
        yield "The policy has no works:, so distinct works are not counted."
    yield from _throttle_note(policy, tally)


def _header_note(policy: Policy, tally: Tally) -> Iterator[str]:
    by_header = [rule.id for rule in policy.rules if rule.headers]
    by_header += [agent.name for agent in policy.agents if agent.headers]
    if by_header:
        met = _requests(tally, lambda decision: decision.by_headers)
        undecided = _requests(tally, lambda decision: decision.undecided)
        yield (
            f"Rules and agents that look at header fields never hold here: {listed(by_header)}. They might have "
            f"changed what {met} requests got; {undecided} of these are let in here though their client names an agent."
        )


def _throttle_note(policy: Policy, tally: Tally) -> Iterator[str]:
    if any(outcome[0].action.value == "throttle" for outcome in tally.outcomes):
        rate = f"{policy.throttle.requests} requests in {policy.throttle.seconds} s"
        yield f"throttle: requests over {rate} are counted, in the windows in which the log says that they came."


def _requests(tally: Tally, chosen: Callable[[Decision], bool]) -> int:
    return sum(each.requests for outcome, each in zip(tally.outcomes, tally.sums, strict=True) if chosen(outcome[0]))
