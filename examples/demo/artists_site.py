"""The label's site as its artists want it: wishes, their page, events and a ledger; and what it says of an album."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from xml.etree import ElementTree

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount

from examples.music_site import label
from examples.music_site.app import create_site
from examples.music_site.label import Artist, Track
from noai_guard import NoAIMiddleware, creators
from noai_guard.config import load_policy
from noai_guard.core.model import Usage
from noai_guard.core.wishes import WISHED_USAGES, Choice
from noai_guard.creators.keys import add_key, read_keys
from noai_guard.stores.invitations import Invitations
from noai_guard.stores.wish_table import Row, WishTable

POLICY = """\
site: {url: "https://night-ferry.example", name: Night Ferry Records, owner: Night Ferry Records}
usages: {train-ai: no, ai-search: yes, ai-input: yes, ai-agent: yes}
works: ["/audio/{work}.wav", "/tracks/{work}"]
wishes: sqlite:///noai-wishes.sqlite
creators: decide
events: {}
"""
"""AI may search and answer, and may not train; but artists decide about their own works."""

CLOSED = label.HALVORSEN
"""Says no to all AI, while the site runs."""
OPEN = label.MOTH_ATLAS
"""Agreed to training forty days ago."""
UNDECIDED = label.KITE_HARBOUR

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:154.0) Gecko/20100101 Firefox/154.0"
GPTBOT = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2)"
SEARCHBOT = "Mozilla/5.0 (compatible; OAI-SearchBot/1.0; +https://openai.com/searchbot)"

_RSL = "{https://rslstandard.org/rsl}"


@dataclass(frozen=True, slots=True)
class Said:
    """What a site does and says about one work, on each of its paths: the status that a crawler for training and one
    for AI search get; what header fields, robots.txt, tdmrep.json and license.xml say, and the metas and the JSON-LD of
    its page."""

    training: int
    search: int
    usage: str
    robots: str
    header: str
    meta: str
    tdmrep: int
    prohibited: str
    notice: bool

    @property
    def words(self) -> str:
        """All of it on one line."""
        return (
            f"GPTBot gets {self.training}, OAI-SearchBot {self.search}; Content-Usage: {self.usage}; robots.txt: "
            f"{self.robots}; TDM-Reservation: {self.header}; meta: {self.meta}; tdmrep.json: {self.tdmrep}; RSL "
            f"prohibits {self.prohibited or 'nothing'}; JSON-LD {'reserves' if self.notice else 'does not reserve'} "
            "training"
        )


_NONE, _ALL, _ANSWERS = (f"train-ai={train}, ai-use={use}, search=y" for train, use in ("nn", "yy", "ny"))

EXPECTED: Mapping[Artist, Said] = {
    CLOSED: Said(403, 403, _NONE, _NONE, "1", "1", 1, "ai-all", True),
    OPEN: Said(200, 200, _ALL, _ALL, "0", "0", 0, "", False),
    UNDECIDED: Said(403, 200, _ANSWERS, _ANSWERS, "1", "1", 1, "ai-train", True),
}


def said(url: str, work: Track) -> set[Said]:
    """Ask a site for a work, its page and the documents, and return what they say: one thing, if all agree."""
    robots, tdmrep, licence = (
        fetched(url + path)[2].decode() for path in ("/robots.txt", "/.well-known/tdmrep.json", "/license.xml")
    )
    locations = {each["location"]: each["tdm-reservation"] for each in json.loads(tdmrep)}
    contents = {each.get("url"): each for each in ElementTree.fromstring(licence).iter(f"{_RSL}content")}
    usages: dict[str, str] = dict(re.findall(r"^Content-Usage: (?:(/\S+) )?(.+)$", robots, re.MULTILINE))
    paths = paths_of(work)
    page = fetched(url + paths[1])[2].decode()
    facts = _json_ld(page)
    assert facts["isrcCode"] == work.isrc.replace("-", "")
    (meta,) = re.findall(r'<meta name="tdm-reservation" content="(.*?)">', page) or [""]
    found = set()
    for path in paths:
        headers = fetched(url + path)[1]
        exact = f"{path}$"
        prohibited = [each.text or "" for each in contents.get(exact, contents["/"]).iter(f"{_RSL}prohibits")]
        found.add(
            Said(
                fetched(url + path, GPTBOT)[0],
                fetched(url + path, SEARCHBOT)[0],
                headers["content-usage"],
                usages.get(exact, usages[""]),
                headers["tdm-reservation"],
                meta,
                locations.get(exact, locations["/"]),
                " ".join(prohibited),
                "copyrightNotice" in facts,
            )
        )
    return found


def paths_of(work: Track) -> tuple[str, str]:
    """Return the paths of a recording and of its page."""
    return f"/audio/{work.slug}.wav", f"/tracks/{work.slug}"


def _json_ld(page: str) -> dict[str, Any]:
    (script,) = re.findall(r'<script type="application/ld\+json">(.*?)</script>', page, re.DOTALL)
    facts: dict[str, Any] = json.loads(script)
    return facts


def fetched(
    url: str, user_agent: str = BROWSER, method: str = "GET", data: object = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Return status, header fields by name in lower case, and body of a response."""
    body = None if data is None else json.dumps(data).encode()
    fields = {"User-Agent": user_agent, **headers, **({} if data is None else {"Content-Type": "application/json"})}
    try:
        with urlopen(Request(url, body, fields, method=method), timeout=30) as response:
            return response.status, _by_name(response), response.read()
    except HTTPError as error:
        with error:
            return error.code, _by_name(error), error.read()


def _by_name(response: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


@dataclass(frozen=True, slots=True)
class ArtistsSite:
    """The site in a folder: its policy, wishes, links, events and ledger."""

    folder: Path

    @classmethod
    def begun(cls, folder: Path) -> "ArtistsSite":
        """Return a site with its first entry in the ledger, and with all works in the table of wishes."""
        site = cls(folder)
        site.policy.write_text(POLICY)
        add_key(site.keys)
        now = datetime.now(UTC)
        agreed = now - timedelta(days=40)
        site.table.add(_rows(agreed))
        site.typed("ledger", "init", "--author", label.NAME)
        return site

    @property
    def policy(self) -> Path:
        """The policy file."""
        return self.folder / "noai.yaml"

    @property
    def keys(self) -> Path:
        """The keys that sign the links of artists."""
        return self.folder / "noai-creators.key"

    @property
    def events(self) -> Path:
        """The folder of the event log."""
        return self.folder / "noai-events"

    @property
    def table(self) -> WishTable:
        """The wishes."""
        return WishTable.at(f"sqlite:///{self.folder}/noai-wishes.sqlite")

    def app(self, url: str) -> NoAIMiddleware:
        """Return the guarded site at `url`, with the page for creators."""
        page = creators.app(self.policy, keys=self.keys, visits=self.events)
        music = create_site(url, policy=load_policy(self.policy))
        routes = [Mount("/creators", app=page), Mount("/", app=music)]
        return NoAIMiddleware(Starlette(routes=routes), self.policy, registry=CollectorRegistry())

    def link_of(self, artist: Artist) -> Callable[..., Any]:
        """Invite an artist, and return a function that asks the page for the artist, over its API."""
        now = datetime.now(UTC)
        invitation = Invitations(self.table.database).add(artist.name, label.NAME, now, now + timedelta(days=90))
        bearer = f"Bearer {read_keys(self.keys, {}).link_token(invitation)}"

        def ask(url: str, path: str, **request: Any) -> Any:
            status, _, body = fetched(f"{url}/creators/api{path}", Authorization=bearer, **request)
            assert status == 200, body
            return json.loads(body)

        return ask

    def typed(self, *words: str) -> str:
        """Return what `noai-guard` prints in the folder. Raises CalledProcessError if it fails."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", "noai_guard", *words]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=True)
        return done.stdout


REFUSAL = {"work": "*", "wishes": {usage.value: Choice.DISALLOW.value for usage in WISHED_USAGES}}
"""What an artist sends who says no to every AI use of all works."""


def _rows(agreed: datetime) -> Iterator[Row]:
    for work in label.TRACKS:
        known = Row(
            work.artist.name, work.slug, Choice.UNSET, isrc=work.isrc.replace("-", ""), title=work.title,
            set_by=label.NAME, set_at=agreed, since=agreed.date(),
        )  # fmt: skip
        yield known
        if work.artist is OPEN:
            since = (agreed + timedelta(days=30)).date()
            yield replace(known, choice=Choice.ALLOW, usage=Usage.TRAIN_AI, since=since)
