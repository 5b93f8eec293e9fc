"""What a WSGI app answers reaches the server as it was, with our headers, and our metas in pages."""

import sys
from wsgiref.util import FileWrapper

import pytest

from noai_guard.middleware.html_tags import report_compressed_page
from tests.middleware.asgi_kit import OURS, TAGS, metric
from tests.middleware.wsgi_kit import answering, ask, guarded, http, streaming

HEAD = b"<!doctype html><html><head>"
PAGE = HEAD + b"<title>a</title></head><body>b</body></html>"
TAGGED = HEAD + TAGS + PAGE.removeprefix(HEAD)


def broken(*arguments, **keywords):
    raise RuntimeError("ours")


def test_our_headers_stand_behind_the_apps():
    exchange = ask(guarded(answering(b"hello", "text/plain", "404 Gone Fishing", ("X-A", "1"), ("X-A", "ü"))), http())
    assert exchange.starts[0][0] == "404 Gone Fishing"
    own = [(b"Content-Type", b"text/plain"), (b"Content-Length", b"5"), (b"X-A", b"1"), (b"X-A", b"\xfc")]
    assert exchange.headers == own + OURS


def test_an_apps_own_declarations_stand_alone():
    own = [
        ("Content-Usage", "train-ai=y"),
        ("TDM-Reservation", "0"),
        ("X-Robots-Tag", "noai, noimageai, noarchive, noml"),
    ]
    exchange = ask(guarded(answering(b"hello", "text/plain", "200 OK", *own)), http())
    assert exchange.values(b"content-usage") == [b"train-ai=y"]
    assert exchange.values(b"tdm-reservation") == [b"0"]
    assert exchange.values(b"x-robots-tag") == [b"noai, noimageai, noarchive, noml"]


def test_the_apps_list_of_headers_is_not_touched():
    shared = [("Content-Type", "text/plain")]

    def app(environ, start_response):
        start_response("200 OK", shared)
        return [b"hello"]

    guard = guarded(app)
    assert len({len(ask(guard, http()).headers) for _ in range(3)}) == 1
    assert shared == [("Content-Type", "text/plain")]


@pytest.mark.parametrize("body", [[b"hello"], (b"hel", b"lo"), []])
def test_a_list_is_the_same_object_so_that_servers_know_its_length(body):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "audio/mpeg")])
        return body

    guard = guarded(app, checked=False)
    assert ask(guard, http(), checked=False).returned is body
    assert metric(guard, "bytes", outcome="served") == sum(map(len, body))


class KernelSends(FileWrapper):
    """What a server recognises to send a file by itself; nobody else may read it."""

    def __next__(self):
        raise AssertionError("read")


@pytest.mark.parametrize("wrapper", [KernelSends, lambda file, size=8192: KernelSends(file, size)])
def test_a_file_is_the_same_object_so_that_the_kernel_sends_it(wrapper, tmp_path):
    (tmp_path / "song").write_bytes(b"x" * 5000)
    files = []

    def app(environ, start_response):
        start_response("206 Partial Content", [("Content-Type", "audio/wav"), ("content-length", "5000")])
        files.append(environ["wsgi.file_wrapper"]((tmp_path / "song").open("rb")))
        files[0].read = files[0].filelike.read
        return files[0]

    guard = guarded(app, checked=False)
    returned = guard({**http(), "wsgi.file_wrapper": wrapper}, lambda status, headers, exc_info=None: lambda data: None)
    files[0].close()
    assert returned is files[0]
    assert metric(guard, "bytes", outcome="served") == 5000


def test_a_page_in_a_file_gets_metas_all_the_same(tmp_path):
    (tmp_path / "page").write_bytes(PAGE)

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))])
        return environ["wsgi.file_wrapper"]((tmp_path / "page").open("rb"))

    exchange = ask(guarded(app), {**http(), "wsgi.file_wrapper": FileWrapper})
    assert exchange.body == TAGGED
    assert exchange.values(b"content-length") == []


def test_a_page_gets_metas_and_loses_what_is_no_longer_true():
    more = [("ETag", '"a"'), ("Accept-Ranges", "bytes"), ("Content-MD5", "x")]
    exchange = ask(guarded(answering(PAGE, "text/html; charset=utf-8", "200 OK", *more)), http())
    assert exchange.body == TAGGED
    assert exchange.headers == [(b"Content-Type", b"text/html; charset=utf-8"), (b"ETag", b'W/"a"'), *OURS]


def test_a_head_of_a_page_announces_what_get_sends():
    guard = guarded(answering(PAGE, "text/html"))
    get, head = ask(guard, http()), ask(guard, http(REQUEST_METHOD="HEAD"))
    assert (head.status, head.headers, head.body) == (200, get.headers, b"")
    assert metric(guard, "bytes", outcome="served") == len(TAGGED)


@pytest.mark.parametrize(
    ("status", "content_type", "more", "keys"),
    [
        ("404 Not Found", "text/html", (), {}),
        ("206 Partial Content", "text/html", (("Content-Range", "bytes 0-1/2"),), {}),
        ("200 OK", "application/xhtml+xml", (), {}),
        ("200 OK", "text/html", (("Content-Encoding", "gzip"),), {}),
        ("200 OK", "text/html", (("Cache-Control", "no-transform"),), {}),
        ("200 OK", "text/html; charset=utf-16", (), {}),
        ("200 OK", "text/html", (), {"HTTP_HX_REQUEST": "true"}),
        ("200 OK", "text/html", (), {"HTTP_SEC_FETCH_DEST": "empty"}),
        ("200 OK", "text/html", (), {"REQUEST_METHOD": "POST"}),
        ("200 OK", "text/event-stream", (), {}),
    ],
)
def test_everything_else_is_left_byte_for_byte(status, content_type, more, keys):
    app = answering(PAGE, content_type, status, *more)
    guarded_, bare = ask(guarded(app), http(**keys)), ask(app, http(**keys))
    assert guarded_.body == bare.body
    assert guarded_.headers == bare.headers + OURS


def test_a_not_modified_keeps_its_headers_and_gets_ours():
    def app(environ, start_response):
        start_response("304 Not Modified", [("ETag", '"a"')])
        return []

    exchange = ask(guarded(app), http())
    assert (exchange.status, exchange.body, exchange.headers) == (304, b"", [(b"ETag", b'"a"'), *OURS])


@pytest.mark.parametrize("size", [1, 3, 26, 27, 28, 1000])
def test_a_page_in_any_chunks_gets_metas_and_one_chunk_for_each(size):
    chunks = [PAGE[at : at + size] for at in range(0, len(PAGE), size)]
    exchange = ask(guarded(streaming(*chunks)), http())
    assert exchange.body == TAGGED
    assert len(exchange.chunks) in (len(chunks), len(chunks) + 1)


def test_a_chunk_is_sent_before_the_next_is_asked_for():
    log = []

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        for number in range(3):
            log.append(f"made {number}")
            yield b"%d" % number

    log.extend(f"sent {chunk.decode()}" for chunk in guarded(app, checked=False)(http(), lambda *start: print))
    assert log == ["made 0", "sent 0", "made 1", "sent 1", "made 2", "sent 2"]


def test_the_body_is_closed_when_it_was_read_and_when_it_was_not():
    for most in (None, 1):
        closed: list[bool] = []
        ask(guarded(streaming(b"a", b"b", b"c", closed=closed)), http(), most=most)
        assert closed == [True]


def test_a_body_that_breaks_off_breaks_off():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html")])
        yield HEAD + b"<title>"
        raise ZeroDivisionError

    exchange = ask(guarded(app, checked=False), http(), checked=False)
    assert isinstance(exchange.error, ZeroDivisionError)
    assert exchange.body.startswith(HEAD)
    assert exchange.body.endswith(b"<title>")


@pytest.mark.parametrize("held", [b"<ti", b"<head>\n", b"<head><meta char"])
@pytest.mark.parametrize("writes", [True, False])
def test_what_is_held_back_of_a_page_goes_out_when_the_app_breaks_off(held, writes):
    begun = b"<!doctype html>" + held
    fields = [("Content-Type", "text/html; charset=utf-8")]

    def yielding(environ, start_response):
        start_response("200 OK", fields)
        yield begun
        raise ZeroDivisionError

    def writing(environ, start_response):
        start_response("200 OK", fields)(begun)
        raise ZeroDivisionError

    guard = guarded(writing if writes else yielding, checked=False)
    exchange = ask(guard, http(), checked=False)
    assert isinstance(exchange.error, ZeroDivisionError)
    assert exchange.body.replace(guard.runtime.compiled.site_declared.tags, b"") == begun


def test_a_compressed_page_is_reported_once(caplog):
    report_compressed_page.cache_clear()
    for _ in range(2):
        ask(guarded(answering(b"x", "text/html", "200 OK", ("Content-Encoding", "gzip"))), http())
    (record,) = caplog.records
    assert "NoAIWSGIMiddleware(app)" in record.message


def test_an_app_that_fails_before_it_answers_is_the_servers_to_answer():
    def app(environ, start_response):
        raise ZeroDivisionError

    assert isinstance(ask(guarded(app, checked=False), http(), checked=False).error, ZeroDivisionError)


def restarting(first_type, behind=b""):
    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Type", first_type)])
        if behind:
            write(behind)
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"sorry"]

    return app


@pytest.mark.parametrize("first_type", ["text/html", "audio/mpeg"])
def test_a_response_may_be_started_again_for_an_error(first_type):
    exchange = ask(guarded(restarting(first_type)), http())
    assert [status for status, *_ in exchange.starts] == ["200 OK", "500 Internal Server Error"]
    assert exchange.headers == [(b"Content-Type", b"text/plain"), *OURS]
    assert exchange.starts[1][2][0] is ZeroDivisionError
    assert exchange.body == b"sorry"


def test_an_error_behind_sent_bytes_is_raised_again_by_the_server():
    exchange = ask(guarded(restarting("audio/mpeg", b"already"), checked=False), http(), checked=False)
    assert isinstance(exchange.error, ZeroDivisionError)
    assert exchange.body == b"already"


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_what_is_written_the_old_way_is_the_same(size):
    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/html")])
        for at in range(0, 30, size):
            write(PAGE[at : min(at + size, 30)])
        return [PAGE[30:]]

    guard = guarded(app)
    assert ask(guard, http()).body == TAGGED
    assert metric(guard, "bytes", outcome="served") == len(TAGGED)


def test_a_page_that_is_held_back_at_its_end_is_sent_all():
    for body in (b"<!doctype html><he", b"<", HEAD, b"<p>a fragment", b""):
        for app in (answering(body, "text/html"), streaming(body)):
            assert ask(guarded(app), http()).body.replace(TAGS, b"") == body


def test_bytes_are_counted_while_a_stream_goes_on():
    guard = guarded(streaming(*[b"x" * 100] * 10, content_type="audio/mpeg"))
    ask(guard, http(), most=3)
    assert metric(guard, "bytes", outcome="served") == 300


@pytest.mark.parametrize("part", ["html_tags.TagInjector", "wsgi_response.native", "wsgi_response.tagged"])
def test_a_guard_that_fails_on_the_way_out_leaves_the_response_alone(part, monkeypatch):
    monkeypatch.setattr(f"noai_guard.middleware.{part}", broken)
    guard = guarded(answering(PAGE, "text/html"))
    exchange = ask(guard, http())
    assert (exchange.error, exchange.body) == (None, PAGE)
    assert exchange.values(b"content-length") == [b"%d" % len(PAGE)]
    assert metric(guard, "guard_failures", place="declaring") >= 1


def test_an_injector_that_fails_in_a_page_leaves_the_rest_of_it(monkeypatch):
    monkeypatch.setattr("noai_guard.middleware.wsgi_response.feed", broken)
    guard = guarded(streaming(PAGE))
    assert ask(guard, http()).body == PAGE
    assert metric(guard, "guard_failures", place="declaring") >= 1


@pytest.mark.parametrize("header", [("X-Ü", "日本"), ("Content-Length", "many"), ("X", "")])
def test_headers_that_no_app_should_send_are_the_servers_to_judge(header):
    app = answering(PAGE, "text/plain", "200 OK", header)
    exchange = ask(guarded(app, checked=False), http(), checked=False)
    assert exchange.error is None
    assert [header] == [field for field in exchange.starts[0][1] if field == header]


def test_a_body_that_is_none_is_the_apps_fault():
    def app(environ, start_response):
        start_response("200 OK", [])

    assert isinstance(ask(guarded(app, checked=False), http(), checked=False).error, TypeError)


def test_an_app_may_name_the_third_argument():
    def app(environ, start_response):
        start_response("500 Internal Server Error", [], exc_info=(ValueError, ValueError(), None))
        return [b"sorry"]

    assert ask(guarded(app, checked=False), http(), checked=False).starts[0][2][0] is ValueError
