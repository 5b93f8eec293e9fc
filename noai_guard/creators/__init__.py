"""Creators: the page on which they see what is done with their works, and say what may be."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from noai_guard.config.wishes import is_database
from noai_guard.core.policy import Policy
from noai_guard.errors import MissingExtra

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from noai_guard.creators.keys import Keys
    from noai_guard.creators.visits import Visits


def _utc_now() -> datetime:
    return datetime.now(UTC)


DEFAULT_DATABASE = "sqlite:///noai-wishes.sqlite"
"""Where wishes are kept unless the policy or the caller says otherwise."""

DEFAULT_KEYS = "noai-creators.key"
NOTICE_DAYS = 30
"""Days after which a wish that loosens holds, unless somebody says otherwise."""


def database_of(policy: Policy, database: str | None = None) -> str:
    """Return the address of the database with wishes: the one that is named, else the policy's, else the default.

    Raises ValueError if the policy names a catalogue, in which the page could write nothing down.
    """
    source = database or policy.creators.source or DEFAULT_DATABASE
    if database is None and not is_database(source):
        raise ValueError(f"wishes: of the policy is a catalogue; write {DEFAULT_DATABASE}, and import the catalogue")
    return source


def notice_of(policy: Policy, notice: int | None = None) -> int:
    """Return after how many days a wish that loosens holds: as named, else what the ledger owes, else NOTICE_DAYS."""
    if notice is not None:
        return notice
    return policy.ledger.notice if policy.ledger else NOTICE_DAYS


def app(
    policy: str | Path | Policy | None = None,
    *,
    database: str | None = None,
    keys: "Keys | str | Path" = DEFAULT_KEYS,
    texts: str | Path | None = None,
    ledger: str | Path | None = None,
    visits: "Visits | str | Path | None" = None,
    notice: int | None = None,
    clock: Callable[[], datetime] = _utc_now,
) -> "Starlette":
    """Return the creator's page as an app, to be mounted under a path of its own or to be served.

    `policy` is the site's: a file, which is read again when it changes, or a Policy; None for the packaged stance.
    `database` is where wishes are kept, `sqlite:///FILE` or `postgresql://...`; if left out, where the policy's
    `wishes:` says, else in noai-wishes.sqlite. `keys` sign the links: a file, as `noai-guard creators key` makes it, or
    Keys. `texts` is a file with the site's own texts. `ledger` is the folder of the ledger; if left out, that of the
    policy. `visits` says who came: a folder of event files, or an object of the site's own; if left out, the event
    files of the policy. `notice` is the number of days after which a wish that loosens holds; if left out, that of the
    ledger, else 30. `clock` returns the moment, in UTC.

    Raises Invalid for a policy or texts with mistakes, KeysInvalid, ValueError for an address that is no database, and
    MissingExtra.
    """
    try:
        from noai_guard.creators.application import creators_app
    except ModuleNotFoundError as error:
        if error.name in ("itsdangerous", "jinja2"):
            raise MissingExtra("creators", "the creator's page") from None
        raise
    return creators_app(policy, database, keys, texts, ledger, visits, notice, clock)
