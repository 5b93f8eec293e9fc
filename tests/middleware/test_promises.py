"""The ledger while serving: what was promised is declared and enforced until a looser policy may take its place."""

import json
import logging
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from xml.etree import ElementTree

import pytest
from prometheus_client import CollectorRegistry

from noai_guard import NoAIMiddleware, NoAIWSGIMiddleware
from noai_guard.core.promised import HISTORY_PATH
from noai_guard.gateway.app import Gateway
from noai_guard.middleware import periodic_tasks, promises_in_force
from noai_guard.middleware.runtime import GuardRuntime
from noai_guard.observability.status import current_status
from noai_guard.observability.status_page import _page
from noai_guard.record.ledger_files import read_ledger
from noai_guard.record.verification import problems_of
from tests.middleware import asgi_kit, wsgi_kit
from tests.middleware.asgi_kit import BROWSER, SCRAPER, metric
from tests.record.ledger_kit import AGENTS, DAY, LOOSER, START, STRICT, Book


class Site:
    """A guard with a policy file and a ledger, and a clock that is set by hand."""

    def __init__(self, driver: str, folder: Path) -> None:
        self.book = Book(folder)
        self.file = folder / "noai.yaml"
        self.driver = driver
        self.now = START

    def write(self, text: str) -> None:
        self.file.write_text(f"{text}ledger: {{folder: noai-ledger}}\n")

    def start(self) -> None:
        kinds: dict[str, Any] = {"asgi": NoAIMiddleware, "wsgi": NoAIWSGIMiddleware}
        app = asgi_kit.answering() if self.driver == "asgi" else wsgi_kit.answering()
        self.guard = kinds[self.driver](app, self.file, registry=CollectorRegistry())
        self.runtime: GuardRuntime = self.guard.runtime
        self.runtime.promises.clock = lambda: self.now.timestamp()
        self.runtime.reload()

    def at(self, now: datetime) -> None:
        self.now = now
        self.runtime.promises.look()

    def get(self, path: str, user_agent: bytes = SCRAPER, accept: bytes = b"") -> tuple[int, bytes, dict[bytes, bytes]]:
        if self.driver == "asgi":
            more = [(b"accept", accept)] if accept else []
            asgi = asgi_kit.ask(self.guard, asgi_kit.http(path, user_agent, *more))
            return asgi.status, asgi.body, dict(asgi.headers)
        keys = {"HTTP_ACCEPT": accept.decode()} if accept else {}
        wsgi = wsgi_kit.ask(self.guard, wsgi_kit.http(path, user_agent, **keys))
        return wsgi.status, wsgi.body, {name.lower(): value for name, value in wsgi.headers}

    def state(self, name: str) -> float:
        return metric(self.runtime, "ledger_state", state=name)


@pytest.fixture(autouse=True)
def few_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy for few agents is compiled in no time."""
    monkeypatch.setattr(promises_in_force, "catalog_of", lambda policy: AGENTS)


@pytest.fixture(params=["asgi", "wsgi"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    made = Site(request.param, tmp_path)
    yield made
    if hasattr(made, "runtime"):
        made.runtime.close()


def press_group(site: Site) -> str:
    robots = site.get("/robots.txt")[1].decode()
    return robots[robots.index("User-agent: GPTBot") :].split("\n\n")[0]


def test_a_looser_policy_is_announced_and_takes_effect_by_itself_on_its_day(site: Site) -> None:
    site.book.publish(STRICT)
    site.write(STRICT)
    site.start()
    assert site.get("/press/kit")[0] == 403
    assert [site.state(state) for state in ("unpublished", "announced", "damaged")] == [0, 0, 0]
    # Changed without a word: the stricter of both.
    site.write(LOOSER)
    site.runtime.reload()
    assert site.state("unpublished") == 1
    assert site.get("/press/kit")[0] == 403
    # Announced: the feed and the page say so, and what is declared stays what is done.
    site.book.publish(LOOSER, START + DAY)
    site.at(START + DAY)
    assert site.state("unpublished") == 0
    assert site.state("announced") == 1
    change = "training: refused -> allowed under /press/**"
    feed = ElementTree.fromstring(site.get(f"{HISTORY_PATH}.atom")[1])
    contents = [each.text or "" for each in feed.iter("{http://www.w3.org/2005/Atom}content")]
    assert change in contents[0]
    assert change.replace(">", "&gt;").encode() in site.get("/.well-known/noai")[1]
    assert b"2026-02-11" in site.get("/.well-known/noai")[1]
    assert site.get("/press/kit")[0] == 403
    assert site.get("/press/kit", BROWSER)[2][b"tdm-reservation"] == b"1"
    assert b"noai" in site.get("/press/kit", BROWSER)[2][b"x-robots-tag"]
    assert "Allow: /press/" not in press_group(site)
    assert site.runtime.compiled.promised.entry == 1
    # The last second, and the day.
    effective = site.book.ledger.head.effective
    site.at(effective - DAY / 86400)
    assert site.get("/press/kit")[0] == 403
    site.at(effective)
    assert site.get("/press/kit")[0] == 200
    assert b"noai" not in site.get("/press/kit", BROWSER)[2].get(b"x-robots-tag", b"")
    assert "Allow: /press/" in press_group(site)
    assert change.replace(">", "&gt;").encode() not in site.get("/.well-known/noai")[1]
    assert site.state("announced") == 0
    assert site.runtime.compiled.promised.entry == 2
    assert site.get("/tracks/x")[0] == 403


def test_what_is_stricter_holds_at_once_and_what_is_looser_later(site: Site) -> None:
    site.book.publish(STRICT)
    both = "usages: {train-ai: no, search: no}\npaths: {/press/**: {usages: {train-ai: yes}}}\n"
    site.book.publish(both, START + DAY)
    site.write(both)
    site.start()
    site.at(START + 2 * DAY)
    assert site.get("/x", b"FriendlySearch/1.0")[0] == 403
    assert site.get("/press/kit")[0] == 403
    site.at(START + 60 * DAY)
    assert site.get("/press/kit")[0] == 200


def test_a_correction_takes_effect_at_once(site: Site) -> None:
    site.book.publish(STRICT)
    site.write(LOOSER)
    site.start()
    assert site.get("/press/kit")[0] == 403
    site.book.publish(LOOSER, START + DAY, "the press kit was closed by mistake")
    site.at(START + DAY)
    assert site.get("/press/kit")[0] == 200
    assert b"the press kit was closed by mistake" in site.get(HISTORY_PATH)[1]


def test_the_history_is_a_page_json_and_a_feed_by_accept_and_by_suffix(site: Site, tmp_path: Path) -> None:
    site.book.publish(STRICT)
    site.write(STRICT)
    site.start()
    types = {
        b"": b"text/html; charset=utf-8", b"*/*": b"text/html; charset=utf-8", b"application/json": b"application/json",
        b"text/html;q=0.2, application/atom+xml": b"application/atom+xml", b"image/png": b"text/html; charset=utf-8",
        b"application/*;q=0.9, text/html;q=x": b"application/json",
    }  # fmt: skip
    for accept, media_type in types.items():
        status, _, headers = site.get(HISTORY_PATH, SCRAPER, accept)
        assert (status, headers[b"content-type"], headers[b"vary"]) == (200, media_type, b"Accept")
    for suffix, media_type in ((".json", b"application/json"), (".atom", b"application/atom+xml")):
        assert site.get(HISTORY_PATH + suffix)[2][b"content-type"] == media_type
    copy = tmp_path / "noai-history.json"
    copy.write_bytes(site.get(f"{HISTORY_PATH}.json")[1])
    assert problems_of(read_ledger(copy), site.book.key.name, START + DAY) == ()
    changed = copy.read_text().replace('"author":"Ines"', '"author":"Eve"')
    copy.write_text(changed)
    assert [problem.code for problem in problems_of(read_ledger(copy), now=START + DAY)] == ["L002"]


def _delete(path: Path) -> None:
    shutil.rmtree(path)


def _spoil(path: Path) -> None:
    (path / "0001.json").write_text("{")


def _tamper(path: Path) -> None:
    data = json.loads((path / "0001.json").read_text())
    data["policy"]["usages"]["train-ai"] = "allow"
    (path / "0001.json").write_text(json.dumps(data))


def _empty(path: Path) -> None:
    (path / "head.json").unlink()


DAMAGE = [_delete, _spoil, _tamper, _empty]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_ledger_at_start_makes_nothing_looser_and_no_500(
    site: Site, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site.book.publish(STRICT)
    damage(site.book.path)
    site.write("usages: {train-ai: yes, ai-search: yes}\n")
    with caplog.at_level(logging.ERROR, "noai_guard"):
        site.start()
    assert site.get("/press/kit")[0] == 403  # nobody knows what was promised: the packaged stance
    assert site.get("/press/kit", BROWSER)[0] == 200
    assert site.state("damaged") == 1
    assert "the ledger cannot be used" in caplog.text
    assert site.get(HISTORY_PATH, BROWSER)[0] == 200  # the app's
    assert site.runtime.compiled.promised.entry is None


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_ledger_that_is_damaged_later_leaves_the_last_good_one(site: Site, damage: Any) -> None:
    site.book.publish(STRICT)
    site.write(STRICT)
    site.start()
    kept = site.book.path.with_name("kept")
    shutil.copytree(site.book.path, kept)
    damage(site.book.path)
    site.write(LOOSER)
    site.runtime.reload()
    assert site.get("/press/kit")[0] == 403
    assert site.state("damaged") == 1
    assert "First policy" in site.get(HISTORY_PATH)[1].decode()
    page = _page(current_status(site.runtime.telemetry.metrics, None, []), False)
    assert "The ledger cannot be used" in page
    shutil.rmtree(site.book.path, ignore_errors=True)
    shutil.copytree(kept, site.book.path)
    site.at(START)
    assert site.state("damaged") == 0
    assert site.state("unpublished") == 1
    page = _page(current_status(site.runtime.telemetry.metrics, None, []), False)
    assert "is not published in the ledger" in page


@pytest.mark.parametrize("forged", [False, True], ids=["older copy", "another chain"])
def test_a_whole_ledger_that_does_not_go_on_from_the_one_in_force_is_not_believed(site: Site, forged: bool) -> None:
    site.book.publish(LOOSER)
    other = site.book.path.with_name("other")
    shutil.copytree(site.book.path, other)
    site.book.publish(STRICT, START + DAY)
    site.write(STRICT)
    site.now = START + DAY
    site.start()
    if forged:
        other = Book(site.book.folder / "forged").publish(LOOSER).parent
    shutil.rmtree(site.book.path)
    shutil.copytree(other, site.book.path)
    site.write(LOOSER)
    site.runtime.reload()
    assert site.get("/press/kit")[0] == 403
    assert site.state("damaged") == 1


@pytest.mark.parametrize("keeps", ["events: {folder: state}", "refresh: {folder: state}"])
def test_an_older_state_of_the_ledger_is_noticed_after_a_restart(
    site: Site, keeps: str, caplog: pytest.LogCaptureFixture
) -> None:
    state = site.book.folder / "state"
    state.mkdir()
    site.book.publish(LOOSER)
    older = site.book.path.with_name("older")
    shutil.copytree(site.book.path, older)
    site.write(f"{LOOSER}{keeps}\n")
    site.start()
    site.at(START)
    site.book.publish(STRICT, START + DAY)
    site.write(f"{STRICT}{keeps}\n")
    site.at(START + DAY)
    site.at(START + DAY)
    assert site.state("damaged") == 0
    site.runtime.close()
    shutil.rmtree(site.book.path)
    older.rename(site.book.path)
    site.write(f"{LOOSER}{keeps}\n")
    with caplog.at_level(logging.ERROR, "noai_guard"):
        site.start()
        site.at(START + DAY)
    assert "L012 ends with entry 1, and this server has seen entry 2" in caplog.text
    assert site.state("damaged") == 1
    assert site.get("/press/kit")[0] == 403
    assert site.get("/press/kit", BROWSER)[0] == 200
    site.runtime.close()
    (seen,) = state.glob("ledger-head-*.json")
    seen.unlink()
    site.start()
    site.at(START + DAY)
    assert site.state("damaged") == 0
    assert site.get("/press/kit")[0] == 200
    assert json.loads(seen.read_text())["number"] == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"number": "1", "hash": 1}', "[" * 100_000])
def test_what_is_no_head_is_written_anew(site: Site, content: str) -> None:
    (site.book.folder / "noai-events").mkdir()
    site.book.publish(STRICT)
    site.write(f"{STRICT}events: {{}}\n")
    site.start()
    site.at(START)
    (seen,) = (site.book.folder / "noai-events").glob("ledger-head-*.json")
    written = seen.read_text()
    seen.write_text(content)
    site.runtime.reload()
    assert site.state("damaged") == 0
    site.at(START)
    assert seen.read_text() == written


def test_a_head_is_remembered_by_who_serves_alone_and_where_there_is_a_folder(site: Site) -> None:
    folder = site.book.folder / "noai-events"
    site.book.publish(STRICT)
    site.write(f"{STRICT}events: {{}}\n")
    site.start()
    site.at(START)
    assert not folder.exists()
    folder.mkdir()
    site.runtime.reload()
    assert not list(folder.iterdir())
    site.at(START)
    assert len(list(folder.iterdir())) == 1
    shutil.rmtree(folder)
    folder.write_text("a file")
    site.at(START)
    assert metric(site.runtime, "guard_failures", place="ledger") == 0


def test_another_first_key_than_the_policy_names_is_not_believed(site: Site) -> None:
    site.book.publish(LOOSER)
    site.file.write_text(f"{LOOSER}ledger: {{folder: noai-ledger, key: 'ed25519:{'A' * 43}'}}\n")
    site.start()
    assert site.state("damaged") == 1
    assert site.get("/press/kit")[0] == 403


def test_one_line_says_that_the_policy_is_not_published_and_one_that_it_is(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.book.publish(STRICT)
    site.write(LOOSER)
    with caplog.at_level(logging.INFO, "noai_guard"):
        site.start()
        site.runtime.reload()
        assert caplog.text.count("is not published in the ledger") == 1
        site.write(STRICT)
        site.runtime.reload()
    assert caplog.text.count("the policy is the one that the ledger has published") == 1


def test_without_a_ledger_nothing_is_compared(site: Site) -> None:
    site.file.write_text(LOOSER)
    site.start()
    assert site.get("/press/kit")[0] == 200
    assert site.runtime.compiled.promised.digest
    assert site.get(HISTORY_PATH, BROWSER)[1] != b""
    assert site.state("unpublished") == 0


def test_a_policy_that_stops_to_name_its_ledger_keeps_what_was_promised_until_a_restart(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.book.publish(STRICT)
    site.write(STRICT)
    site.start()
    site.file.write_text(LOOSER)
    site.runtime.reload()
    assert site.get("/press/kit")[0] == 403
    assert site.state("unpublished") == 1
    assert "does not name its ledger any more" in caplog.text


def test_the_day_comes_by_itself_in_the_thread_of_the_tasks(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic_tasks, "INTERVAL_SECONDS", 0.01)
    site.book.publish(STRICT)
    site.book.publish(LOOSER, START + DAY)
    site.write(LOOSER)
    site.start()
    site.now = START + 2 * DAY
    site.runtime.start()
    assert site.get("/press/kit")[0] == 403
    site.now = site.book.ledger.head.effective
    deadline = monotonic() + 60
    while site.get("/press/kit")[0] != 200 and monotonic() < deadline:
        sleep(0.01)
    assert site.get("/press/kit")[0] == 200


def test_a_failure_while_looking_is_counted_and_the_policy_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.book.publish(STRICT)
    site.book.publish(LOOSER, START + DAY)
    site.write(LOOSER)
    site.start()
    site.at(START + 2 * DAY)

    def fails(*arguments: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(site.runtime.reloading, "_put_in_force", fails)
    site.at(START + 60 * DAY)
    site.at(START + 61 * DAY)
    assert metric(site.runtime, "guard_failures", place="ledger") == 1
    assert site.get("/press/kit")[0] == 403


def test_the_gateway_serves_the_history_and_keeps_the_promise(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.publish(STRICT)
    file = tmp_path / "noai.yaml"
    proxies = "trusted_proxies: {peers: [203.0.113.7], header: x-forwarded-for}\nledger: {folder: noai-ledger}\n"
    file.write_text(LOOSER + proxies)
    gateway = Gateway(file, registry=CollectorRegistry())
    served = asgi_kit.ask(gateway, asgi_kit.http(f"{HISTORY_PATH}.json"))
    assert served.status == 200
    original = [(b"x-original-uri", b"/press/kit"), (b"x-forwarded-for", b"192.0.2.1")]
    judged = asgi_kit.ask(gateway, asgi_kit.http("/.noai/verify", SCRAPER, *original))
    assert judged.status == 403
    gateway.runtime.close()


def test_wishes_that_are_taken_out_of_the_policy_hold_until_the_notice_is_over(site: Site, tmp_path: Path) -> None:
    (tmp_path / "catalogue.csv").write_text("work,train-ai\ntide,no\n")
    without = "extends: no-training\nusages: {train-ai: yes, data-broker: yes, scraper: yes}\n"
    works = 'works: ["/audio/{work}.mp3"]\n'
    follows = f"{without}{works}wishes: {tmp_path}/catalogue.csv\n"
    site.book.publish(follows)
    site.write(follows)
    site.start()
    assert [site.get(f"/audio/{work}.mp3")[0] for work in ("tide", "ebb")] == [403, 200]
    assert site.state("unpublished") == 0
    # The next policy is announced, and the one that names the catalogue stays where it is.
    site.book.publish(f"{without}{works}", START + DAY)
    site.at(START + DAY)
    assert [site.get(f"/audio/{work}.mp3")[0] for work in ("tide", "ebb")] == [403, 200]
    assert b"their wishes for /audio/{work}.mp3 are not followed any more" in site.get("/.well-known/noai")[1]
    # Taken away early, whether or not its works are still named: nobody knows what was wished, so nothing is let in.
    for text in (f"{without}{works}", without):
        site.write(text)
        site.runtime.close()
        site.start()
        site.at(START + DAY)
        assert [site.get(f"/audio/{work}.mp3")[0] for work in ("tide", "ebb")] == [403, 403]
        assert site.get("/press")[0] == 200
        assert site.get("/audio/tide.mp3", BROWSER)[0] == 200
    site.at(site.book.ledger.head.effective)
    assert [site.get(f"/audio/{work}.mp3")[0] for work in ("tide", "ebb")] == [200, 200]
