"""What creators wish holds in the middleware, wherever the wishes are kept: one contract for every source."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from noai_guard import NoAIMiddleware, NoAIWSGIMiddleware
from noai_guard.config import wishes
from noai_guard.core.model import Usage
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.wishes import Choice, WorkWishes
from noai_guard.errors import PolicyInvalid
from noai_guard.middleware import reloading, wishes_in_force
from noai_guard.middleware import runtime as runtime_module
from noai_guard.stores import asked_wishes
from tests.middleware import asgi_kit
from tests.middleware.asgi_kit import BROWSER, SCRAPER, metric
from tests.middleware.wish_sources import (
    POLICY,
    AskedFunction,
    CataloguedWishes,
    Site,
    Source,
    WishesInDatabase,
)
from tests.stores.databases import PostgreSQL, postgresql

TRAIN, SEARCH = Usage.TRAIN_AI, Usage.AI_SEARCH
NO, YES = Choice.DISALLOW, Choice.ALLOW
numbers = count()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as started:
        yield started


def source_of(name: str, folder: Path, request: pytest.FixtureRequest) -> Source:
    match name:
        case "catalogue":
            return CataloguedWishes(folder)
        case "sqlite":
            return WishesInDatabase(f"sqlite:///{folder}/wishes.sqlite", "sqlite:///wishes.sqlite")
        case "postgresql":
            return WishesInDatabase(request.getfixturevalue("server").database(f"guard_{next(numbers)}"))
    return AskedFunction(is_async=name == "coroutine")


SOURCES = ("catalogue", "sqlite", "postgresql", "function")


@pytest.fixture(
    params=[*(("asgi", name) for name in (*SOURCES, "coroutine")), *(("wsgi", name) for name in SOURCES)],
    ids="-".join,
)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    kind, name = request.param
    source = source_of(name, tmp_path, request)
    source.set({"tide": {TRAIN: NO}, "foam": {SEARCH: NO}})
    made = Site(kind, source, tmp_path)
    yield made
    made.close()


def test_what_a_creator_disallows_is_refused_and_declared(site: Site) -> None:
    assert site.answer("/audio/tide.mp3") == (403, "1")
    assert site.answer("/hls/tide/1.ts") == (403, "1")
    assert site.answer("/audio/tide.mp3", BROWSER) == (200, "1")
    for other in ("/audio/foam.mp3", "/audio/ebb.mp3", "/press"):
        assert site.answer(other)[0] == 200


def test_a_change_is_in_force_without_a_restart(site: Site) -> None:
    assert site.answer("/audio/tide.mp3")[0] == 403
    assert site.answer("/audio/ebb.mp3")[0] == 200
    site.source.set({"ebb": {TRAIN: NO}, "tide": {}})
    site.waits_for(lambda: site.answer("/audio/ebb.mp3")[0] == 403)
    site.waits_for(lambda: site.answer("/audio/tide.mp3")[0] == 200)
    assert site.answer("/audio/ebb.mp3", BROWSER) == (200, "1")


def test_what_a_creator_wishes_is_known_within_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    # Looked at every second, and answers of a function are kept for less than two.
    from noai_guard.middleware import periodic_tasks

    assert periodic_tasks.INTERVAL_SECONDS + asked_wishes.FRESH_SECONDS / 2 <= 2
    assert asked_wishes.FRESH_SECONDS < 2


def test_a_catalogue_with_mistakes_leaves_the_last_good_one_in_force(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = CataloguedWishes(tmp_path)
    source.set({"tide": {TRAIN: NO}})
    site = Site("asgi", source, tmp_path)
    for text in ("work,train-ai\ntide,perhaps\nebb,no\n", "mood\n"):
        source.write(text)
        site.runtime.wishes.look_now()
        assert site.answer("/audio/tide.mp3")[0] == 403
        assert site.answer("/audio/ebb.mp3")[0] == 200
    assert "catalogue.csv:2: W002 train-ai says 'perhaps'" in caplog.text
    assert caplog.text.count("cannot be read") == 1  # once a minute
    source.file.unlink()
    site.runtime.wishes.look_now()
    assert site.answer("/audio/tide.mp3")[0] == 403
    assert metric(site.guard, "wish_failures", **{"from": "source"}) == 3
    source.set({"ebb": {TRAIN: NO}})
    site.runtime.wishes.look_now()
    assert site.answer("/audio/ebb.mp3")[0] == 403
    assert "can be read again" in caplog.text
    assert metric(site.guard, "wish_works", **{"from": "catalogue"}) == 1
    assert metric(site.guard, "wish_works") == 1
    assert metric(site.guard, "wishes_read") > time.time() - 3600
    site.close()


def test_a_catalogue_with_mistakes_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "noai.yaml").write_text(f"{POLICY}wishes: catalogue.csv\n")
    (tmp_path / "catalogue.csv").write_text("work,train-ai\ntide,perhaps\n")
    with pytest.raises(PolicyInvalid, match="W002"):
        NoAIMiddleware.check(tmp_path / "noai.yaml")


def test_a_database_that_does_not_answer_stops_no_site_and_on_unknown_counts(
    server: PostgreSQL, tmp_path: Path
) -> None:
    closed = f"postgresql://nobody:secret@127.0.0.1:{server.port}/missing_{next(numbers)}"
    (tmp_path / "noai.yaml").write_text(f"{POLICY}wishes: {closed}\non_unknown: deny\n")
    guard = NoAIMiddleware(asgi_kit.answering(), tmp_path / "noai.yaml", registry=CollectorRegistry())
    exchange = asgi_kit.ask(guard, asgi_kit.http("/audio/tide.mp3", SCRAPER))
    assert exchange.status == 403
    assert asgi_kit.ask(guard, asgi_kit.http("/audio/tide.mp3", BROWSER)).status == 200
    assert asgi_kit.ask(guard, asgi_kit.http("/press", SCRAPER)).status == 200
    assert metric(guard, "wishes_read") == 0
    guard.runtime.close()


def test_a_policy_that_is_reloaded_keeps_the_wishes(tmp_path: Path) -> None:
    source = CataloguedWishes(tmp_path)
    source.set({"tide": {TRAIN: NO}})
    site = Site("asgi", source, tmp_path)
    file = tmp_path / "noai.yaml"
    file.write_text(file.read_text() + "mode: monitor\n")
    assert site.runtime.reload()
    assert site.answer("/audio/tide.mp3") == (200, "1")
    file.write_text(POLICY)
    assert site.runtime.reload()
    assert not site.runtime.wishes.is_followed
    assert site.answer("/audio/tide.mp3")[0] == 200
    site.runtime.wishes.look_now()
    site.runtime.wishes.look()
    site.close()


def test_an_index_that_comes_after_the_policy_was_replaced_is_not_used(tmp_path: Path) -> None:
    source = CataloguedWishes(tmp_path)
    source.set({})
    site = Site("asgi", source, tmp_path)
    creators = site.runtime.compiled.policy.creators
    assert site.runtime.reload()
    active = site.runtime.active
    site.runtime.reloading._use_wishes(creators, WishIndex([WorkWishes("tide", {TRAIN: NO})]))
    assert site.runtime.active is active
    site.close()


def test_wishes_are_read_anew_on_another_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CataloguedWishes(tmp_path)
    source.write("work,train-ai,ai-search,since\ntide,allow,disallow,2027-01-01\n")
    site = Site("asgi", source, tmp_path, "creators: decide\nusages: {}\n".replace("usages: {}\n", ""))
    index = site.runtime.compiled.policy.creators.index
    monkeypatch.setattr(wishes_in_force, "today", lambda: "2027-01-01")
    site.runtime.wishes.look_now()
    assert site.runtime.compiled.policy.creators.index is not index
    again = site.runtime.compiled.policy.creators.index
    site.runtime.wishes.look_now()
    assert site.runtime.compiled.policy.creators.index is again
    site.close()


def test_many_named_works_are_enforced_before_the_documents_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "_MANY_LISTED", 1)
    source = CataloguedWishes(tmp_path)
    source.set({})
    site = Site("asgi", source, tmp_path)
    seen: list[tuple[bool, bool]] = []
    activate = site.runtime.reloading._put_in_force

    def activated(compiled: Any) -> None:
        activate(compiled)
        named = b"tide" in compiled.documents["/robots.txt"].body
        seen.append((compiled.guard.judged("/audio/tide.mp3", SCRAPER).action == "deny", named))

    monkeypatch.setattr(site.runtime.reloading, "_put_in_force", activated)
    source.set({"tide": {TRAIN: NO}, "ebb": {TRAIN: NO}})
    site.runtime.wishes.look_now()
    assert seen == [(True, False), (True, True)]
    site.close()


def test_changes_of_a_database_are_read_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = WishesInDatabase(f"sqlite:///{tmp_path}/wishes.sqlite", "sqlite:///wishes.sqlite")
    source.set({"tide": {TRAIN: NO}})
    site = Site("asgi", source, tmp_path)
    source.set({"ebb": {TRAIN: NO}})
    site.runtime.wishes.look_now()
    index = site.runtime.compiled.policy.creators.index
    assert index is not None
    assert index.changed == 2
    assert site.answer("/audio/ebb.mp3")[0] == 403
    assert site.answer("/audio/tide.mp3")[0] == 200
    monkeypatch.setattr(wishes, "_MAX_CHANGED", 2)
    source.set({"tide": {TRAIN: NO}})
    site.runtime.wishes.look_now()
    index = site.runtime.compiled.policy.creators.index
    assert index is not None
    assert index.changed == 0
    assert site.answer("/audio/tide.mp3")[0] == 403
    site.close()


def test_one_thread_at_a_time_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CataloguedWishes(tmp_path)
    source.set({})
    site = Site("asgi", source, tmp_path)
    going, done = threading.Event(), threading.Event()
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        going.set()
        done.wait(30)

    monkeypatch.setattr(site.runtime.wishes, "look_now", look)
    site.runtime.wishes.look()
    going.wait(30)
    site.runtime.wishes.look()
    done.set()
    assert looks == [1]
    site.close()


def test_a_thread_that_cannot_be_started_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CataloguedWishes(tmp_path)
    source.set({})
    site = Site("asgi", source, tmp_path)

    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    site.runtime.wishes.look()
    monkeypatch.undo()
    assert metric(site.guard, "wish_failures", **{"from": "source"}) == 1
    site.close()


@pytest.mark.parametrize("on_unknown", ["deny", "allow"])
def test_a_function_that_fails_or_is_too_slow_stops_no_request(
    on_unknown: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    release = threading.Event()

    def failing(work: str) -> Any:
        if work == "slow":
            release.wait(30)
        if work == "odd":
            return {"train-ai": "perhaps"}
        raise KeyError(work)

    text = f"{POLICY}on_unknown: {on_unknown}\n"
    for guard in (asgi_kit.guarded(asgi_kit.answering(), text, wishes=failing, deadline=0.1),):
        for work in ("broken", "odd", "slow"):
            status = asgi_kit.ask(guard, asgi_kit.http(f"/audio/{work}.mp3", SCRAPER)).status
            assert status == (403 if on_unknown == "deny" else 200)
            assert asgi_kit.ask(guard, asgi_kit.http(f"/audio/{work}.mp3", BROWSER)).status == 200
        assert metric(guard, "wish_failures", **{"from": "function"}) == 6
        assert metric(guard, "backend_failures", question="WishOf") == 6
    release.set()
    assert "KeyError" in caplog.text


def test_the_last_answer_stands_in_for_one_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [{"train-ai": "disallow"}]
    guard = asgi_kit.guarded(asgi_kit.answering(), POLICY, wishes=lambda work: answers.pop())
    assert asgi_kit.ask(guard, asgi_kit.http("/audio/tide.mp3", SCRAPER)).status == 403
    monkeypatch.setattr(asked_wishes, "FRESH_SECONDS", 0.0)
    assert asgi_kit.ask(guard, asgi_kit.http("/audio/tide.mp3", SCRAPER)).status == 403
    assert metric(guard, "wish_failures", **{"from": "function"}) == 1


def test_a_function_is_asked_once_for_requests_that_come_together() -> None:
    asked: list[str] = []

    async def slowly(work: str) -> dict[str, bool]:
        asked.append(work)
        await asyncio.sleep(0.05)
        return {"train-ai": False}

    def called(work: str) -> dict[str, bool]:
        asked.append(work)
        time.sleep(0.05)
        return {"train-ai": False}

    async def together(guard: Any) -> list[int]:
        scopes = [asgi_kit.http("/audio/tide.mp3", SCRAPER) for _ in range(20)]
        return [exchange.status for exchange in await asyncio.gather(*(asgi_kit.asked(guard, s) for s in scopes))]

    for lookup in (slowly, called):
        guard = asgi_kit.guarded(asgi_kit.answering(), POLICY, wishes=lookup)
        assert asyncio.run(together(guard)) == [403] * 20
        assert asked == ["tide"]
        asked.clear()


def test_a_path_that_may_be_two_works_asks_about_both_and_one_of_many_is_not_known() -> None:
    source = AskedFunction(is_async=False)
    source.set({"tide": {TRAIN: NO}})
    guard = asgi_kit.guarded(asgi_kit.answering(), f"{POLICY}on_unknown: deny\n", **source.options)
    # A server may take %2F for a slash and `..;` for a dot segment.
    for _ in range(2):
        assert asgi_kit.ask(guard, asgi_kit.http("/hls/ebb/..;/tide/1.ts", SCRAPER)).status == 403
    assert sorted(set(source.asked)) == ["ebb", "tide"]
    many = "/hls/a/..;/b/..;/c/..;/d/..;/e/1"
    table = guard.runtime.compiled.guard.table
    if len(table.works_of([many])) > runtime_module.MAX_ASKED_WORKS:
        assert asgi_kit.ask(guard, asgi_kit.http(many, SCRAPER)).status == 403


def test_who_has_to_be_examined_is_examined_for_the_work() -> None:
    source = AskedFunction(is_async=True)
    source.set({"tide": {TRAIN: NO}})
    text = f"{POLICY}exemptions: {{addresses: [203.0.113.7]}}\ntrusted_proxies: {{peers: [10.0.0.0/8], header: x-real-ip}}\n"
    guard = asgi_kit.guarded(asgi_kit.answering(), text, **source.options)
    for address, status in ((("203.0.113.7", 1), 200), (("198.51.100.1", 1), 403)):
        for _ in range(2):
            scope = asgi_kit.http("/audio/tide.mp3", SCRAPER, client=address)
            assert asgi_kit.ask(guard, scope).status == status


def test_a_coroutine_function_is_no_function_for_wsgi() -> None:
    async def wishes(work: str) -> None:
        return None

    with pytest.raises(TypeError, match="has to be a plain function"):
        NoAIWSGIMiddleware(lambda environ, start: [], wishes=wishes, registry=CollectorRegistry())


def test_a_function_that_is_never_asked_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    asgi_kit.guarded(asgi_kit.answering(), "extends: no-ai", wishes=lambda work: None)
    assert "write works: " in caplog.text
    caplog.clear()
    asgi_kit.guarded(asgi_kit.answering(), POLICY, wishes=lambda work: None)
    assert caplog.text == ""


def test_judging_that_fails_after_the_answer_is_no_500(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = asgi_kit.guarded(asgi_kit.answering(), POLICY, wishes=lambda work: {"train-ai": False})

    def broken(*arguments: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(type(guard.runtime.active), "of_work", broken)
    assert asgi_kit.ask(guard, asgi_kit.http("/audio/tide.mp3", SCRAPER)).status == 200
    assert metric(guard, "guard_failures", place="judging") == 1


@pytest.mark.parametrize("kind", ["catalogue", "sqlite", "postgresql"])
def test_wishes_that_are_lost_are_an_error_and_the_last_ones_stay_in_force(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source: Any = source_of(kind, tmp_path, request)
    source.set({"tide": {TRAIN: NO}})
    site = Site("asgi", source, tmp_path)
    losses = _lost_catalogue(source) if kind == "catalogue" else _lost_table(source, tmp_path)
    counted = 0.0
    for said in losses:
        site.runtime.wishes.look_now()
        assert site.answer("/audio/tide.mp3")[0] == 403
        before, counted = counted, metric(site.guard, "wish_failures", **{"from": "source"})
        assert counted > before  # a slow machine looks more than once
        assert said in site.runtime.telemetry.wishes_problem
        assert site.runtime.reload()
        assert site.answer("/audio/tide.mp3")[0] == 403
    assert losses_said(caplog) == 1  # once a minute
    source.set({"tide": {TRAIN: NO}, "ebb": {TRAIN: NO}})
    if kind == "catalogue":
        site.runtime.wishes.look_now()
        assert site.answer("/audio/ebb.mp3")[0] == 403
        assert site.runtime.telemetry.wishes_problem == ""
    site.close()


def losses_said(caplog: pytest.LogCaptureFixture) -> int:
    return caplog.text.count("the wishes of creators cannot be read")


def _lost_catalogue(source: CataloguedWishes) -> Iterator[str]:
    source.write("work,train-ai\n")
    yield "names no work any more"
    source.write("work,train-ai\n\n,\n")
    yield "names no work any more"


def _lost_table(source: WishesInDatabase, folder: Path) -> Iterator[str]:
    from sqlalchemy import text

    from noai_guard.stores.wish_table import Row, WishTable

    database = source.table.database
    file = folder / "wishes.sqlite"
    if database.is_sqlite:
        for each in folder.glob("wishes.sqlite*"):
            each.unlink()
        yield "no such file"
        assert not file.exists()
        database.close()
        source.table = WishTable.at(f"sqlite:///{file}")
    else:
        with database.writing("noai_wishes") as connection:
            connection.execute(text("DROP TABLE noai_wishes"))
        yield "noai_wishes"
        database.close()
        source.table = WishTable.at(database._url.render_as_string(hide_password=False))
    assert source.table.version() == 0
    yield "has lost rows"
    source.table.add([Row("ines", f"new-{number}", NO, TRAIN, set_at=datetime.now(UTC)) for number in range(50)])
    yield "has lost rows"


def test_that_creators_disallow_fewer_works_than_before_is_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = CataloguedWishes(tmp_path)
    source.set({"tide": {TRAIN: NO}, "ebb": {TRAIN: NO, SEARCH: NO}, "foam": {TRAIN: YES}})
    site = Site("asgi", source, tmp_path)
    source.set({"tide": {TRAIN: NO}, "foam": {TRAIN: YES}})
    site.runtime.wishes.look_now()
    assert "creators disallow fewer works than before: train-ai 2 -> 1, ai-search 1 -> 0" in caplog.text
    caplog.clear()
    source.set({"tide": {TRAIN: NO}, "foam": {TRAIN: NO}})
    site.runtime.wishes.look_now()
    assert "fewer works" not in caplog.text
    site.close()
