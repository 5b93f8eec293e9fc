"""robots.txt and the other documents: served to everyone, merged with the app's own, cacheable."""

import asyncio
import gzip
from pathlib import Path

import pytest
from protego import Protego
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from noai_guard.version import __version__
from tests.middleware.asgi_kit import BROWSER, SCRAPER, answering, ask, asked, guarded, http, metric, sending

OWN = "User-agent: *\nDisallow: /private\n\nUser-agent: Googlebot\nDisallow: /drafts\n\nSitemap: https://music.example/map.xml\n"


def robots_of(app, *headers, text=None, **scope):
    exchange = ask(guarded(app, text), http("/robots.txt", BROWSER, *headers, **scope))
    assert exchange.status == 200
    return Protego.parse(exchange.text)


def says_both(robots):
    site = "https://music.example"
    assert not robots.can_fetch(f"{site}/private/a", "SomeBot")
    assert robots.can_fetch(f"{site}/tracks/a", "SomeBot")
    assert not robots.can_fetch(f"{site}/drafts/a", "Googlebot")
    assert robots.can_fetch(f"{site}/tracks/a", "Googlebot")
    assert not robots.can_fetch(f"{site}/tracks/a", "GPTBot")
    assert not robots.can_fetch(f"{site}/tracks/a", "ClaudeBot")


def says_only_ours(robots):
    site = "https://music.example"
    assert robots.can_fetch(f"{site}/private/a", "SomeBot")
    assert robots.can_fetch(f"{site}/private/a", "Googlebot")
    assert not robots.can_fetch(f"{site}/tracks/a", "GPTBot")


@pytest.mark.parametrize("path", ["/robots.txt", "/.well-known/tdmrep.json", "/.well-known/noai"])
@pytest.mark.parametrize("user_agent", [BROWSER, SCRAPER, None, b"Bytespider", b"\xff"])
def test_everyone_may_read_the_documents(path, user_agent):
    guard = guarded(answering(status=404))
    exchange = ask(guard, http(path, user_agent))
    assert exchange.status == 200
    assert exchange.values(b"content-length") == [b"%d" % len(exchange.body)]
    assert metric(guard, "documents", document=path) == 1


@pytest.mark.parametrize(
    "path", ["//robots.txt", "/./robots.txt", "/a/../robots.txt", "http://music.example/robots.txt"]
)
def test_robots_txt_is_known_in_every_spelling_and_the_app_is_asked_for_the_plain_one(path):
    asked_for = []

    async def app(scope, receive, send):
        asked_for.append((scope["path"], scope["raw_path"], scope["method"]))
        await answering(OWN.encode())(scope, receive, send)

    scope = http("/robots.txt", method="get")
    scope["path"] = path
    says_both(Protego.parse(ask(guarded(app), scope).text))
    assert asked_for == [("/robots.txt", b"/robots.txt", "GET")]


def test_documents_are_only_for_get_and_head():
    guard = guarded(answering())
    assert ask(guard, http("/robots.txt", SCRAPER, method="POST")).status == 403
    assert ask(guard, http("/robots.txt", method="POST")).body == b"hello"


@pytest.mark.parametrize("method", ["HEAD", "head"])
def test_a_head_request_for_a_document_announces_what_get_sends(method):
    guard = guarded(answering(OWN.encode()))
    get, head = (ask(guard, http("/robots.txt", method=name)) for name in ("GET", method))
    assert (head.status, head.headers, head.body) == (200, get.headers, b"")


@pytest.mark.parametrize("quote", [b"%s", b'W/%s, "x"', b'"x", %s'])
def test_a_document_that_the_client_has_is_a_304(quote):
    guard = guarded(answering(OWN.encode()))
    (etag,) = ask(guard, http("/robots.txt")).values(b"etag")
    exchange = ask(guard, http("/robots.txt", BROWSER, (b"if-none-match", quote % etag)))
    assert (exchange.status, exchange.body) == (304, b"")
    assert exchange.values(b"content-length") == []
    assert exchange.values(b"etag") == [etag]


def test_servers_that_were_started_on_different_days_have_one_etag(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1793750400")
    before = ask(guarded(answering()), http("/robots.txt"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1793836800")
    guard = guarded(answering())
    after = ask(guard, http("/robots.txt"))
    assert b"# Generated 2026-11-04 by noai-guard" in before.body
    assert b"# Generated 2026-11-05 by noai-guard" in after.body
    (etag,) = before.values(b"etag")
    assert etag.startswith(b"W/")
    assert after.values(b"etag") == [etag]
    assert ask(guard, http("/robots.txt", BROWSER, (b"if-none-match", etag))).status == 304


def test_another_etag_gets_the_document():
    exchange = ask(guarded(answering()), http("/robots.txt", BROWSER, (b"if-none-match", b'"other"')))
    assert exchange.status == 200


def test_the_apps_robots_txt_is_asked_for_without_what_belongs_to_the_client():
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)
        await answering(OWN.encode())(scope, receive, send)

    names = [
        b"if-none-match",
        b"if-modified-since",
        b"range",
        b"if-range",
        b"accept-encoding",
        b"cookie",
        b"Authorization",
    ]
    session = {"session": {"id": 1}, "user": "listener", "auth": "listener"}
    says_both(robots_of(app, *((name, b"x") for name in names), (b"x-origin-key", b"k"), **session))
    assert seen["headers"] == [
        (b"host", b"music.example"), (b"x-origin-key", b"k"), (b"user-agent", f"noai-guard/{__version__}".encode()),
    ]  # fmt: skip
    assert not session.keys() & seen.keys()


def counting(count, body_of):
    """An app whose robots.txt takes a while, and the hosts that it was asked for."""

    async def app(scope, receive, send):
        host = dict(scope["headers"])[b"host"]
        count.append(host)
        await asyncio.sleep(0.05)
        await answering(body_of(host))(scope, receive, send)

    return app


def test_for_many_clients_at_once_the_app_is_asked_once_for_each_host():
    asked_for: list[bytes] = []
    guard = guarded(counting(asked_for, lambda host: b"User-agent: *\nDisallow: /of-%s\n" % host))

    async def run():
        scopes = [http("/robots.txt", cookie, headers=[(b"host", host), (b"cookie", cookie)])
                  for host in (b"a.example", b"b.example") for cookie in (b"1", b"2", b"3")]  # fmt: skip
        return await asyncio.gather(*(asked(guard, scope) for scope in scopes))

    texts = [exchange.text for exchange in asyncio.run(run())]
    assert asked_for == [b"a.example", b"b.example"]
    assert all("/of-a.example" in text and "/of-b.example" not in text for text in texts[:3])
    assert all("/of-b.example" in text and "/of-a.example" not in text for text in texts[3:])


def test_a_client_that_leaves_takes_the_answer_from_nobody():
    asked_for: list[bytes] = []
    guard = guarded(counting(asked_for, lambda host: OWN.encode()))

    async def run():
        first = asyncio.create_task(asked(guard, http("/robots.txt")))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(asked(guard, http("/robots.txt")))
        await asyncio.sleep(0.01)
        first.cancel()
        return await second

    says_both(Protego.parse(asyncio.run(run()).text))
    assert len(asked_for) == 1


def test_the_last_robots_txt_of_one_host_is_not_anothers():
    broken: list[bool] = []

    async def app(scope, receive, send):
        if broken:
            raise RuntimeError("the database is away")
        await answering(b"User-agent: *\nDisallow: /of-%s\n" % dict(scope["headers"])[b"host"])(scope, receive, send)

    guard = guarded(app)

    def of(host):
        return ask(guard, http("/robots.txt", headers=[(b"host", host)]))

    of(b"A.example")
    broken.append(True)
    assert "/of-A.example" in of(b"a.example").text
    assert of(b"b.example").status == 503


def test_the_last_robots_txt_stands_for_a_day(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("noai_guard.middleware.own_robots.monotonic", lambda: now[0])
    status = [200]

    async def app(scope, receive, send):
        await answering(OWN.encode(), status=status[0])(scope, receive, send)

    guard = guarded(app)
    ask(guard, http("/robots.txt"))
    status[0] = 500
    now[0] += 24 * 3600 - 1
    says_both(Protego.parse(ask(guard, http("/robots.txt")).text))
    now[0] += 2
    assert ask(guard, http("/robots.txt")).status == 503
    status[0] = 404
    says_only_ours(Protego.parse(ask(guard, http("/robots.txt")).text))


def test_what_is_kept_of_many_hosts_is_bounded(monkeypatch):
    monkeypatch.setattr("noai_guard.middleware.own_robots._MAX_KNOWN_BYTES", 20_000)
    guard = guarded(answering(OWN.encode()))
    for number in range(100):
        assert ask(guard, http("/robots.txt", headers=[(b"host", b"%d.example" % number)])).status == 200
    known = guard._own_robots
    assert 10 < len(known._known) < 40
    assert known._known_bytes <= 20_000
    assert not known._tasks


def test_an_app_without_robots_txt_gets_ours():
    says_only_ours(robots_of(answering(b"not found", status=404)))


def test_a_static_robots_txt_is_merged(tmp_path: Path):
    (tmp_path / "robots.txt").write_text(OWN)
    app = Starlette(routes=[Mount("/", StaticFiles(directory=tmp_path))])
    says_both(robots_of(app, (b"if-none-match", b'"x"'), (b"accept-encoding", b"gzip")))


def routed(endpoint, **options):
    return Starlette(routes=[Route("/robots.txt", endpoint)], **options)


@pytest.mark.parametrize("spec_version", ["2.0", "2.3", "2.4"])
def test_a_streamed_robots_txt_is_merged(spec_version):
    def robots(request: Request):
        async def parts():
            for part in OWN:
                yield part

        return StreamingResponse(parts(), media_type="text/plain")

    says_both(robots_of(routed(robots), asgi={"version": "3.0", "spec_version": spec_version}))


def test_a_robots_txt_behind_gzip_is_merged():
    def robots(request: Request):
        return PlainTextResponse(OWN * 50)

    app = routed(robots, middleware=[Middleware(GZipMiddleware, minimum_size=1)])
    says_both(robots_of(app, (b"accept-encoding", b"gzip")))


def test_a_page_for_every_path_is_no_robots_txt():
    def page(request: Request):
        return HTMLResponse("User-agent: *<br>Disallow: /")

    says_only_ours(robots_of(routed(page)))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_client_error_is_no_robots_txt(status):
    says_only_ours(robots_of(answering(b"User-agent: *\nDisallow: /", status=status)))


def not_known(exchange):
    assert exchange.status == 503
    assert exchange.values(b"cache-control") == [b"no-store"]
    assert exchange.values(b"retry-after") == [b"60"]
    assert not Protego.parse(exchange.text).can_fetch("https://music.example/", "Googlebot")


@pytest.mark.parametrize("user_agent", [BROWSER, SCRAPER, None])
def test_an_app_that_raises_is_not_known_and_counted(user_agent, caplog):
    async def app(scope, receive, send):
        raise ValueError("broken")

    guard = guarded(app)
    not_known(ask(guard, http("/robots.txt", user_agent, (b"if-none-match", b"*"))))
    assert metric(guard, "guard_failures", place="robots_txt") == 1
    assert "broken" in caplog.text


def test_a_robots_txt_that_breaks_off_is_not_merged(caplog):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"User-agent: *\nDisallow: /", "more_body": True})
        raise ValueError

    not_known(ask(guarded(app), http("/robots.txt")))


def test_a_robots_txt_shorter_than_announced_is_not_known():
    async def app(scope, receive, send):
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"100")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"User-agent: *\nDisallow: /"})

    not_known(ask(guarded(app), http("/robots.txt")))


def test_nobody_counts_as_a_reader_of_a_robots_txt_that_was_not_known():
    guard = guarded(answering(status=500))
    ask(guard, http("/robots.txt", SCRAPER))
    ask(guard, http("/song", SCRAPER))
    assert metric(guard, "robots_ignored") == 0


def test_a_bomb_is_read_as_far_as_crawlers_read():
    body = gzip.compress(b"User-agent: *\n" + b"Disallow: /private\n" * 2_000_000)
    exchange = ask(guarded(answering(body, b"text/plain", 200, (b"content-encoding", b"gzip"))), http("/robots.txt"))
    assert len(exchange.body) <= 500 * 1024
    assert b"Disallow: /private\n" in exchange.body


def test_of_two_megabytes_whole_lines_are_merged():
    lines = "User-agent: *\n" + "".join(f"Disallow: /private/{n:06}-and-more\n" for n in range(60_000))
    exchange = ask(guarded(answering(lines.encode())), http("/robots.txt"))
    last = exchange.text.rstrip("\n").rpartition("\n")[2]
    assert last.startswith("Disallow: /private/")
    assert last.endswith("-and-more")
    assert 500_000 < len(exchange.body) < 700_000


@pytest.mark.parametrize("content_type", [b"text/plain", b"text/html", b"text/event-stream"])
def test_an_endless_robots_txt_is_answered_and_ended(content_type):
    ended = []

    async def app(scope, receive, send):
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
            while True:
                await send({"type": "http.response.body", "body": b"Disallow: /a\n" * 9999, "more_body": True})
        finally:
            ended.append(True)

    async def run():
        from noai_guard.middleware import own_robots

        exchange = await asyncio.wait_for(asked(guarded(app), http("/robots.txt")), 4)
        for task in list(own_robots._running_apps):
            task.cancel()
        await asyncio.sleep(0.01)
        return exchange

    assert asyncio.run(run()).status == 200
    assert ended


def test_an_app_that_never_answers_is_not_waited_for_forever(monkeypatch):
    monkeypatch.setattr("noai_guard.middleware.own_robots._ROBOTS_SECONDS", 0.05)

    async def app(scope, receive, send):
        await asyncio.Event().wait()

    not_known(ask(guarded(app), http("/robots.txt")))


def test_an_app_that_waits_for_the_client_to_leave_is_told_so():
    told = []

    async def app(scope, receive, send):
        await answering(OWN.encode())(scope, receive, send)
        assert (await receive())["type"] == "http.request"
        told.append((await receive())["type"])

    async def run():
        exchange = await asked(guarded(app), http("/robots.txt"))
        await asyncio.sleep(0.01)
        return exchange

    says_both(Protego.parse(asyncio.run(run()).text))
    assert told == ["http.disconnect"]


def test_background_tasks_of_the_apps_robots_txt_run_and_are_not_waited_for():
    ran = []

    async def slow():
        await asyncio.sleep(0.05)
        ran.append(True)

    def robots(request: Request):
        return PlainTextResponse(OWN, background=BackgroundTask(slow))

    async def run():
        exchange = await asked(guarded(routed(robots)), http("/robots.txt"))
        assert not ran
        await asyncio.sleep(0.2)
        return exchange

    says_both(Protego.parse(asyncio.run(run()).text))
    assert ran


def test_an_app_that_asks_for_the_verdict_finds_one_in_its_robots_txt():
    def robots(request: Request):
        return PlainTextResponse(f"# {request.state.noai.action}\n{OWN}")

    says_both(robots_of(routed(robots)))


def test_replace_does_not_ask_the_app():
    async def app(scope, receive, send):
        raise AssertionError

    says_only_ours(robots_of(app, text="declarations: {robots_txt: replace}"))


def test_off_leaves_robots_txt_to_the_app():
    start = {"type": "http.response.start", "status": 200, "headers": []}
    body = {"type": "http.response.body", "body": OWN.encode()}
    exchange = ask(guarded(sending(start, body), "declarations: {robots_txt: off}"), http("/robots.txt"))
    assert exchange.body == OWN.encode()


def test_a_guard_inside_a_guard_does_not_merge_twice():
    inner = guarded(answering(OWN.encode()))
    once = ask(inner, http("/robots.txt")).text
    assert ask(guarded(inner), http("/robots.txt")).text == once


def test_an_empty_robots_txt_and_odd_bytes_are_merged():
    for own in (b"", b"\xef\xbb\xbfUser-agent: *\r\nDisallow: /private\r", b"\xff\x00\n:\n", b"\n" * 1000):
        robots = Protego.parse(ask(guarded(answering(own)), http("/robots.txt")).body.decode("utf-8", "replace"))
        assert not robots.can_fetch("https://music.example/tracks/a", "GPTBot")
        assert robots.can_fetch("https://music.example/tracks/a", "SomeBot")


@pytest.mark.parametrize("failure", ["exception", "503"])
def test_an_app_that_fails_later_keeps_the_rules_that_it_had(failure):
    """Without its own rules, what the app disallows would be open for as long as it fails."""
    broken = False

    async def robots(request: Request) -> PlainTextResponse:
        if broken and failure == "exception":
            raise RuntimeError("the database is away")
        return PlainTextResponse("try later" if broken else OWN, 503 if broken else 200)

    guard = guarded(Starlette(routes=[Route("/robots.txt", robots)]))
    says_both(Protego.parse(ask(guard, http("/robots.txt", BROWSER)).text))
    broken = True
    exchange = ask(guard, http("/robots.txt", BROWSER))
    assert exchange.status == 200
    says_both(Protego.parse(exchange.text))
