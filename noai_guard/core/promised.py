"""What a site has promised beside the policy that it loads, as far as serving needs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from noai_guard.core.model import Document
from noai_guard.core.policy import Policy

HISTORY_PATH = "/.well-known/noai-history"
"""Where the public history is: a page, JSON or Atom by Accept, or behind `.json` and `.atom`."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """Changes, as sentences, that take effect at a moment."""

    effective: datetime
    changes: tuple[str, ...]

    @property
    def day(self) -> str:
        """The day (UTC) on which they take effect."""
        return self.effective.astimezone(UTC).date().isoformat()


@dataclass(frozen=True, slots=True)
class Promised:
    """What goes with a loaded policy. The strictest of it and `policies` is in force.

    `announcements` stand on the page for people, `documents` are served beside the declarations; `alternatives` are,
    by path and media type, what else the document there may be. `entry` is the number of the ledger's entry in force,
    `digest` that of the loaded policy.
    """

    policies: tuple[Policy, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    documents: tuple[Document, ...] = ()
    alternatives: Mapping[str, Mapping[str, Document]] = field(default_factory=dict)
    entry: int | None = None
    digest: str = ""


NOTHING_PROMISED = Promised()
