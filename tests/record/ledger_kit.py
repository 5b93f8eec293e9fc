"""A ledger that is written at any time, by the code that the command uses."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from noai_guard.config import check_policy_text
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Agent, Usage
from noai_guard.core.policy import LedgerPolicy, Policy
from noai_guard.record.ledger import Ledger
from noai_guard.record.ledger_files import read_ledger
from noai_guard.record.ledger_keys import SigningKey, new_key
from noai_guard.record.publishing import Signing, draft, publish, rotation

DAY = timedelta(days=1)
START = datetime(2026, 1, 10, 12, tzinfo=UTC)
STRICT = "usages: {train-ai: no}\npaths: {/press/**: {usages: {ai-search: no}}}\n"
LOOSER = "usages: {train-ai: no}\npaths: {/press/**: {usages: {train-ai: yes}}}\n"

AGENTS = Catalog(
    [
        Agent("GPTBot", "OpenAI", (Usage.TRAIN_AI,), ("GPTBot",), rfc9309_product_token="GPTBot"),
        Agent("SearchAI", "Answers", (Usage.AI_SEARCH, Usage.SEARCH), ("SearchAI",)),
        Agent("AhrefsBot", "Rankings", (Usage.SEO,), ("AhrefsBot",)),
        Agent("FriendlySearch", "Search", (Usage.SEARCH,), ("FriendlySearch",)),
    ],
    version="small",
)
"""Few agents: entries are made in no time."""


def policy_of(text: str, folder: Path | str = "", notice: int = 30, key: str = "") -> Policy:
    policy, problems = check_policy_text(text.encode())
    assert policy is not None, problems
    return replace(policy, ledger=LedgerPolicy(str(folder), notice, key))


@dataclass
class Book:
    """A ledger in a folder with its key."""

    folder: Path
    catalog: Catalog = AGENTS
    key: SigningKey = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = new_key(self.folder / "signing.key")

    @property
    def path(self) -> Path:
        return self.folder / "noai-ledger"

    @property
    def ledger(self) -> Ledger:
        return read_ledger(self.path)

    def publish(self, text: str, at: datetime = START, reason: str = "", notice: int = 30, **more: Any) -> Path:
        policy = policy_of(text, self.path, notice)
        ledger = self.ledger if self.path.exists() else None
        catalog = more.pop("catalog", self.catalog)
        drafted = draft(policy, catalog, ledger, at, bool(reason))
        by = Signing("Ines", self.key, at, reason, **more)
        return publish(self.path, policy, catalog, ledger, drafted, by)

    def rotate(self, at: datetime) -> None:
        new = new_key(self.folder / f"{at:%Y%m%d}.key")
        ledger = self.ledger
        policy = ledger.head.policy(policy_of("", self.path))
        by = Signing("Ines", self.key, at, new_key=new)
        publish(self.path, policy, self.catalog, ledger, rotation(ledger, at), by)
        self.key = new
