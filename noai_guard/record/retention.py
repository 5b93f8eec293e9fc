"""Retention: events that are older than a policy keeps them are removed, and their addresses, perhaps, before that."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

from noai_guard.record.event_files import COMPRESSED, PLAIN, ReadProblems, event_files, read_events
from noai_guard.record.event_record import encode
from noai_guard.record.file_output import day_of, locked, seal, write_compressed
from noai_guard.record.kept_keys import remove_kept_keys
from noai_guard.record.pseudonyms import KEYS_FOLDER, remove_keys


@dataclass(slots=True)
class Pruned:
    """What was done: files by path; `in_use` are those that a process still writes to, and that were left alone."""

    removed: list[Path] = field(default_factory=list)
    stripped: list[Path] = field(default_factory=list)
    sealed: list[Path] = field(default_factory=list)
    keys: list[Path] = field(default_factory=list)
    in_use: list[Path] = field(default_factory=list)
    problems: ReadProblems = field(default_factory=ReadProblems)


def prune(folder: Path, keep: int, *, today: date, strip: int | None = None, keep_keys: bool = False) -> Pruned:
    """Remove events of days before the last `keep` days, and their keys; without `keep_keys` all keys but today's.

    With `strip`, addresses and pseudonyms are taken out of events of days before the last `strip` days; a line that
    cannot be read is taken out too. Files of dead processes are compressed. Files with other names are left alone.
    Raises OSError, and MissingExtra if zstandard is not installed.
    """
    pruned = Pruned()
    for path in event_files([folder]):
        day = day_of(path)
        if day is None:
            continue
        age = today - day
        if age < timedelta(days=keep) and (strip is None or age < timedelta(days=strip)):
            continue
        with path.open("rb") as file:
            if not locked(file.fileno()):
                pruned.in_use.append(path)
            elif age >= timedelta(days=keep):
                path.unlink()
                pruned.removed.append(path)
            elif _has_addresses(path):
                _strip(path, pruned.problems)
                pruned.stripped.append(path)
    pruned.sealed = seal(folder)
    first = today - timedelta(days=keep - 1) if keep_keys else today
    with suppress(FileNotFoundError):
        pruned.keys = remove_keys(folder / KEYS_FOLDER, first.isoformat())
    pruned.removed += remove_kept_keys(folder, today - timedelta(days=keep - 1))
    return pruned


def _has_addresses(path: Path) -> bool:
    return any(event.record.client for event in read_events([path]))


def _strip(path: Path, problems: ReadProblems) -> None:
    """Write a file again, compressed, without addresses, and remove it if it was not compressed."""

    def lines() -> Iterator[bytes]:
        for event in read_events([path], problems):
            yield encode(replace(event.record, client="")) + b"\n"

    target = path if path.name.endswith(COMPRESSED) else path.with_name(f"{path.name.removesuffix(PLAIN)}{COMPRESSED}")
    write_compressed(target, lines())
    if target != path:
        path.unlink()
