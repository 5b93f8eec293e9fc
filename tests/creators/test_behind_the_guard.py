"""The page in a site of one's own, mounted behind NoAIMiddleware and served by uvicorn: both do their work."""

import http.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest

from noai_guard.core.wishes import Choice
from noai_guard.creators.keys import add_key, read_keys
from noai_guard.creators.requests import COOKIE, HEADERS
from noai_guard.stores.invitations import Invitations
from noai_guard.stores.wish_table import ALL_WORKS, Row, WishTable
from tests.creators.site import ADA, ADAS_WORK, TRAIN, form_fields
from tests.servers import Server, require
from tests.stores.shared_servers import wait_for

POLICY = """
site: {url: "https://music.example", name: Example Records}
works: ["/audio/{work}.mp3"]
usages: {train-ai: yes}
wishes: sqlite:///wishes.sqlite
events: {to: files, folder: events}
"""
APP = """
import logging

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from noai_guard import NoAIMiddleware, creators
from noai_guard.observability.decision_log import JsonFormatter, decisions
from noai_guard.observability.metrics_app import metrics_app
from noai_guard.observability.status_page import status_app

handler = logging.StreamHandler()
handler.setFormatter(JsonFormatter())
decisions.addHandler(handler)
decisions.setLevel(logging.INFO)


async def home(request):
    return HTMLResponse("<html><head><title>Home</title></head><body>Home</body></html>")


page = creators.app("noai.yaml", keys="noai-creators.key", visits="events")
site = Starlette(
    routes=[
        Route("/", home),
        Route("/audio/{name}", home),
        Mount("/creators", app=page),
        Mount("/metrics", app=metrics_app()),
        Mount("/status", app=status_app()),
    ]
)
app = NoAIMiddleware(site, "noai.yaml")
"""
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


@dataclass
class Answer:
    status: int
    fields: list[tuple[str, str]]
    text: str

    def all(self, name: str) -> list[str]:
        return [value for field, value in self.fields if field == name]


@dataclass
class Site:
    folder: Path
    server: Server
    table: WishTable
    token: str
    other_token: str
    sessions: list[str] = field(default_factory=list)

    def ask(self, path: str, user_agent: str = BROWSER, form: str | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        sent = {"User-Agent": user_agent, **headers}
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("GET" if form is None else "POST", path, form, sent)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return Answer(response.status, [(name.lower(), value) for name, value in response.getheaders()], body)

    def signed_in(self) -> dict[str, str]:
        """Return the header of a browser that has opened the link."""
        opened = self.ask(f"/creators/open?t={self.token}")
        assert opened.status == 303
        (cookie,) = opened.all("set-cookie")
        session = cookie.partition(";")[0].removeprefix(f"{COOKIE}=")
        self.sessions.append(session)
        return {"Cookie": f"{COOKIE}={session}"}

    @property
    def kept(self) -> str:
        """All that server, guard and page have written down, and what metrics and status page say."""
        files = [self.server.log, *(self.folder / "events").rglob("*.jsonl")]
        pages = [self.ask("/metrics/").text, self.ask("/status/").text]
        return "\n".join([*(file.read_text(encoding="utf-8") for file in files), *pages])


@pytest.fixture(scope="module")
def site(server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require("starlette", "itsdangerous", "jinja2", "sqlalchemy")
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "noai.yaml").write_text(POLICY, encoding="utf-8")
    (folder / "guarded_site.py").write_text(APP, encoding="utf-8")
    add_key(folder / "noai-creators.key")
    now = datetime.now(UTC)
    table = WishTable.at(f"sqlite:///{folder}/wishes.sqlite")
    table.add([Row(ADA, ADAS_WORK, Choice.UNSET, set_by="label", set_at=now, since=now.date())])
    keys, invitations = read_keys(folder / "noai-creators.key", {}), Invitations(table.database)
    tokens = [keys.link_token(invitations.add(ADA, "label", now, now + timedelta(days=days))) for days in (30, 60)]
    started = server("uvicorn-httptools", "guarded_site:app", folder, options=("--log-level=info",))
    yield Site(folder, started, table, tokens[0], tokens[1])
    table.database.close()


def test_the_page_keeps_its_header_fields_and_the_guard_adds_its_own(site: Site) -> None:
    cookie = site.signed_in()
    for path in (
        "/creators/",
        f"/creators/work?name={ADAS_WORK}",
        "/creators/export.json",
        "/creators/api/site",
        "/creators/nowhere",
    ):
        answer = site.ask(path, **cookie)
        for name, value in HEADERS.items():
            assert value in answer.all(name), f"{name} of {path}"
        assert answer.all("cache-control") == ["no-store"]
        assert answer.all("content-usage"), path
    page = site.ask("/creators/", **cookie).text
    assert "My works" in page
    assert '<meta name="robots" content="noindex, noai, noimageai">' in page


def test_a_form_is_taken_and_the_guard_follows(site: Site) -> None:
    cookie = site.signed_in()
    assert site.ask(f"/audio/{ADAS_WORK}.mp3", "GPTBot/1.3").status == 200
    fields = form_fields(site.ask("/creators/", **cookie).text, ALL_WORKS)
    fields[f"usage-{TRAIN}"] = "disallow"
    saved = site.ask(
        "/creators/wishes", form=urlencode(fields), Origin=f"http://127.0.0.1:{site.server.port}", **cookie
    )
    assert (saved.status, saved.all("location")) == (303, ["./?saved=now"])
    wait_for(lambda: site.ask(f"/audio/{ADAS_WORK}.mp3", "GPTBot/1.3").status == 403)


def test_a_refused_agent_does_not_get_in_even_with_a_link(site: Site) -> None:
    cookie = site.signed_in()
    for path in ("/creators/", f"/creators/open?t={site.other_token}", "/creators/api/openapi.json"):
        answer = site.ask(path, "PerplexityBot/1.0", Authorization=f"Bearer {site.other_token}", **cookie)
        assert (answer.status, answer.all("set-cookie")) == (403, [])
        assert ADAS_WORK not in answer.text


def test_neither_link_nor_session_is_in_anything_that_is_kept(site: Site) -> None:
    cookie = site.signed_in()
    site.ask("/creators/api/works", Authorization=f"Bearer {site.token}")
    site.ask(f"/creators/open?t={site.token}x")
    site.ask("/creators/", "PerplexityBot/1.0", **cookie)
    wait_for(lambda: '"GET /creators/open HTTP/1.1" 303' in site.kept)
    wait_for(lambda: "PerplexityBot" in site.kept)
    for secret in (site.token, *site.sessions):
        for part in secret.split("."):
            assert part not in site.kept
