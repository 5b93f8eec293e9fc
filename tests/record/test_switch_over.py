"""The day of an announced policy comes while real uvicorn workers serve: strict until then, in all of them."""

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from noai_guard.core.promised import HISTORY_PATH
from noai_guard.record.publishing import Signing, draft, publish
from tests.middleware.asgi_kit import SCRAPER
from tests.record.ledger_kit import LOOSER, STRICT, Book, policy_of
from tests.servers import Server

pytestmark = pytest.mark.serial

WORKERS = 3
NOTICE_SECONDS = 20
SETTINGS = "features: {reload: watch}\nledger: {folder: noai-ledger, notice: 0}\n"
CHANGE = "training: refused -> allowed under /press/**"
APP = """\
import os

from noai_guard import NoAIMiddleware


async def site(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"the press kit"})


guarded = NoAIMiddleware(site, "noai.yaml")


async def app(scope, receive, send):
    async def with_worker(message):
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"x-worker", str(os.getpid()).encode())]}
        await send(message)

    await guarded(scope, receive, send if scope["type"] == "lifespan" else with_worker)
"""


class Answer(NamedTuple):
    worker: str
    status: int
    body: str
    received: datetime


@dataclass
class Site:
    port: int

    def get(self, path: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path, headers={"user-agent": SCRAPER.decode()})
            response = connection.getresponse()
            body = response.read().decode()
            return Answer(response.headers["x-worker"], response.status, body, datetime.now(UTC))
        finally:
            connection.close()

    def until_all_workers(self, path: str, holds: Callable[[Answer], bool]) -> list[Answer]:
        """Ask until the last answer of each worker is as it should be; return all answers."""
        answers: list[Answer] = []
        last: dict[str, bool] = {}
        deadline = time.monotonic() + 90
        while len(last) < WORKERS or not all(last.values()):
            answers.append(self.get(path))
            last[answers[-1].worker] = holds(answers[-1])
            assert time.monotonic() < deadline, (path, last, answers[-1])
        return answers


def announced(book: Book, effective: datetime) -> None:
    """Publish the looser policy, to take effect at a moment of our choice: a notice ends at midnight."""
    policy = policy_of(LOOSER + SETTINGS, book.path, notice=0)
    now = datetime.now(UTC).replace(microsecond=0)
    drafted = replace(draft(policy, book.catalog, book.ledger, now), effective=effective)
    publish(book.path, policy, book.catalog, book.ledger, drafted, Signing("Ines", book.key, now))


def test_all_workers_stay_strict_until_the_announced_moment_and_follow_then(
    server: Callable[..., Server], tmp_path: Path
) -> None:
    book = Book(tmp_path)
    book.publish(STRICT, notice=0)
    (tmp_path / "noai.yaml").write_text(STRICT + SETTINGS)
    (tmp_path / "site_app.py").write_text(APP)
    options = ("--workers", str(WORKERS))
    site = Site(server("uvicorn-httptools", "site_app:app", tmp_path, options=options).port)
    site.until_all_workers("/press/kit", lambda answer: answer.status == 403)

    effective = (datetime.now(UTC) + timedelta(seconds=NOTICE_SECONDS)).replace(microsecond=0)
    announced(book, effective)
    (tmp_path / "noai.yaml").write_text(LOOSER + SETTINGS)
    said = CHANGE.replace(">", "&gt;")
    site.until_all_workers(f"{HISTORY_PATH}.atom", lambda answer: said in answer.body)
    page = site.until_all_workers("/.well-known/noai", lambda answer: said in answer.body)
    assert page[-1].received < effective, "the machine was too busy to see the announcement in time"

    answers = site.until_all_workers("/press/kit", lambda answer: answer.status == 200)
    assert {answer.status for answer in answers} == {200, 403}
    early = [answer for answer in answers if answer.received < effective]
    assert {answer.worker for answer in early} == {answer.worker for answer in answers}
    assert {answer.status for answer in early} == {403}

    site.until_all_workers("/robots.txt", lambda answer: "Allow: /press/" in answer.body)
    site.until_all_workers("/.well-known/noai", lambda answer: said not in answer.body)
    assert site.get("/tracks/x").status == 403
