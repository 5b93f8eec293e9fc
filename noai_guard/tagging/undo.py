"""The way back: for each tagged file what leads to its bytes of before, in one SQLite file.

An entry is written to the disk before the file is replaced, so there is no moment in which a killed process could leave
a tagged file without it.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from noai_guard.errors import NoAIGuardError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS changes (
  id INTEGER PRIMARY KEY, path TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL, at REAL NOT NULL,
  delta BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS changes_by_path ON changes (path);
"""
_WAIT = 60.0
"""Seconds to wait for another process that writes."""


class NoUndoFile(NoAIGuardError):
    """The file with the way back cannot be used."""


class Change(NamedTuple):
    """One change of a file: the digests (SHA-256) of its versions, and what leads from the later to the earlier."""

    id: int
    before: str
    after: str
    delta: bytes


class UndoFile:
    """The file with the way back. Each call opens it, so that it can be used from several processes."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def prepare(self) -> None:
        """Make the file if there is none. Raises NoUndoFile."""
        with self._connected() as connection:
            connection.executescript(_SCHEMA)

    def add(self, path: Path, before: str, after: str, delta: bytes) -> int:
        """Write an entry to the disk, and return its number."""
        with self._connected() as connection:
            cursor = connection.execute(
                "INSERT INTO changes (path, before, after, at, delta) VALUES (?, ?, ?, ?, ?)",
                (_key(path), before, after, time.time(), delta),
            )
            return cursor.lastrowid or 0

    def remove(self, id: int) -> None:
        """Remove an entry."""
        with self._connected() as connection:
            connection.execute("DELETE FROM changes WHERE id = ?", (id,))

    def changes(self, path: Path) -> list[Change]:
        """Return the changes of a file, the last one first."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT id, before, after, delta FROM changes WHERE path = ? ORDER BY id DESC", (_key(path),)
            )
            return [Change(*row) for row in rows]

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.file, timeout=_WAIT)) as connection, connection:
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
        except sqlite3.Error as error:
            raise NoUndoFile(f"{self.file} cannot be used: {error}; name another file with --undo-file") from error


def digest_of(stream: BinaryIO) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    stream.seek(0)
    digest = hashlib.sha256()
    while part := stream.read(1024 * 1024):
        digest.update(part)
    return digest.hexdigest()


def _key(path: Path) -> str:
    # The same file by another way: `..`, or a link among the folders. Its own name is no link, so that is as it is.
    folder = os.path.realpath(path.parent)
    # Names of files are bytes; SQLite has no text for those that are not UTF-8.
    return os.path.join(folder, path.name).encode("utf-8", "backslashreplace").decode("utf-8")
