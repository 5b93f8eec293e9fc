"""ASGI = WSGI: every example on every server gives the same answers to the same requests.

Without NOAI_FULL=1 each example and each server comes once, and a slice of the user agents.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from asks import AUDIO, BROWSER, Ask, asks, check, spread

from tests.servers import SERVERS, WSGI_SERVERS, Server

ROOT = Path(__file__).resolve().parents[2]
FULL = os.environ.get("NOAI_FULL") == "1"
ASGI = ("starlette.app:app", "fastapi.app:app", "litestar.app:app", "quart.app:app", "django.app:asgi")
WSGI = ("flask.app:app", "bottle.app:app", "django.app:wsgi")

Start = Callable[..., Server]


@dataclass(frozen=True)
class Row:
    """Somebody who stands in front of the site, and how to start them."""

    name: str
    start: Callable[[Start], Server]


def served(app: str, kind: str) -> Row:
    return Row(f"{app.replace('.app', '')} on {kind}", lambda server: server(kind, f"examples.{app}", ROOT))


def rows() -> list[Row]:
    every = [served(*pair) for apps, kinds in ((ASGI, SERVERS), (WSGI, WSGI_SERVERS)) for pair in product(apps, kinds)]
    once = [served(apps[turn % len(apps)], kinds[turn]) for apps, kinds in ((ASGI, SERVERS), (WSGI, WSGI_SERVERS))
            for turn in range(len(kinds))]  # fmt: skip
    return every if FULL else once


@pytest.fixture(scope="module", params=rows(), ids=lambda row: row.name)
def port(request, server):
    running = request.param.start(server)
    yield running.port
    running.stop()


def test_every_answer_is_the_judges(port):
    wrong = []
    for ask in asks(spread(1 if FULL else 25)):
        answer = ask.sent_to(port)
        try:
            check(ask, answer)
        except AssertionError as error:
            wrong.append(f"{ask.method.decode()} {ask.target[:60]!r} {ask.name} {ask.user_agents!r:.80}: {answer.status} {error}"[:600])
    assert not wrong, "\n".join([f"{len(wrong)} of them:", *wrong[:10]])


def test_audio_that_the_client_has_is_a_304(port):
    first = Ask("audio", b"/audio/quay.wav").sent_to(port)
    assert (first.status, first.body) == (200, AUDIO)
    known = {b"if-none-match": first.values(b"etag"), b"if-modified-since": first.values(b"last-modified")}
    headers = next(((name, values[0]),) for name, values in known.items() if values)
    again = Ask("audio", b"/audio/quay.wav", (BROWSER,), headers).sent_to(port)
    assert (again.status, again.body) == (304, b"")
    assert again.values(b"content-usage")
