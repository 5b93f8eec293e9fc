"""The gateway knows every work: what a creator disallows is refused and declared through any proxy."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from noai_guard.gateway.app import Gateway
from noai_guard.middleware.periodic_tasks import PeriodicTasks
from tests.gateway.test_app import ANSWER, NGINX, PROXY, TRUSTED, VERIFY
from tests.middleware.asgi_kit import BROWSER, SCRAPER, Exchange, ask, http
from tests.middleware.wish_sources import POLICY, CataloguedWishes


def gateway(folder: Path, catalogue: str) -> Gateway:
    source = CataloguedWishes(folder)
    source.write(catalogue)
    (folder / "noai.yaml").write_text(POLICY + source.policy + TRUSTED)
    return Gateway(folder / "noai.yaml", registry=CollectorRegistry())


def verify(guard: Gateway, uri: str, user_agent: bytes, *more: tuple[bytes, bytes], path: str = VERIFY) -> Exchange:
    return ask(guard, http(path, user_agent, (b"x-original-uri", uri.encode()), *more, client=PROXY))


def test_a_work_is_refused_and_declared_as_its_creator_wishes(tmp_path: Path) -> None:
    guard = gateway(tmp_path, "work,train-ai\ntide,no\n")
    refused = verify(guard, "/audio/tide.mp3?x=1", SCRAPER)
    assert (refused.status, refused.values(b"x-noai-rule")) == (403, [b"wish"])
    assert verify(guard, "/audio/%74ide.mp3", SCRAPER).status == 403
    assert verify(guard, "/audio/foam.mp3", SCRAPER).status == 200
    listener = verify(guard, "/audio/tide.mp3", BROWSER)
    assert (listener.status, listener.values(b"tdm-reservation")) == (200, [b"1"])
    assert verify(guard, "/audio/tide.mp3", SCRAPER, path=NGINX).values(b"x-noai-status") == [b"403"]
    answer = verify(guard, "/audio/tide.mp3", SCRAPER, (b"x-noai-status", b"403"), path=ANSWER)
    assert (answer.status, answer.body) == (403, refused.body)


def test_a_proxy_keeps_no_verdict_where_creators_have_a_say(tmp_path: Path) -> None:
    guard = gateway(tmp_path, "work,train-ai\ntide,no\n")
    for path in ("/audio/tide.mp3", "/press"):
        for user_agent in (SCRAPER, BROWSER):
            answer = verify(guard, path, user_agent)
            assert answer.values(b"cache-control") == [b"no-store"]
            assert not answer.values(b"x-noai-key")


def test_a_change_is_in_force_at_the_gateway(tmp_path: Path) -> None:
    guard = gateway(tmp_path, "work,train-ai\ntide,no\n")
    assert verify(guard, "/audio/foam.mp3", SCRAPER).status == 200
    CataloguedWishes(tmp_path).write("work,train-ai\nfoam,no\n")
    guard.runtime.wishes.look_now()
    assert verify(guard, "/audio/foam.mp3", SCRAPER).status == 403
    assert verify(guard, "/audio/tide.mp3", SCRAPER).status == 200


def test_a_gateway_that_slept_looks_before_it_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PeriodicTasks, "start", lambda tasks: None)
    guard = gateway(tmp_path, "work,train-ai\ntide,no\n")
    assert verify(guard, "/audio/foam.mp3", SCRAPER).status == 200
    CataloguedWishes(tmp_path).write("work,train-ai\nfoam,no\n")
    monkeypatch.setattr(PeriodicTasks, "is_overdue", True)
    guard.runtime._next_housekeeping = 0.0
    assert verify(guard, "/audio/foam.mp3", SCRAPER).status == 403
