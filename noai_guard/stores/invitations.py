"""The invitations of creators to their page, in a table `noai_invitations` beside their wishes.

An invitation holds nothing secret: the link is its number, signed with a key that is not in the database.
"""

from dataclasses import dataclass
from datetime import datetime

from noai_guard.stores.sql import Database, Timestamp
from noai_guard.stores.wish_table import MAX_TEXT, METADATA

from sqlalchemy import BigInteger, Column, Integer, String, Table, insert, select, update  # isort: skip

TABLE = Table(
    "noai_invitations",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("creator", String(MAX_TEXT), nullable=False, index=True),
    Column("made_by", String(MAX_TEXT), nullable=False),
    Column("made_at", Timestamp, nullable=False),
    Column("expires", Timestamp, nullable=False),
    Column("revoked", Timestamp, nullable=True),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True, slots=True)
class Invitation:
    """Leave for whoever has its link to act as a creator, until it expires or is revoked."""

    id: int
    creator: str
    made_by: str
    made_at: datetime
    expires: datetime
    revoked: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Return True if the invitation has neither expired nor been revoked."""
        return now < self.expires and self.revoked is None


class Invitations:
    """The table of invitations in a database. Every method raises DatabaseFailed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, creator: str, made_by: str, made_at: datetime, expires: datetime) -> Invitation:
        """Invite a creator."""
        values = {"creator": creator, "made_by": made_by, "made_at": made_at, "expires": expires}
        with self._database.writing(TABLE.name) as connection:
            number = connection.execute(insert(TABLE).values(values).returning(TABLE.c.id)).scalar_one()
        return Invitation(number, creator, made_by, made_at, expires)

    def get(self, number: int) -> Invitation | None:
        """Return an invitation by its number, or None."""
        with self._database.reading() as connection:
            row = connection.execute(select(TABLE).where(TABLE.c.id == number)).first()
            return None if row is None else Invitation(**row._mapping)

    def all(self, creator: str = "") -> list[Invitation]:
        """Return the invitations of one creator or of all, in the order in which they were made."""
        query = select(TABLE).order_by(TABLE.c.id)
        with self._database.reading() as connection:
            found = connection.execute(query.where(TABLE.c.creator == creator) if creator else query)
            return [Invitation(**row._mapping) for row in found]

    def revoke(self, creator: str, now: datetime, number: int = 0) -> int:
        """Revoke the invitations of a creator that are not revoked yet, or only one. Return how many were."""
        query = update(TABLE).where(TABLE.c.creator == creator, TABLE.c.revoked.is_(None))
        query = query.where(TABLE.c.id == number) if number else query
        with self._database.writing(TABLE.name) as connection:
            return connection.execute(query.values(revoked=now)).rowcount
