"""Lifespan, websockets, scopes of odd shape, guards inside guards, mounted apps."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

from noai_guard import NoAIMiddleware
from tests.middleware.asgi_kit import (
    BROWSER,
    OURS,
    SCRAPER,
    answering,
    ask,
    asked,
    guarded,
    http,
    metric,
    sees,
    websocket,
)


def lifespan_of(app: Any, *answers: dict[str, Any]) -> Any:
    async def lifespan(scope, receive, send):
        for answer in answers:
            await receive()
            await send(answer)

    return guarded(lifespan)


def events(*kinds: str) -> list[dict[str, Any]]:
    return [{"type": f"lifespan.{kind}"} for kind in kinds]


@pytest.mark.parametrize("end", ["shutdown.complete", "shutdown.failed"])
def test_lifespan_messages_pass_as_the_same_objects(end):
    complete, ended = {"type": "lifespan.startup.complete"}, {"type": f"lifespan.{end}", "message": "m"}
    guard = lifespan_of(None, complete, ended)
    exchange = asyncio.run(asked(guard, {"type": "lifespan"}, events("startup", "shutdown")))
    assert exchange.messages[0] is complete
    assert exchange.messages[1] is ended


def test_a_failed_startup_passes():
    failed = {"type": "lifespan.startup.failed", "message": "no database"}
    exchange = asyncio.run(asked(lifespan_of(None, failed), {"type": "lifespan"}, events("startup")))
    assert exchange.messages == [failed]


def test_an_app_without_lifespan_raises_as_it_would_alone():
    async def app(scope, receive, send):
        assert scope["type"] == "http", "unsupported"

    exchange = asyncio.run(asked(guarded(app), {"type": "lifespan"}, events("startup")))
    assert isinstance(exchange.error, AssertionError)


def test_the_lifespan_scope_and_its_state_are_the_servers():
    app_scopes: list[Any] = []

    async def app(scope, receive, send):
        app_scopes.append(scope)

    scope = {"type": "lifespan", "state": {}}
    asyncio.run(asked(guarded(app), scope, events("startup")))
    assert app_scopes[0] is scope
    assert scope == {"type": "lifespan", "state": {}}


def test_counts_are_written_when_the_app_shuts_down():
    registry = CollectorRegistry()

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await answering()(scope, receive, send)

    guard = guarded(app, registry=registry)

    async def run():
        await asked(guard, http())
        await asked(guard, {"type": "lifespan"}, events("shutdown"))

    asyncio.run(run())
    (family,) = guard.runtime.telemetry.metrics.requests.collect()
    assert sum(sample.value for sample in family.samples if sample.name.endswith("_total")) == 1


def test_a_websocket_of_a_listener_is_the_apps_from_the_first_message():
    handed: list[Any] = []

    async def app(scope, receive, send):
        handed.append((scope, receive, send))

    async def receive():
        raise AssertionError

    async def send(message):
        raise AssertionError

    scope = websocket()
    asyncio.run(guarded(app)(scope, receive, send))
    assert handed == [(scope, receive, send)]
    assert scope["state"]["noai"].action == "allow"


def test_a_scrapers_websocket_is_closed_before_it_opens():
    app, scopes = sees()
    exchange = ask(guarded(app), websocket(user_agent=SCRAPER))
    assert exchange.messages == [{"type": "websocket.close", "code": 1008, "reason": "refused by policy"}]
    assert scopes == []


def test_a_refused_handshake_is_closed_also_where_a_response_could_be_sent():
    """granian 2.8.7 ends, all of it, when a header name stands twice in one; uvicorn 0.54 logs an error for each."""
    scope = websocket(user_agent=SCRAPER, extensions={"websocket.http.response": {}})
    (message,) = ask(guarded(answering()), scope).messages
    assert (message["type"], message["code"]) == ("websocket.close", 1008)


def test_the_handshake_is_taken_before_it_is_refused():
    order: list[str] = []

    async def receive():
        order.append("receive")
        return {"type": "websocket.connect"}

    async def send(message):
        order.append(message["type"])

    asyncio.run(guarded(answering())(websocket(user_agent=SCRAPER), receive, send))
    assert order == ["receive", "websocket.close"]


def test_a_websocket_to_robots_txt_is_judged_and_not_answered_with_a_document():
    exchange = ask(guarded(answering()), websocket("/robots.txt", user_agent=SCRAPER))
    assert exchange.messages[0]["code"] == 1008


@pytest.mark.parametrize("kind", ["mqtt", "http3.datagram", "telnet"])
def test_a_scope_of_a_kind_we_do_not_know_is_the_apps(kind):
    handed: list[Any] = []

    async def app(*call):
        handed.append(call)

    async def receive():
        raise AssertionError

    async def send(message):
        raise AssertionError

    scope = {"type": kind}
    asyncio.run(guarded(app)(scope, receive, send))
    assert handed == [(scope, receive, send)]
    assert scope == {"type": kind}


@pytest.mark.parametrize(
    "missing", ["state", "client", "server", "root_path", "raw_path", "query_string", "scheme", "asgi"]
)
@pytest.mark.parametrize("user_agent", [BROWSER, SCRAPER])
def test_a_scope_without(missing, user_agent):
    scope = http(user_agent=user_agent)
    del scope[missing]
    guard = guarded(answering())
    assert ask(guard, scope).status == (200 if user_agent is BROWSER else 403)
    assert metric(guard, "guard_failures") == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state", None),
        ("extensions", None),
        ("extensions", {}),
        ("asgi", {"version": "3.0"}),
        ("asgi", {}),
        ("client", None),
        ("client", ["203.0.113.7", 50000]),
        ("client", ("203.0.113.7", "50000")),
        ("client", ("/run/site.sock", None)),
        ("client", ("", 0)),
        ("client", (None, 0)),
        ("client", ()),
        ("client", ("testclient", 50000)),
        ("client", ("::1%eth0", 1)),
        ("server", ("/run/site.sock", None)),
        ("method", "get"),
        ("http_version", "1.0"),
        ("http_version", "2"),
    ],
)
@pytest.mark.parametrize("user_agent", [BROWSER, SCRAPER])
def test_a_scope_with(field, value, user_agent, caplog):
    caplog.set_level("INFO", "noai_guard.decisions")
    scope = http(user_agent=user_agent, **{field: value})
    guard = guarded(answering())
    assert ask(guard, scope).status == (200 if user_agent is BROWSER else 403)
    assert metric(guard, "guard_failures") == 0


@pytest.mark.parametrize("shape", [tuple, iter, lambda headers: [list(pair) for pair in headers], lambda headers: None])
def test_request_headers_of_any_shape(shape):
    scope = http(user_agent=SCRAPER)
    scope["headers"] = shape(scope["headers"])
    guard = guarded(answering())
    exchange = ask(guard, scope)
    assert exchange.status == (200 if shape(()) is None else 403)
    assert metric(guard, "guard_failures") == 0


def test_request_headers_that_can_be_read_once_are_left_for_the_app():
    scope = http()
    before = scope["headers"]
    scope["headers"] = iter(before)
    app, scopes = sees()
    ask(guarded(app), scope)
    assert list(scopes[0]["headers"]) == before


def test_a_request_without_headers_is_let_in():
    scope = http()
    del scope["headers"]
    assert ask(guarded(answering()), scope).headers[-len(OURS) :] == OURS


@pytest.mark.parametrize("name", [b"User-Agent", b"USER-AGENT", b"user-Agent"])
def test_a_server_that_leaves_header_names_as_they_were_sent(name):
    scope = http(user_agent=None)
    scope["headers"].append((name, SCRAPER))
    assert ask(guarded(answering()), scope).status == 403


def test_a_guard_inside_a_guard_declares_once_and_says_once_that_it_is_there(caplog):
    inner = guarded(answering(b"<head></head>", b"text/html"))
    outer = guarded(inner)
    for _ in range(2):
        exchange = ask(outer, http())
        assert exchange.headers[1:] == OURS
        assert exchange.body.count(b"noimageai") == 1
    assert ask(outer, http(user_agent=SCRAPER)).status == 403
    assert len([record for record in caplog.records if "within another guard" in record.message]) == 1


@pytest.mark.parametrize("text", ["extends: no-ai", "mode: monitor"])
@pytest.mark.parametrize("other", ["extends: no-ai", "mode: monitor"])
def test_of_two_guards_the_stricter_counts(text, other):
    guard = guarded(guarded(answering(), text), other)
    assert ask(guard, http()).status == 200
    assert ask(guard, http(user_agent=SCRAPER)).status == (200 if text == other == "mode: monitor" else 403)


def test_a_guard_in_a_mounted_app_inside_a_guard_adds_nothing():
    registry = CollectorRegistry()

    def page(request: Request):
        return PlainTextResponse(request.url.path + " " + request.state.noai.action)

    inside = NoAIMiddleware(Starlette(routes=[Route("/page", page)]), registry=registry)
    guard = NoAIMiddleware(Starlette(routes=[Mount("/shop", inside)]), registry=registry)
    exchange = ask(guard, http("/shop/page"))
    assert exchange.text == "/shop/page allow"
    assert len(exchange.values(b"content-usage")) == 1


def test_a_guard_only_in_a_mounted_app_judges_the_whole_path():
    def page(request: Request):
        return PlainTextResponse("page")

    inside = guarded(Starlette(routes=[Route("/page", page)]), "paths: {/shop/**: {usages: {train-ai: yes}}}")
    app = Starlette(routes=[Route("/page", page), Mount("/shop", inside)])
    assert ask(app, http("/shop/page", SCRAPER)).status == 200
    assert ask(app, http("/page", SCRAPER)).values(b"content-usage") == []


@pytest.mark.parametrize("name", [b"X-Forwarded-Prefix", b"x-script-name", b"script-name"])
def test_an_app_that_is_mounted_by_a_header_is_judged_by_what_it_sees_too(name):
    guard = guarded(answering(), "paths: {/shop/**: {usages: {train-ai: yes}}}")
    told = ((name, b"/shop"),)
    assert ask(guard, http("/shop/songs/1", SCRAPER, *told, root_path="/shop")).status == 403
    assert ask(guard, http("/shop/shop/a", SCRAPER, *told, root_path="/shop")).status == 200
    assert ask(guard, http("/shop/a", SCRAPER, *told)).status == 200
    assert ask(guard, http("/shop/a", SCRAPER, root_path="/shop")).status == 200
    assert ask(guard, http("/shop/songs/1", None, *told, root_path="/shop")).status == 200


def test_a_mounted_app_keeps_its_root_path():
    def where(request: Request):
        return JSONResponse([request.scope["root_path"], request.scope["path"]])

    app = guarded(Starlette(routes=[Mount("/a", routes=[Mount("/b", routes=[Route("/c", where)])])]))
    assert ask(app, http("/a/b/c")).text == '["/a/b","/a/b/c"]'


def test_a_guarded_app_under_a_root_path_of_the_server_serves():
    def where(request: Request):
        return JSONResponse([request.scope["root_path"], request.scope["path"]])

    app = guarded(Starlette(routes=[Route("/c", where)]))
    assert ask(app, http("/site/c", root_path="/site")).text == '["/site","/site/c"]'


def test_a_starlette_app_sees_the_verdict():
    def page(request: Request):
        noai = request.state.noai
        return JSONResponse([noai.agent.name.lower(), noai.usage, noai.identity, noai.action, list(noai.reasons)])

    app = Starlette(routes=[Route("/", page)])
    app.add_middleware(NoAIMiddleware, registry=CollectorRegistry())
    exchange = ask(app, http(user_agent=b"python-requests/2.32.3"))
    assert exchange.text.startswith('["python-requests","automation","unverified","log",["the user agent names')


def test_a_fastapi_app_sees_the_verdict():
    app = FastAPI()

    @app.get("/")
    def page(request: FastAPIRequest):
        return {"action": request.state.noai.action, "agent": request.state.noai.agent}

    app.add_middleware(NoAIMiddleware, registry=CollectorRegistry())
    assert ask(app, http()).text == '{"action":"allow","agent":null}'


def test_the_state_of_the_lifespan_is_still_seen():
    def page(request: Request):
        return PlainTextResponse(request.state.database)

    app = guarded(Starlette(routes=[Route("/", page)]))
    assert ask(app, http(state={"database": "up"})).text == "up"


def test_a_guard_around_the_whole_app_declares_on_error_pages_too():
    def broken(request: Request):
        raise ValueError

    app = guarded(Starlette(routes=[Route("/", broken)]))
    exchange = asyncio.run(asked(app, http()))
    assert exchange.status == 500
    assert exchange.headers[-len(OURS) :] == OURS
    assert isinstance(exchange.error, ValueError)


@pytest.mark.parametrize("path", ["/robots.txt", "/.well-known/noai", "/.well-known/tdmrep.json"])
def test_documents_are_served_below_the_root_path_that_the_server_was_given(path):
    guard = guarded(answering())
    assert ask(guard, http(f"/site{path}", SCRAPER, root_path="/site")).status == 200
    assert ask(guard, http(path, SCRAPER, root_path="/site")).status == 200
    assert ask(guard, http(f"/site{path}", SCRAPER)).status == 403
    assert ask(guard, http(f"/other{path}", SCRAPER, root_path="/site")).status == 403


def test_an_app_below_a_root_path_is_asked_for_its_own_robots_txt_there():
    async def robots(request: Request) -> PlainTextResponse:
        return PlainTextResponse("User-agent: *\nDisallow: /private\n")

    guard = guarded(Starlette(routes=[Route("/robots.txt", robots)]))
    text = ask(guard, http("/site/robots.txt", root_path="/site")).text
    assert "Disallow: /private" in text
    assert "GPTBot" in text
