"""Files that a command writes below a folder: only what changed, all or none."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from noai_guard.cli.console import CannotRun, unwritable
from noai_guard.declarations.robots_file import MAX_BYTES


def written(files: Mapping[Path, bytes], only_check: bool = False) -> dict[Path, str]:
    """Writes the files that differ from what is on disk; returns what became of each: `wrote` or `current`.

    With `only_check` nothing is written, and a file that differs is `stale`.
    """
    stale = {file: content for file, content in files.items() if content_of(file) != content}
    if not only_check:
        _write(stale)
    changed = "stale" if only_check else "wrote"
    return {file: changed if file in stale else "current" for file in files}


def existing_robots(file: str) -> bytes:
    """The site's own robots.txt, as far as parsers read it."""
    try:
        with Path(file).open("rb") as stream:
            return stream.read(MAX_BYTES)
    except OSError as error:
        raise CannotRun(f"{file} cannot be read: {error.strerror}; name the site's robots.txt") from error


def content_of(file: Path) -> bytes | None:
    """What a file holds; None when it is not there."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotRun(f"{file} cannot be read: {error.strerror}; choose another folder with --out") from error


def _write(files: Mapping[Path, bytes]) -> None:
    """All files beside their places first, then all into place."""
    partial = {file: file.with_name(f".{file.name}.{os.getpid()}.partial") for file in files}
    try:
        for file, content in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            partial[file].write_bytes(content)
        for file in files:
            partial[file].replace(file)
    except OSError as error:
        _remove(partial.values())
        raise unwritable(error) from error


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        try:
            file.unlink()
        except OSError:
            continue
