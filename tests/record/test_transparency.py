"""The transparency page: true, public, cheap for the site, and nobody's address on it."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import html5lib
import pytest
import zstandard
from hypothesis import given, settings
from starlette.applications import Starlette
from starlette.testclient import TestClient

from noai_guard.config import load_catalog, load_policy, load_stance
from noai_guard.core.model import Action, Identity, Usage
from noai_guard.core.policy import LedgerPolicy
from noai_guard.record import transparency_kept as module
from noai_guard.record.event_record import EventRecord, encode
from noai_guard.record.ledger_files import read_ledger
from noai_guard.record.ledger_keys import new_key
from noai_guard.record.public_counts import UNDER_A_FALSE_NAME, CountedFolder, PublicCounts
from noai_guard.record.publishing import Signing, draft, publish
from noai_guard.record.selection import month_of, outcome_of
from noai_guard.record.transparency import Transparency
from noai_guard.record.transparency_app import transparency_app
from noai_guard.record.transparency_wsgi_app import transparency_wsgi_app
from tests.middleware import asgi_kit, wsgi_kit
from tests.record.events_kit import OCTOBER, RECORDS, event
from tests.servers import Server

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def counted(records: list[EventRecord]) -> PublicCounts:
    counts = PublicCounts()
    for record in records:
        counts.add(record)
    return counts


@settings(max_examples=200)
@given(RECORDS)
def test_counts_are_those_by_hand_and_nobody_is_blamed_for_a_false_name(records: list[EventRecord]) -> None:
    counts = counted(records)
    assert counts.of() == len(records)
    assert counts.of(operator=UNDER_A_FALSE_NAME) == sum(each.identity is Identity.SPOOFED for each in records)
    for operator in {each.operator for each in records}:
        own = [each for each in records if each.operator == operator and each.identity is not Identity.SPOOFED]
        assert counts.of(operator=operator) == len(own)
        assert counts.of(operator=operator, outcome="refused") == sum(outcome_of(each) == "refused" for each in own)
    for month in counts.months:
        assert counts.of(month) == sum(month_of(each.time) == month for each in records)


@settings(max_examples=50)
@given(RECORDS)
def test_a_page_is_valid_and_names_no_client(records: list[EventRecord]) -> None:
    hostile = [replace(each, client="198.51.100.7", user_agent="<script>Agent", path="/secret") for each in records]
    page = Transparency(load_stance(), counted(hostile), at=NOW).as_html().encode("utf-8", "replace").decode()
    html5lib.HTMLParser(strict=True).parse(page)
    assert not [word for word in ("198.51.100.7", "Agent", "/secret", "<script", "__") if word in page]


def test_operators_that_are_in_no_public_catalogue_are_not_named() -> None:
    counts = counted([event(), event(operator="Backup of Ines"), event(operator="Partner"), event(operator="")])
    public = counts.only(["OpenAI"])
    assert sorted(public.operators) == ["", "(others)", "OpenAI"]
    assert public.of(operator="(others)") == 2
    assert public.ai_operators == {"OpenAI", ""}
    page = Transparency(load_stance(), public, at=NOW).as_html()
    assert "Ines" not in page
    assert "All others" in page


def test_what_is_beyond_the_bounds_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noai_guard.record.public_counts._MAX_COUNTS", 60)
    counts = counted([event(operator=f"Operator {number}") for number in range(80)])
    assert (len(counts.requests), counts.left_out) == (60, 20)
    page = Transparency(load_stance(), counts, at=NOW).as_html()
    assert "20 requests of rare operators are left out." in page
    assert "20 operators with fewer requests are not shown." in page


def test_the_policy_and_its_history_are_on_the_page(tmp_path: Path) -> None:
    file, read = tmp_path / "noai.yaml", None
    key = new_key(tmp_path / "key.pem")
    for days, text in ((0, "mode: monitor\n"), (1, "usages: {seo: no}\n")):
        file.write_text(f"site: {{name: Ferry}}\n{text}paths: {{'/press/**': {{usages: {{ai-search: yes}}}}}}\n")
        policy = replace(load_policy(file), ledger=LedgerPolicy(str(tmp_path / "ledger")))
        at = OCTOBER + timedelta(days=days)
        drafted = draft(policy, load_catalog(), read, at)
        publish(tmp_path / "ledger", policy, load_catalog(), read, drafted, Signing("Ines", key, at))
        read = read_ledger(tmp_path / "ledger")
    page = Transparency(policy, counted([event()]), read, NOW).as_html()
    assert "seo: allowed -&gt; refused" in page
    assert "First policy" in page
    assert 'href="/.well-known/noai-history"' in page
    assert "Some parts of the site have a policy of their own." in page
    assert "only watches" not in page
    file.write_text("mode: monitor\n")
    pageless = replace(load_policy(file), site=replace(policy.site, policy_page=""))
    quiet = Transparency(pageless, counted([]), at=NOW).as_html()
    assert "only watches" in quiet
    assert "no public history" in quiet
    assert "None yet." in quiet
    assert "The policy in full" not in quiet


class Folder:
    """A folder of events to be written and counted."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path
        self.counts = CountedFolder(path)

    def append(self, text: bytes, name: str = "a.jsonl") -> None:
        with (self.path / name).open("ab") as file:
            file.write(text)

    @property
    def total(self) -> int:
        return self.counts.refresh().of()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "events")


LINE = encode(event()) + b"\n"


def test_only_what_is_new_in_a_file_is_read(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder.total == 0
    folder.append(LINE * 3 + LINE[:50])
    assert folder.total == 3
    monkeypatch.setattr("noai_guard.record.public_counts.decode", Counting())
    folder.append(LINE[50:] + LINE)
    assert folder.total == 5
    assert folder.total == 5
    assert Counting.calls == 2


class Counting:
    calls = 0

    def __call__(self, line: bytes) -> EventRecord:
        Counting.calls += 1
        return event()


def test_rotation_compression_and_removal_are_followed(folder: Folder) -> None:
    folder.append(LINE * 3)
    assert folder.total == 3
    packed = zstandard.compress((folder.path / "a.jsonl").read_bytes())
    (folder.path / "a.jsonl.zst").write_bytes(packed)
    assert folder.total == 3
    (folder.path / "a.jsonl").unlink()
    folder.append(LINE, "b.jsonl")
    assert folder.total == 4
    (folder.path / "a.jsonl.zst").unlink()
    assert folder.total == 1


def test_a_file_that_was_replaced_or_cut_is_counted_anew(folder: Folder) -> None:
    folder.append(LINE * 3)
    assert folder.total == 3
    (folder.path / "new").write_bytes(LINE * 7)
    (folder.path / "new").replace(folder.path / "a.jsonl")
    assert folder.total == 7
    os.truncate(folder.path / "a.jsonl", len(LINE))
    assert folder.total == 1


def test_reading_rests_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr("noai_guard.record.public_counts.time.sleep", rests.append)
    (tmp_path / "a.jsonl").write_bytes(LINE * 2500)
    assert CountedFolder(tmp_path, 0.5).refresh().of() == 2500
    assert rests == [0.5, 0.5]


def test_lines_that_are_no_events_are_passed_over_however_long(folder: Folder) -> None:
    folder.append(b"noise\n" + LINE + b"x" * 300_000 + b"\n" + LINE + b"y" * 140_000)
    assert folder.total == 2
    folder.append(b"\n" + LINE)
    assert folder.total == 3


@pytest.fixture
def site(tmp_path: Path, folder: Folder) -> Iterator[tuple[Path, Folder, TestClient]]:
    file = tmp_path / "noai.yaml"
    file.write_text("site: {name: Ferry}\n")
    folder.append(LINE)
    app = Starlette()
    app.mount("/transparency", transparency_app(file, folder.path, months=1200, refresh_seconds=0))
    with TestClient(app) as client:
        yield file, folder, client


def until(client: TestClient, said: str) -> Any:
    """Return the first answer that says this."""
    deadline = time.monotonic() + 60
    while said not in (answer := client.get("/transparency/")).text:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.01)
    return answer


def test_the_page_is_made_in_the_background_and_follows_events_and_policy(
    site: tuple[Path, Folder, TestClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder, client = site
    asked, refresh = threading.Event(), CountedFolder.refresh
    monkeypatch.setattr(CountedFolder, "refresh", lambda counted: asked.wait(60) and refresh(counted))
    assert "Counting has begun" in client.get("/transparency/", headers={"accept": "text/html"}).text
    asked.set()
    deadline = time.monotonic() + 60
    headers = {"accept": "application/json"}
    while not client.get("/transparency/", headers=headers).json()["requests"]:
        assert time.monotonic() < deadline
    client.headers["accept"] = "text/html"
    until(client, "<dd>1</dd>")
    folder.append(LINE)
    until(client, "<dd>2</dd>")
    (tmp_path / "new.yaml").write_text("site: {name: Paper Boats}\n")
    (tmp_path / "new.yaml").replace(file)
    answer = until(client, "Paper Boats")
    assert "script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.post("/transparency/").status_code == 405
    head = client.head("/transparency/")
    assert (head.status_code, head.content) == (200, b"")


def test_a_policy_that_cannot_be_used_leaves_the_last_page_and_is_logged_once(
    site: tuple[Path, Folder, TestClient], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, _, client = site
    client.headers["accept"] = "text/html"
    until(client, "<dd>1</dd>")
    (tmp_path / "new.yaml").write_text("usages: {trian-ai: no}\n")
    (tmp_path / "new.yaml").replace(file)
    deadline = time.monotonic() + 60
    while not caplog.records:
        assert client.get("/transparency/").status_code == 200
        assert time.monotonic() < deadline
    for _ in range(20):
        until(client, "<dd>1</dd>")
    assert len(caplog.records) == 1


def test_nothing_is_read_for_a_request_while_the_page_is_young(
    tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noai.yaml").write_text("site: {name: Ferry}\n")
    started: list[str] = []

    class Started:
        def __init__(self, target: Any, **options: Any) -> None:
            self.target = target

        def start(self) -> None:
            started.append("thread")
            self.target()

    monkeypatch.setattr(module, "Thread", Started)
    client = TestClient(transparency_app(tmp_path / "noai.yaml", folder.path))
    for _ in range(50):
        assert client.get("/").status_code == 200
    assert started == ["thread"]


@pytest.mark.parametrize("accept", [b"text/html", b"application/json", b"", b"*/*;q=0.1, application/json"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_wsgi_answers_as_asgi_does(
    tmp_path: Path, folder: Folder, method: str, accept: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noai.yaml").write_text("site: {name: Ferry}")
    arguments = (tmp_path / "noai.yaml", folder.path)
    page = module.KeptPage(*arguments, 12, 1e9)
    monkeypatch.setattr(page, "refresh_if_due", lambda: None)
    for each in ("transparency_app", "transparency_wsgi_app"):
        monkeypatch.setattr(f"noai_guard.record.{each}.KeptPage", lambda *settings: page)
    asgi = asgi_kit.ask(transparency_app(*arguments), asgi_kit.http("/", b"x", (b"accept", accept), method=method))
    app = transparency_wsgi_app(*arguments)
    wsgi = wsgi_kit.ask(app, wsgi_kit.http("/", b"x", REQUEST_METHOD=method, HTTP_ACCEPT=accept.decode()))
    assert (wsgi.status, wsgi.body) == (asgi.status, asgi.body)
    assert {name.lower(): value for name, value in wsgi.headers} == dict(asgi.headers)
    assert wsgi.status == (200 if method in ("GET", "HEAD") else 405)


def test_a_wsgi_server_serves_the_page(tmp_path: Path, folder: Folder, server: Callable[..., Server]) -> None:
    (tmp_path / "noai.yaml").write_text("site: {name: Ferry}")
    folder.append(LINE)
    (tmp_path / "transparent.py").write_text(
        "from noai_guard.record.transparency_wsgi_app import transparency_wsgi_app\n"
        f"app = transparency_wsgi_app('noai.yaml', {str(folder.path)!r}, months=1200, refresh_seconds=0)\n"
    )
    port = server("waitress", "transparent:app", tmp_path).port
    question = Request(f"http://127.0.0.1:{port}/", headers={"accept": "application/json"})
    deadline = time.monotonic() + 60
    while not json.load(urlopen(question, timeout=30))["requests"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_websocket_is_closed(tmp_path: Path, folder: Folder) -> None:
    (tmp_path / "noai.yaml").write_text("{}")
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    app: Any = transparency_app(tmp_path / "noai.yaml", folder.path)
    asyncio.run(app({"type": "websocket"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_months_are_counted_back_over_the_year() -> None:
    assert module._month_before(datetime(2026, 1, 5, tzinfo=UTC), 0) == "2026-01"
    assert module._month_before(datetime(2026, 1, 5, tzinfo=UTC), 1) == "2025-12"
    assert module._month_before(datetime(2026, 11, 29, tzinfo=UTC), 11) == "2025-12"
    assert counted([event(), event(time=NOW)]).since("2026-11").of() == 1


def test_the_json_says_what_the_page_says() -> None:
    data = Transparency(load_stance(), counted([event(action=Action.LOG, usage=Usage.SEO)]), at=NOW).as_json()
    assert json.loads(json.dumps(data)) == data
    assert data["requests"] == [{"month": "2026-10", "operator": "OpenAI", "outcome": "failed", "requests": 1}]
    assert data["policy"]["train-ai"] == "deny"
    assert data["history"] is None
