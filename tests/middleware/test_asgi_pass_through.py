"""What the app sends reaches the server as it was: the checklist of ASGI middleware, point by point."""

import asyncio
import contextvars
import hashlib
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from tests.middleware.asgi_kit import OURS, answering, ask, asked, guarded, http, metric, sees, sending

START = "http.response.start"
BODY = "http.response.body"


def started(headers: Any = (), status: int = 200, **more: Any) -> dict[str, Any]:
    return {"type": START, "status": status, "headers": headers, **more}


def test_an_answer_gains_our_header_lines_behind_its_own_and_nothing_else():
    own = [(b"content-type", b"audio/mpeg"), (b"content-length", b"3"), (b"x-own", b"1")]
    start, body = started(own), {"type": BODY, "body": b"abc"}
    exchange = ask(guarded(sending(start, body)), http())
    assert exchange.headers == own + OURS
    assert exchange.messages[1] is body


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-type", b"audio/mpeg")],
        ((b"content-type", b"audio/mpeg"),),
        [[b"content-type", b"audio/mpeg"]],
        ([b"content-type", b"audio/mpeg"],),
    ],
    ids=["list", "tuple", "list of lists", "tuple of lists"],
)
def test_headers_may_be_any_sequence_of_pairs(headers):
    exchange = ask(guarded(sending(started(headers), {"type": BODY})), http())
    assert exchange.headers == [(b"content-type", b"audio/mpeg"), *OURS]


def test_headers_may_be_a_generator():
    start = started(pair for pair in [(b"content-type", b"audio/mpeg")])
    exchange = ask(guarded(sending(start, {"type": BODY})), http())
    assert exchange.headers == [(b"content-type", b"audio/mpeg"), *OURS]


@pytest.mark.parametrize("start", [{"type": START, "status": 200}, started(None)], ids=["missing", "None"])
def test_headers_may_be_missing(start):
    assert ask(guarded(sending(start, {"type": BODY})), http()).headers == OURS


@pytest.mark.parametrize("name", [b"Content-Type", b"CONTENT-TYPE", b"content-type"])
def test_header_names_in_any_usual_case_are_read_and_left_as_they_were(name):
    html = [(name, b"text/html"), (b"Content-Length", b"13")]
    exchange = ask(guarded(sending(started(html), {"type": BODY, "body": b"<head></head>"})), http())
    assert exchange.headers == [(name, b"text/html"), *OURS]
    assert b'content="noai, noimageai, noarchive, noml"' in exchange.body


@pytest.mark.parametrize("name", [b"Content-Usage", b"content-usage", b"TDM-RESERVATION", b"Tdm-Reservation"])
def test_an_own_declaration_in_any_usual_case_stands(name):
    exchange = ask(guarded(sending(started([(name, b"own")]), {"type": BODY})), http())
    assert exchange.values(name.lower()) == [b"own"]


def test_a_header_list_that_the_app_uses_for_every_answer_never_grows():
    headers = [(b"content-type", b"text/plain")]
    start = started(headers)
    guard = guarded(sending(start, {"type": BODY}))
    answers = [ask(guard, http()).headers for _ in range(3)]
    assert headers == [(b"content-type", b"text/plain")]
    assert answers == [headers + OURS] * 3
    assert start == started([(b"content-type", b"text/plain")])


def test_the_apps_messages_are_never_changed_when_html_is_injected():
    start = started([(b"content-type", b"text/html"), (b"content-length", b"13"), (b"etag", b'"a"')])
    body = {"type": BODY, "body": b"<head></head>"}
    before = [dict(start, headers=list(start["headers"])), dict(body)]
    ask(guarded(sending(start, body)), http())
    assert [start, body] == before


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.response.pathsend", "path": __file__},
        {"type": "http.response.zerocopysend", "file": 3, "count": 5},
        {"type": "http.response.push", "path": "/style.css", "headers": []},
        {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]},
        {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": False},
        {"type": "http.response.debug", "info": {"template": "a"}},
        {"type": "http.response.something-of-2031", "x": 1},
    ],
    ids=lambda message: message["type"].rpartition(".")[2],
)
def test_a_message_that_is_not_ours_to_change_is_forwarded_as_the_same_object(message):
    start, body = started(trailers=True), {"type": BODY, "body": b"x", "more_body": False}
    exchange = ask(guarded(sending(start, message, body)), http())
    assert exchange.messages[1] is message
    assert exchange.messages[2] is body
    assert exchange.start["trailers"] is True


def test_an_early_hint_before_the_start_is_forwarded_first():
    hint = {"type": "http.response.early_hint", "links": []}
    exchange = ask(guarded(sending(hint, started(), {"type": BODY})), http())
    assert [message["type"] for message in exchange.messages] == [hint["type"], START, BODY]


def test_the_start_is_forwarded_before_the_app_goes_on():
    seen: list[str] = []
    body_sent = None

    async def app(scope, receive, send):
        nonlocal body_sent
        await send(started([(b"content-type", b"text/html")]))
        body_sent = list(seen)
        await send({"type": BODY, "body": b"<head></head>"})

    ask(guarded(app), http(), on_send=lambda message: seen.append(message["type"]))
    assert body_sent == [START]


@pytest.mark.parametrize("content_type", [b"text/event-stream", b"audio/mpeg", b"text/html; charset=utf-8"])
def test_each_chunk_of_a_stream_is_forwarded_before_the_next_is_made(content_type):
    seen: list[bytes] = []
    forwarded: list[int] = []

    async def app(scope, receive, send):
        await send(started([(b"content-type", content_type)]))
        await send({"type": BODY, "body": b"<!doctype html><html><head></head><body>", "more_body": True})
        for _ in range(3):
            await send({"type": BODY, "body": b"data: x\n\n", "more_body": True})
            forwarded.append(len(seen))
        await send({"type": BODY})

    def keep(message):
        if message["type"] == BODY:
            seen.append(message.get("body", b""))

    ask(guarded(app), http(), on_send=keep)
    assert forwarded == [2, 3, 4]


def test_chunks_that_are_not_html_are_forwarded_as_the_same_objects():
    chunks = [{"type": BODY, "body": b"%d" % n, "more_body": n < 4} for n in range(5)]
    exchange = ask(guarded(sending(started([(b"content-type", b"text/event-stream")]), *chunks)), http())
    assert all(there is here for there, here in zip(exchange.of(BODY), chunks, strict=True))


@pytest.mark.parametrize("status", [200, 204, 205, 206, 304, 301, 404, 416, 500])
@pytest.mark.parametrize("content_type", [b"audio/mpeg", b"application/json", b"text/plain", None])
def test_content_length_and_etag_are_untouched_when_it_is_not_html(status, content_type):
    own = [(b"content-length", b"57"), (b"etag", b'"strong"'), (b"accept-ranges", b"bytes")]
    own += [(b"content-type", content_type)] if content_type else []
    exchange = ask(guarded(sending(started(own, status), {"type": BODY})), http())
    assert exchange.status == status
    assert exchange.headers == own + OURS


@pytest.mark.parametrize("status", [204, 206, 301, 304, 404, 500])
def test_html_that_is_not_a_200_keeps_its_bytes_length_and_etag(status):
    own = [(b"content-type", b"text/html"), (b"content-length", b"13"), (b"etag", b'"strong"')]
    body = {"type": BODY, "body": b"<head></head>"}
    exchange = ask(guarded(sending(started(own, status), body)), http())
    assert exchange.headers == own + OURS
    assert exchange.messages[1] is body


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_gains_no_content_length(status):
    exchange = ask(guarded(sending(started([], status), {"type": BODY})), http())
    assert exchange.values(b"content-length") == []


def test_a_head_request_announces_what_get_would_when_it_is_not_html():
    own = [(b"content-type", b"audio/mpeg"), (b"content-length", b"5000000")]
    exchange = ask(guarded(sending(started(own), {"type": BODY})), http(method="HEAD"))
    assert exchange.headers == own + OURS


def test_get_and_head_of_injected_html_announce_the_same():
    app = answering(b"<html><head></head></html>", b"text/html", 200, (b"etag", b'"a"'))
    get, head = (ask(guarded(app), http(method=method)) for method in ("GET", "HEAD"))
    assert get.headers == head.headers
    assert get.values(b"content-length") == []
    assert get.values(b"etag") == [b'W/"a"']
    assert head.body == b""


def test_duplicate_headers_of_the_app_stay_and_keep_their_order():
    own = [
        (b"link", b"</a.css>; rel=preload"),
        (b"vary", b"Accept"),
        (b"set-cookie", b"a=1"),
        (b"x-robots-tag", b"googlebot: noindex"),
        (b"set-cookie", b"b=2"),
        (b"vary", b"Cookie"),
        (b"link", b"</b.css>; rel=preload"),
        (b"x-robots-tag", b"max-snippet: 20"),
    ]
    exchange = ask(guarded(sending(started(own), {"type": BODY})), http())
    assert exchange.headers == own + OURS


def test_noai_stays_on_a_line_without_a_colon():
    own = [(b"x-robots-tag", b"max-image-preview: none")]
    exchange = ask(guarded(sending(started(own), {"type": BODY})), http())
    noai = [value for value in exchange.values(b"x-robots-tag") if b"noai" in value]
    assert noai == [b"noai, noimageai, noarchive, noml"]


def test_our_line_is_not_said_twice_when_the_app_says_it():
    exchange = ask(
        guarded(sending(started([(b"X-Robots-Tag", b"noai, noimageai, noarchive, noml")]), {"type": BODY})), http()
    )
    assert exchange.values(b"x-robots-tag") == [b"noai, noimageai, noarchive, noml"]


@pytest.mark.parametrize("name", [b"content-usage", b"tdm-reservation"])
def test_an_apps_own_declaration_stands_and_ours_of_that_name_is_left_out(name):
    exchange = ask(guarded(sending(started([(name, b"own")]), {"type": BODY})), http())
    assert exchange.values(name) == [b"own"]
    assert len(exchange.headers) == len(OURS)


def test_an_apps_own_tdm_reservation_takes_our_tdm_policy_with_it():
    text = "site: {tdm_policy: 'https://music.example/tdm.json'}"
    own = ask(guarded(sending(started([(b"tdm-reservation", b"0")]), {"type": BODY}), text), http())
    ours = ask(guarded(sending(started(), {"type": BODY}), text), http())
    assert own.values(b"tdm-policy") == []
    assert ours.values(b"tdm-policy") == [b"https://music.example/tdm.json"]


class Boom(Exception):
    pass


def test_an_exception_before_the_start_comes_out_unchanged():
    boom = Boom()

    async def app(scope, receive, send):
        raise boom

    exchange = asyncio.run(asked(guarded(app), http()))
    assert exchange.error is boom
    assert exchange.messages == []


@pytest.mark.parametrize("content_type", [b"audio/mpeg", b"text/html"])
def test_an_exception_in_mid_stream_comes_out_and_the_answer_is_not_completed(content_type):
    boom = Boom()

    async def app(scope, receive, send):
        await send(started([(b"content-type", content_type)]))
        await send({"type": BODY, "body": b"<head>half a", "more_body": True})
        raise boom

    exchange = asyncio.run(asked(guarded(app), http()))
    assert exchange.error is boom
    assert all(message["more_body"] for message in exchange.of(BODY))


def test_a_base_exception_of_the_app_comes_out():
    async def app(scope, receive, send):
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        ask(guarded(app), http())


@pytest.mark.parametrize("content_type", [b"audio/mpeg", b"text/html"])
@pytest.mark.parametrize("at", [START, BODY])
def test_a_client_that_is_gone_is_the_apps_to_notice(content_type, at):
    noticed: list[BaseException] = []

    async def app(scope, receive, send):
        try:
            await send(started([(b"content-type", content_type)]))
            await send({"type": BODY, "body": b"<html><head></head>"})
        except OSError as error:
            noticed.append(error)
            raise

    gone = ConnectionResetError("gone")

    def on_send(message):
        if message["type"] == at:
            raise gone

    exchange = asyncio.run(asked(guarded(app), http(), on_send=on_send))
    assert exchange.error is gone
    assert noticed == [gone]


def test_a_client_that_is_gone_during_a_refusal_or_a_document_is_the_servers_to_notice():
    def on_send(message):
        raise ConnectionResetError

    for scope in (http(user_agent=b"GPTBot/1.2"), http("/robots.txt")):
        exchange = asyncio.run(asked(guarded(answering()), scope, on_send=on_send))
        assert isinstance(exchange.error, ConnectionResetError)


def test_receive_is_handed_on_as_the_same_object_and_never_called():
    handed: list[Any] = []

    async def app(scope, receive, send):
        handed.append(receive)

    async def receive():
        raise AssertionError("the body belongs to the app")

    async def send(message):
        raise AssertionError

    asyncio.run(guarded(app)(http(method="POST"), receive, send))
    assert handed == [receive]


def test_a_refusal_does_not_read_the_body():
    async def receive():
        raise AssertionError

    sent: list[Any] = []

    async def send(message):
        sent.append(message)

    asyncio.run(guarded(answering())(http(user_agent=b"GPTBot/1.2", method="POST"), receive, send))
    assert sent[0]["status"] == 403


def test_a_context_variable_set_by_the_app_is_seen_outside():
    colour = contextvars.ContextVar("colour", default="none")

    async def app(scope, receive, send):
        colour.set("blue")
        await answering()(scope, receive, send)

    async def outside():
        await asked(guarded(app), http())
        return colour.get()

    assert asyncio.run(outside()) == "blue"


def test_background_tasks_run_after_the_answer():
    order: list[str] = []

    def home(request: Request):
        return PlainTextResponse("hello", background=BackgroundTask(order.append, "background"))

    app = guarded(Starlette(routes=[Route("/", home)]))
    ask(app, http(), on_send=lambda message: order.append(message["type"]))
    assert order == [START, BODY, "background"]


def test_a_streaming_response_of_starlette_is_byte_equal():
    parts = [hashlib.sha256(b"%d" % n).digest() for n in range(50)]

    async def stream(request: Request):
        async def all_parts():
            for part in parts:
                yield part

        return StreamingResponse(all_parts(), media_type="audio/mpeg")

    exchange = ask(guarded(Starlette(routes=[Route("/", stream)])), http())
    assert exchange.body == b"".join(parts)
    assert len(exchange.of(BODY)) == 51


def test_nothing_is_shared_between_two_guards():
    first, second = guarded(answering()), guarded(answering(), "extends: search-only\nmode: monitor")
    ask(first, http(user_agent=b"GPTBot/1.2"))
    assert metric(first, "requests") == 1
    assert metric(second, "requests") == 0
    assert second.runtime.compiled.policy.stance == "search-only"
    assert first.runtime.compiled.policy.stance == "no-ai"


def test_two_answers_at_once_do_not_mix():
    async def app(scope, receive, send):
        await send(started([(b"content-type", b"text/html")]))
        for part in (b"<html><he", b"ad><title>", scope["path"].encode(), b"</title></head>"):
            await asyncio.sleep(0)
            await send({"type": BODY, "body": part, "more_body": True})
        await send({"type": BODY})

    async def both():
        guard = guarded(app)
        return await asyncio.gather(*(asked(guard, http(f"/{n}")) for n in range(20)))

    for n, exchange in enumerate(asyncio.run(both())):
        assert exchange.body.count(b"noai, noimageai") == 1
        assert b"<title>/%d</title>" % n in exchange.body


def test_the_app_is_given_the_very_scope_of_the_server():
    app, scopes = sees()
    scope = http("/a/../b", method="get")
    ask(guarded(app), scope)
    assert scopes[0] is scope
    assert (scope["path"], scope["method"]) == ("/a/../b", "get")


def test_a_stream_is_not_slower_to_its_first_byte_with_html():
    async def app(scope, receive, send):
        await send(started([(b"content-type", b"text/html")]))
        await send({"type": BODY, "body": b"<!doctype html><html><head><title>a</title>", "more_body": True})
        await asyncio.sleep(30)

    async def first_bytes():
        got = asyncio.Event()

        def on_send(message):
            if message["type"] == BODY and message["body"].startswith(b"<!doctype html>"):
                got.set()

        task = asyncio.create_task(asked(guarded(app), http(), on_send=on_send))
        await asyncio.wait_for(got.wait(), 20)
        task.cancel()

    asyncio.run(first_bytes())
