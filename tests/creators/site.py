"""A music site with two creators, its page served in this process, and what each of them holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.testclient import TestClient

from noai_guard.core.model import Usage
from noai_guard.core.wishes import Choice
from noai_guard.creators import app
from noai_guard.creators.keys import Keys
from noai_guard.stores.invitations import Invitation, Invitations
from noai_guard.stores.wish_table import ALL_WORKS, Row, WishTable

POLICY = """\
site: {url: https://music.example, name: Example Records, owner: Example Records Ltd, contact: rights@music.example}
works: ["/audio/{work}.mp3", "/hls/{work}/**"]
"""
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ADA, EVE = "Ada Äther", "Eve"
ADAS_WORK, EVES_WORK = "ada-secret-song", "eve-tune"
TRAIN = Usage.TRAIN_AI


@dataclass
class Clock:
    """The time of the page, which tests move."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **time: float) -> None:
        self.now += timedelta(**time)


@dataclass
class MusicSite:
    """The page of a site, with its database and links."""

    folder: Path
    policy: str = POLICY
    options: dict[str, Any] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    address: str = ""

    def __post_init__(self) -> None:
        self.keys = Keys(["k" * 43])
        self.policy_file = self.folder / "noai.yaml"
        self.policy_file.write_text(self.policy, encoding="utf-8")
        self.address = self.address or f"sqlite:///{self.folder}/wishes.sqlite"
        self.table = WishTable.at(self.address)
        self.invitations = Invitations(self.table.database)
        self.table.add(
            [
                self.row(ADA, ADAS_WORK, title="Ada's Secret", isrc="DEA012600001"),
                self.row(ADA, "ada-other"),
                self.row(EVE, EVES_WORK, title="Eve's Tune"),
            ]
        )
        options = {"keys": self.keys, "clock": self.clock, **self.options}
        self.app: Starlette = app(self.policy_file, database=self.address, **options)

    @property
    def today(self) -> date:
        return self.clock.now.date()

    def row(
        self, creator: str, work: str, choice: Choice = Choice.UNSET, usage: Usage | None = None, **facts: Any
    ) -> Row:
        return Row(
            creator, work, choice, usage, **{"set_by": "label", "set_at": self.clock.now, "since": self.today, **facts}
        )

    def invitation(self, creator: str, days: float = 30) -> Invitation:
        return self.invitations.add(creator, "label", self.clock.now, self.clock.now + timedelta(days=days))

    def token(self, creator: str, days: float = 30) -> str:
        return self.keys.link_token(self.invitation(creator, days))

    def client(self, **options: Any) -> TestClient:
        """Return a browser that follows no redirects."""
        return TestClient(self.app, "https://music.example", follow_redirects=False, **options)

    def signed_in(self, creator: str) -> TestClient:
        """Return the browser of a creator who has opened the link."""
        client = self.client()
        response = client.get("/open", params={"t": self.token(creator)})
        assert response.status_code == 303
        return client

    def of_api(self, creator: str) -> TestClient:
        """Return a client of the API with the token of a creator."""
        return self.client(headers={"Authorization": f"Bearer {self.token(creator)}"})

    def form(self, client: TestClient, work: str = ALL_WORKS, **choices: str) -> dict[str, str]:
        """Return the fields of the form for a work as a browser would send them, with some choices changed."""
        page = client.get("/") if work == ALL_WORKS else client.get("/work", params={"name": work})
        assert page.status_code == 200
        fields = form_fields(page.text, work)
        fields.update({f"usage-{usage.replace('_', '-')}": choice for usage, choice in choices.items()})
        return fields

    def choices(self, creator: str, work: str, day: date | None = None) -> dict[Usage, Choice]:
        """Return what is in force for a work, as the guard reads it."""
        found = [w for w in self.table.read(day or self.today) if (w.creator, w.work) == (creator, work)]
        return dict(found[0].choices) if found else {}


def form_fields(page: str, work: str) -> dict[str, str]:
    """Return the fields of the form with radio buttons for a work, as they stand in a page."""
    from lxml import html

    document = html.fromstring(page)
    for form in document.forms:
        if form.fields.get("work") == work and form.xpath(".//input[@type='radio']"):
            return {name: value for name, value in form.fields.items() if value is not None}
    raise AssertionError(f"no form for {work}")


@contextmanager
def music_site(folder: Path, **options: Any) -> Iterator[MusicSite]:
    site = MusicSite(folder, **options)
    try:
        yield site
    finally:
        site.table.database.close()
        site.app.state.backend.table.database.close()
