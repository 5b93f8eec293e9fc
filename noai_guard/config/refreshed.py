"""What `noai-guard refresh` has fetched, kept in one file: networks that operators publish, and agents of feeds."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from noai_guard.config.feeds import effect_of
from noai_guard.config.regular_file import read_regular_file
from noai_guard.core.catalog import Catalog
from noai_guard.core.identity.published import PublishedRanges
from noai_guard.core.networks import parse_network

FILE = "refreshed.json"
_FORMAT = 1
_MAX_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class FetchedList:
    """One list as it was fetched last with success, and what became of the last attempt.

    `content` are networks, or entries of agents; None until the first success. Times are in seconds since 1970;
    `problem` is empty if the last attempt succeeded.
    """

    content: list[Any] | None = None
    fetched_at: float = 0.0
    tried_at: float = 0.0
    problem: str = ""


@dataclass(slots=True)
class Refreshed:
    """All fetched lists, by address."""

    ranges: dict[str, FetchedList] = field(default_factory=dict)
    feeds: dict[str, FetchedList] = field(default_factory=dict)

    @property
    def all(self) -> Mapping[str, FetchedList]:
        """Every list by its address."""
        return {**self.ranges, **self.feeds}

    @property
    def tried_at(self) -> float:
        """The time of the last attempt; 0 if there was none."""
        return max((each.tried_at for each in self.all.values()), default=0.0)


def read_refreshed(folder: str | Path) -> Refreshed:
    """Return what was fetched into a folder; nothing if nothing was. Raises ValueError if the file is damaged."""
    try:
        body = read_regular_file(Path(folder) / FILE, _MAX_BYTES)
    except FileNotFoundError:
        return Refreshed()
    except OSError as error:
        raise ValueError(f"{Path(folder) / FILE} cannot be read: {error.strerror}") from None
    try:
        data = json.loads(body)
        if data["format"] != _FORMAT:
            raise ValueError("another format")
        refreshed = Refreshed(
            *({url: FetchedList(**each) for url, each in data[key].items()} for key in ("ranges", "feeds"))
        )
        for each in refreshed.ranges.values():
            for network in each.content or ():
                parse_network(network)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        message = f"{Path(folder) / FILE} is damaged; remove it, then run noai-guard refresh"
        raise ValueError(message) from None
    return refreshed


def write_refreshed(folder: str | Path, refreshed: Refreshed) -> None:
    """Put the file in place as a whole. Raises OSError; the earlier file is then as it was."""
    target = Path(folder) / FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{FILE}.{os.getpid()}")
    data = {
        "format": _FORMAT,
        **{
            key: {url: {name: getattr(each, name) for name in FetchedList.__slots__} for url, each in lists.items()}
            for key, lists in (("ranges", refreshed.ranges), ("feeds", refreshed.feeds))
        },
    }
    try:
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def with_refreshed(catalog: Catalog, refreshed: Refreshed, feeds: tuple[str, ...]) -> Catalog:
    """Return the catalogue with younger networks, and with the agents of the feeds that the policy names."""
    ranges = dict(catalog.ranges)
    for uri, each in refreshed.ranges.items():
        packaged = ranges.get(uri)
        if each.content and (packaged is None or packaged.published_at < each.fetched_at):
            date = datetime.fromtimestamp(each.fetched_at, UTC).strftime("%Y-%m-%d")
            ranges[uri] = PublishedRanges(uri, date, each.fetched_at, each.content)
    agents = catalog.agents
    # What people's user agents are was looked at when the feed was fetched.
    entries = [entry for url in feeds if url in refreshed.feeds for entry in refreshed.feeds[url].content or ()]
    if entries:
        agents = effect_of(entries, catalog, ()).extended(agents)
    if not entries and not refreshed.ranges:
        return catalog
    state = json.dumps([entries, {uri: each.fetched_at for uri, each in refreshed.ranges.items()}]).encode()
    version = f"{catalog.version}+{hashlib.sha256(state).hexdigest()[:6]}"
    return Catalog(agents, version, ranges)
