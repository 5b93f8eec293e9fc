"""Fetch the networks that operators publish, and the feeds that a site names."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from noai_guard.config.feeds import effect_of, read_feed
from noai_guard.config.refreshed import FetchedList, Refreshed
from noai_guard.core.catalog import Catalog
from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.identity.range_documents import change_problem, read_ranges
from noai_guard.core.model import Agent
from noai_guard.core.policy import Policy
from noai_guard.outbound import Fetched, Limits, NotFetched, fetch

LIMITS = Limits(seconds=30.0, max_bytes=8 * 1024 * 1024, redirects=3)
"""Bounds of one list. The largest that is published had 90 KB (2026-11)."""

_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one list: "new", "changed", "same" or "kept" (it could not be taken), and a sentence."""

    address: str
    result: str
    detail: str


@dataclass(frozen=True, slots=True)
class Refresh:
    """The lists after a refresh, what became of each, notes on entries that are not taken, and the names of the agents
    that the policy refuses after it and did not refuse before."""

    refreshed: Refreshed
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...]
    newly_refused: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """True if a list could not be taken, so that the last good one stays."""
        return any(outcome.result == "kept" for outcome in self.outcomes)


def range_addresses(catalog: Catalog) -> tuple[str, ...]:
    """Return the addresses of all lists of networks that operators publish."""
    uris = (uri for agent in catalog.agents for uri in agent.verify.get("ips_uri", ()))
    return tuple(dict.fromkeys(uris))


def refresh(
    policy: Policy,
    catalog: Catalog,
    before: Refreshed,
    now: float,
    welcome: Sequence[str],
    *,
    fetching: Callable[[str, Limits], Fetched] = fetch,
) -> Refresh:
    """Fetch every list anew. `catalog` is the one without what was fetched; `now` is in seconds since 1970.

    `welcome` are user agents that must never be refused. A list that cannot be fetched, read or believed leaves the one
    before in place. Raises MissingExtra if nothing can be fetched.
    """
    packaged = {uri: list(published.texts) for uri, published in catalog.ranges.items()}
    ranges = [uri for uri in range_addresses(catalog) if uri.startswith("https://")]
    with ThreadPoolExecutor(_AT_ONCE, "noai-guard-refresh") as pool:
        bodies = dict(
            zip((*ranges, *policy.feeds), pool.map(_fetched(fetching), (*ranges, *policy.feeds)), strict=True)
        )

    def networks(body: bytes, last: list[str] | None) -> list[str]:
        read = list(read_ranges(body))
        if last and (problem := change_problem(last, read)):
            raise ValueError(problem)
        return read

    after = Refreshed()
    outcomes: list[Outcome] = []
    for uri in ranges:
        last = before.ranges.get(uri, FetchedList())
        known = last.content or packaged.get(uri)
        after.ranges[uri], outcome = _taken(uri, bodies[uri], last, known, now, networks, "network")
        outcomes.append(outcome)
    for url in policy.feeds:
        last = before.feeds.get(url, FetchedList())
        after.feeds[url], outcome = _taken(
            url, bodies[url], last, last.content, now, lambda body, _: read_feed(body), "agent"
        )
        outcomes.append(outcome)
    effect = effect_of(_entries(policy, after), catalog, welcome)
    # What would be taken for people is thrown away here, so that whoever reads the file need not look again.
    for each in after.feeds.values():
        if each.content is not None:
            each.content = [entry for entry in each.content if entry["name"] not in effect.left_out]
    newly = tuple(sorted(_refused(policy, catalog, after) - _refused(policy, catalog, before)))
    return Refresh(after, tuple(outcomes), effect.notes, newly)


def _fetched(fetching: Callable[[str, Limits], Fetched]) -> Callable[[str], bytes | str]:
    """Return a function that returns the body at an address, or why there is none."""

    def fetched(address: str) -> bytes | str:
        try:
            return fetching(address, LIMITS).body
        except NotFetched as error:
            return str(error)

    return fetched


def _taken(
    address: str,
    body: bytes | str,
    last: FetchedList,
    known: list[Any] | None,
    now: float,
    read: Callable[[bytes, list[Any] | None], list[Any]],
    noun: str,
) -> tuple[FetchedList, Outcome]:
    problem = body if isinstance(body, str) else ""
    if isinstance(body, bytes):
        try:
            content = read(body, known)
        except ValueError as error:
            problem = str(error)
        else:
            count = f"{len(content):,} {noun}{'s' * (len(content) != 1)}"
            if known is None:
                outcome = Outcome(address, "new", count)
            elif content == known:
                outcome = Outcome(address, "same", count)
            else:
                outcome = Outcome(address, "changed", f"{count}, {len(known):,} before")
            return FetchedList(content, now, now), outcome
    kept = "the last good list stays" if known else "there is no list"
    return replace(last, tried_at=now, problem=problem[:300]), Outcome(address, "kept", f"{problem[:300]}; {kept}")


def _entries(policy: Policy, refreshed: Refreshed) -> list[dict[str, Any]]:
    return [entry for url in policy.feeds for entry in (refreshed.feeds.get(url) or FetchedList()).content or ()]


def _refused(policy: Policy, catalog: Catalog, refreshed: Refreshed) -> set[str]:
    """Return the names of the agents of feeds, and of those that feeds made stricter, that are refused."""
    effect = effect_of(_entries(policy, refreshed), catalog, ())
    table = DecisionTable(policy, Catalog((*effect.added, *effect.tightened)))
    stricter = {agent.name for agent in effect.tightened if _is_refused(table, catalog.agent(agent.name))}
    return {
        agent.name
        for agent in (*effect.added, *effect.tightened)
        if agent.name not in stricter and _is_refused(table, agent)
    }


def _is_refused(table: DecisionTable, agent: Agent | None) -> bool:
    return table.verdict(agent, table.path_classes["/"]).action.restricts
