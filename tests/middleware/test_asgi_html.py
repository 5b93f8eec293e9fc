"""HTML pages: metas in the head of the stream, and headers that stay true."""

import asyncio
import gzip
import itertools
import logging
from pathlib import Path

import pytest
from starlette.middleware.gzip import GZipMiddleware

from noai_guard.middleware.html_tags import report_compressed_page
from tests.middleware.asgi_kit import OURS, answering, ask, asked, guarded, http, metric, sending

META = b'<meta name="robots" content="noai, noimageai, noarchive, noml">'
PAGE = b"<!doctype html><html><head><title>a</title></head><body>hello</body></html>"


def page(body=PAGE, content_type=b"text/html; charset=utf-8", *more, scope=None, text=None, status=200):
    return ask(guarded(answering(body, content_type, status, *more), text), scope or http())


def streamed(*parts: bytes, content_type=b"text/html; charset=utf-8"):
    messages = [{"type": "http.response.body", "body": part, "more_body": True} for part in parts]
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]}
    return sending(start, *messages, {"type": "http.response.body"})


def test_a_page_gets_the_metas_first_in_its_head():
    exchange = page()
    assert exchange.body.startswith(b"<!doctype html><html><head><meta ")
    assert META in exchange.body
    assert exchange.body.endswith(b"<title>a</title></head><body>hello</body></html>")


def test_the_result_is_the_same_wherever_the_page_is_cut():
    parts: list[bytes] = []

    async def app(scope, receive, send):
        await streamed(*parts)(scope, receive, send)

    guard = guarded(app)
    whole = page().body
    cuts = [(cut,) for cut in range(1, len(PAGE))] + list(itertools.combinations(range(20, 50, 3), 2))
    for cut in cuts:
        parts[:] = [PAGE[start:end] for start, end in itertools.pairwise((0, *cut, len(PAGE)))]
        assert ask(guard, http()).body == whole


@pytest.mark.parametrize(
    "content_type", [b"text/html", b"TEXT/HTML", b"Text/Html;charset=UTF-8", b"text/html ; charset=latin1"]
)
def test_html_is_known_by_its_content_type_in_any_case(content_type):
    assert META in page(content_type=content_type).body


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/json", b"application/xhtml+xml", b"text/xml", b"application/xml", b"image/svg+xml", b"text/plain",
        b"text/event-stream", b"application/grpc", b"text/htmlx", b"text/html; charset=utf-16", b"text/html; charset=utf-16le",
        b"text/html;charset=iso-2022-jp", b"", None,
    ],
)  # fmt: skip
def test_what_is_not_plain_html_is_left_alone(content_type):
    exchange = page(content_type=content_type)
    assert exchange.body == PAGE
    assert exchange.values(b"content-length") == [b"%d" % len(PAGE)]


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ((b"content-encoding", b"gzip"), "content-encoding"),
        ((b"content-encoding", b"br"), "content-encoding"),
        ((b"cache-control", b"public, no-transform"), "no-transform"),
        ((b"content-range", b"bytes 0-5/9"), "content-range"),
        ((b"content-type", b"text/html"), "content-type"),
    ],
)
def test_a_page_that_must_not_be_changed_is_left_alone_and_counted(field, reason):
    guard = guarded(answering(PAGE, b"text/html; charset=utf-8", 200, field, (b"etag", b'"a"')))
    exchange = ask(guard, http())
    assert exchange.body == PAGE
    assert exchange.values(b"etag") == [b'"a"']
    assert metric(guard, "injections", outcome=reason) == 1


@pytest.mark.parametrize(
    "field",
    [
        (b"x-requested-with", b"XMLHttpRequest"),
        (b"hx-request", b"true"),
        (b"turbo-frame", b"a"),
        (b"sec-fetch-dest", b"empty"),
    ],
)
def test_a_fragment_that_a_script_fetches_is_left_alone_and_counted(field):
    guard = guarded(answering(PAGE, b"text/html; charset=utf-8"))
    assert ask(guard, http("/", b"Mozilla/5.0", field)).body == PAGE
    assert metric(guard, "injections", outcome="fragment") == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
def test_only_pages_that_are_fetched_are_changed(method):
    guard = guarded(answering(PAGE, b"text/html; charset=utf-8"))
    exchange = ask(guard, http(method=method))
    assert exchange.body == PAGE
    assert exchange.values(b"content-length") == [b"%d" % len(PAGE)]
    assert metric(guard, "injections", outcome="method") == 1


def test_headers_that_speak_of_the_old_bytes_go_or_are_weakened():
    fields = [
        (b"etag", b'"strong"'), (b"digest", b"sha-256=x"), (b"content-digest", b"sha-256=:x:"), (b"repr-digest", b"x"),
        (b"content-md5", b"x"), (b"accept-ranges", b"bytes"), (b"last-modified", b"x"), (b"set-cookie", b"a=1"),
    ]  # fmt: skip
    exchange = page(PAGE, b"text/html; charset=utf-8", *fields)
    assert exchange.headers == [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"etag", b'W/"strong"'),
        (b"last-modified", b"x"),
        (b"set-cookie", b"a=1"),
        *OURS,
    ]


def test_a_weak_etag_stays():
    assert page(PAGE, b"text/html", (b"etag", b'W/"a"')).values(b"etag") == [b'W/"a"']


def test_the_apps_304_to_our_weakened_etag_is_the_apps():
    exchange = page(
        b"", b"text/html", (b"etag", b'"a"'), status=304, scope=http("/", b"x", (b"if-none-match", b'W/"a"'))
    )
    assert exchange.values(b"etag") == [b'"a"']


def test_a_page_of_a_stance_that_reserves_nothing_is_left_alone():
    usages = ["data-broker", "scraper", "ai-search", "ai-input", "ai-agent", "train-ai"]
    text = "usages: {" + ", ".join(f"{usage}: yes" for usage in usages) + "}"
    exchange = page(text=text)
    assert exchange.body == PAGE
    assert exchange.headers == [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"%d" % len(PAGE))]


def test_metas_alone_are_injected_when_no_header_is_declared():
    off = ("x_robots_tag", "content_usage", "content_signal_header", "tdmrep", "licence_link", "rsl")
    text = f"declarations: {{{', '.join(f'{key}: no' for key in off)}}}"
    exchange = page(text=text)
    assert META in exchange.body
    length = (b"content-length", b"%d" % len(exchange.body))
    assert sorted(exchange.headers) == [length, (b"content-type", b"text/html; charset=utf-8")]


def test_headers_alone_are_declared_when_metas_are_off():
    exchange = page(text="declarations: {html_meta: no, tdmrep: no}")
    assert exchange.body == PAGE
    assert exchange.values(b"content-length") == [b"%d" % len(PAGE)]
    assert b"noai, noimageai, noarchive, noml" in exchange.values(b"x-robots-tag")


def test_a_page_that_has_the_metas_is_not_given_them_again():
    once = page().body
    assert page(once).body == once


def test_the_page_of_another_section_gets_what_that_section_says():
    text = "paths: {/press/**: {usages: {train-ai: yes}}}"
    assert META not in page(text=text, scope=http("/press/a")).body
    assert META in page(text=text, scope=http("/a")).body


def test_a_page_that_the_server_would_send_from_disk_gets_the_metas(tmp_path: Path):
    file = tmp_path / "page.html"
    file.write_bytes(PAGE + b"x" * 200_000)
    app = sending(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html; charset=utf-8")]},
        {"type": "http.response.pathsend", "path": str(file)},
    )
    guard = guarded(app)
    exchange = ask(guard, http())
    assert META in exchange.body
    assert exchange.body.replace(guard.runtime.compiled.site_declared.tags, b"") == file.read_bytes()
    assert exchange.of("http.response.pathsend") == []
    assert not exchange.messages[-1].get("more_body", False)


def test_a_page_from_a_file_descriptor_is_sent_as_it_is_behind_what_was_held_back():
    zero = {"type": "http.response.zerocopysend", "file": 3, "count": 4}
    app = sending(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]},
        {"type": "http.response.body", "body": b"<!doctype html><html><head><ti", "more_body": True},
        zero,
    )
    exchange = ask(guarded(app), http())
    assert exchange.messages[-1] is zero
    assert exchange.body.endswith(b"<ti")


@pytest.mark.parametrize("held", [b"<ti", b"<head>\n", b"<head><meta char", b"<html lang='"])
@pytest.mark.parametrize("ending", ["raises", "forgets", "is served by a broken connection"])
def test_what_is_held_back_of_a_page_goes_out_when_the_app_breaks_off(held, ending):
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html; charset=utf-8")]}
    begun = b"<!doctype html>" + held

    async def app(scope, receive, send):
        await send(start)
        await send({"type": "http.response.body", "body": begun, "more_body": True})
        if ending != "forgets":
            raise ZeroDivisionError

    bodies: list[object] = []

    def on_send(message):
        bodies.extend([message] if message["type"] == "http.response.body" else [])
        if ending.startswith("is") and len(bodies) > 1:
            raise ConnectionResetError

    guard = guarded(app)
    exchange = asyncio.run(asked(guard, http(), on_send=on_send))
    assert (exchange.error is None) == (ending == "forgets")
    assert exchange.error is None or isinstance(exchange.error, ZeroDivisionError)
    tags = guard.runtime.compiled.site_declared.tags
    assert exchange.body.replace(tags, b"") == begun
    assert exchange.messages[-1].get("more_body")


def test_an_early_flush_of_the_head_goes_out_at_once():
    for head in (b"<!doctype html><html><head>", b"<head><meta charset=utf-8><link rel=preload href=/a.css>"):
        for size in (1, 9, 1000):
            cut = [head[i : i + size] for i in range(0, len(head), size)]
            begun = sending(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-type", b"text/html; charset=utf-8")],
                },
                *({"type": "http.response.body", "body": part, "more_body": True} for part in cut),
            )
            guard = guarded(lasting(begun))
            seen = ask_begun(guard)
            assert seen.replace(guard.runtime.compiled.site_declared.tags, b"") == head


def lasting(begun):
    """The app, still at work after what it has begun."""

    async def app(scope, receive, send):
        await begun(scope, receive, send)
        await asyncio.Event().wait()

    return app


def ask_begun(guard):
    """The bytes that are out while the app is still at work."""

    async def look():
        messages = []

        async def send(message):
            messages.append(message)

        task = asyncio.create_task(guard(http(), asyncio.Event().wait, send))
        for _ in range(50):
            await asyncio.sleep(0)
        task.cancel()
        return b"".join(message.get("body", b"") for message in messages)

    return asyncio.run(look())


def test_a_compressed_page_is_reported_once_with_the_right_order(caplog):
    report_compressed_page.cache_clear()
    with caplog.at_level(logging.WARNING, "noai_guard"):
        for app in (answering(PAGE, b"text/html", 200, (b"content-encoding", b"gzip")) for _ in range(3)):
            ask(guarded(app), http())
    (record,) = caplog.records
    assert "app.add_middleware(NoAIMiddleware) first" in record.message
    caplog.clear()
    report_compressed_page.cache_clear()
    for field in ((b"content-encoding", b"identity"), (b"cache-control", b"no-transform")):
        ask(guarded(answering(PAGE, b"text/html", 200, field)), http())
    ask(guarded(answering(PAGE, b"audio/mpeg", 200, (b"content-encoding", b"gzip"))), http())
    assert not caplog.records


@pytest.mark.parametrize("inside", [True, False])
def test_the_order_that_the_log_names_gives_compressed_pages_the_metas(inside):
    page_app = answering(PAGE + b"x" * 2000, b"text/html; charset=utf-8")
    app = GZipMiddleware(guarded(page_app)) if inside else guarded(GZipMiddleware(page_app))
    exchange = ask(app, http("/", b"Mozilla/5.0", (b"accept-encoding", b"gzip, deflate, br")))
    assert exchange.values(b"content-encoding") == [b"gzip"]
    assert (META in gzip.decompress(exchange.body)) == inside


def test_an_empty_page_stays_empty():
    exchange = page(b"")
    assert exchange.body == b""
    assert exchange.of("http.response.body")


def test_bytes_of_pages_are_counted_as_they_are_sent():
    guard = guarded(answering(PAGE, b"text/html; charset=utf-8"))
    body = ask(guard, http()).body
    assert metric(guard, "bytes", outcome="served") == len(body)


def a_page(length: int, *parts: bytes):
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"%d" % length)]
    bodies = [{"type": "http.response.body", "body": part, "more_body": True} for part in parts]
    bodies[-1:] = [{**bodies[-1], "more_body": False}] if bodies else []
    return guarded(sending({"type": "http.response.start", "status": 200, "headers": headers}, *bodies))


def test_a_page_that_comes_whole_keeps_a_true_length_also_for_head():
    guard = a_page(len(PAGE), PAGE)
    got, head = ask(guard, http()), ask(guard, http(method="HEAD"))
    assert META in got.body
    assert got.values(b"content-length") == [b"%d" % len(got.body)]
    assert head.headers == got.headers
    assert metric(guard, "injections", outcome="injected") == 1


def test_a_response_to_head_without_the_page_tells_no_length():
    assert ask(a_page(len(PAGE), b""), http(method="HEAD")).values(b"content-length") == []


def test_a_page_whose_announced_length_is_not_its_own_is_sent_without_one():
    exchange = ask(a_page(7, PAGE), http())
    assert META in exchange.body
    assert exchange.values(b"content-length") == []


@pytest.mark.parametrize("part", [b"", PAGE[:20]])
def test_a_page_that_ends_before_its_announced_length_keeps_it_so_that_nobody_takes_it_for_whole(part):
    exchange = ask(a_page(len(PAGE), part), http())
    assert exchange.body == part
    assert exchange.values(b"content-length") == [b"%d" % len(PAGE)]
    assert exchange.headers[-len(OURS) :] == OURS


def test_a_page_with_a_length_that_comes_in_parts_is_streamed_without_one():
    exchange = ask(a_page(len(PAGE), PAGE[:40], PAGE[40:]), http())
    assert exchange.body == page().body
    assert exchange.values(b"content-length") == []


def test_a_page_of_which_only_the_start_comes_is_started():
    exchange = ask(a_page(9), http())
    assert [message["type"] for message in exchange.messages] == ["http.response.start"]
    assert exchange.headers[-len(OURS) :] == OURS
    # So that HTTP/1.0 clients, as nginx is by default, do not take it for an empty page.
    assert exchange.values(b"content-length") == [b"9"]
