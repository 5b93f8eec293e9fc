"""A database over SQLAlchemy: SQLite in a file, or PostgreSQL. The only module that knows how the two differ."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from noai_guard.errors import MissingExtra, Unanswered

try:
    from sqlalchemy import DateTime, MetaData, create_engine, event, text
    from sqlalchemy.engine import Connection, Engine, make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError
    from sqlalchemy.types import TypeDecorator
except ImportError:
    raise MissingExtra("creators", "wishes in a database") from None

SCHEMES = ("sqlite:///", "postgresql://")
"""What the address of a database begins with."""

CONNECT_SECONDS = 5
LOCK_SECONDS = 10
"""How long a writer waits for another one."""

ROWS_AT_ONCE = 5_000

_TABLES_LOCK = 0x6E6F6169  # any number that nobody else takes for a lock
_PASSWORD = re.compile(r"(?<=:)[^:@/]*(?=@)")


class DatabaseFailed(Unanswered):
    """A database cannot be opened, read or written. The message holds no password."""


class Timestamp(TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """A database at an address; it is opened when it is first used, once in each process.

    The file and the tables of `metadata` are made where they are missing, unless it is `only_read`: what is lost must
    not become an empty one. May be used by several threads.
    """

    def __init__(self, address: str, metadata: MetaData, *, only_read: bool = False) -> None:
        """Raises ValueError for an address that is none of `SCHEMES`."""
        if not address.startswith(SCHEMES):
            raise ValueError(f"not the address of a database; write {' or '.join(f'{each}...' for each in SCHEMES)}")
        try:
            self._url = make_url(address)
        except (ArgumentError, ValueError):
            raise ValueError("not the address of a database that can be read") from None
        self.is_sqlite = address.startswith("sqlite:")
        if self.is_sqlite and self._url.database in (None, "", ":memory:"):
            raise ValueError("the address names no file; write sqlite:///wishes.sqlite")
        self._metadata = metadata
        self._only_read = only_read
        # By process: those of the process that this one was forked from are kept, so that nobody closes them.
        self._engines: dict[int, tuple[Engine, _File]] = {}

    def __str__(self) -> str:
        return self._url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Provide a connection that sees one state of the database. Raises DatabaseFailed."""
        with self._translating_errors(), self._engine().connect() as connection:
            yield connection

    @contextmanager
    def writing(self, table: str) -> Iterator[Connection]:
        """Provide a connection that no other writer of the table comes between, committed at the end.

        So ids are visible in the order in which they were given: a reader that has seen one has seen all below it.
        Raises DatabaseFailed.
        """
        with self._translating_errors(), self._engine().connect() as connection:
            connection = connection.execution_options(noai_writes=True)
            with connection.begin():
                if not self.is_sqlite:
                    connection.execute(text(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"))
                yield connection

    def close(self) -> None:
        """Close all connections of this process."""
        if opened := self._engines.pop(os.getpid(), None):
            opened[0].dispose()

    def _engine(self) -> Engine:
        opened = self._engines.get(os.getpid())
        file = self._file()
        if opened is not None and opened[1] == file:
            return opened[0]
        if self.is_sqlite and file is None and (self._only_read or opened is not None):
            raise DatabaseFailed(f"{self}: there is no such file")
        self.close()
        made = _sqlite(self._url, only_read=self._only_read) if self.is_sqlite else _postgresql(self._url)
        try:
            if not self._only_read:
                self._make_tables(made)
        except BaseException:
            made.dispose()
            raise
        engine, _ = self._engines.setdefault(os.getpid(), (made, self._file()))
        if engine is not made:  # another thread was faster
            made.dispose()
        return engine

    def _file(self) -> "_File":
        """Return what tells the file from another one in its place; None if there is none."""
        if not self.is_sqlite:
            return None
        try:
            facts = os.stat(str(self._url.database))
        except OSError:
            return None
        return facts.st_dev, facts.st_ino

    def _make_tables(self, engine: Engine) -> None:
        with engine.connect().execution_options(noai_writes=True) as connection, connection.begin():
            if not self.is_sqlite:
                if all(engine.dialect.has_table(connection, name) for name in self._metadata.tables):
                    return  # a user who may only read can read
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_TABLES_LOCK})"))
            self._metadata.create_all(connection)

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise DatabaseFailed(f"{self}: {_PASSWORD.sub('***', reason)}") from None


_File = tuple[int, int] | None


def _sqlite(url: Any, *, only_read: bool) -> Engine:
    # A reader writes too, to the file beside a database in WAL mode; `rw` makes no database.
    address = f"file:{quote(os.path.abspath(url.database))}?mode={'rw' if only_read else 'rwc'}"
    engine = create_engine(
        url, creator=lambda: sqlite3.connect(address, uri=True, timeout=LOCK_SECONDS, check_same_thread=False)
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        # Python would begin a transaction only before the first change, and then not as a writer.
        connection.isolation_level = None
        # One writer and any number of readers at a time, and what is committed outlives a power cut.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("noai_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: Any) -> Engine:
    options = (
        f"-c lock_timeout={LOCK_SECONDS * 1000} -c timezone=UTC -c default_transaction_isolation=repeatable\\ read"
    )
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": CONNECT_SECONDS, "options": options},
        pool_pre_ping=True,
    )
