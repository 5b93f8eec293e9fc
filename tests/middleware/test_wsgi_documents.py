"""robots.txt and the other documents through WSGI, merged with the app's own."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from protego import Protego

from tests.middleware.asgi_kit import BROWSER, SCRAPER, metric
from tests.middleware.wsgi_kit import answering, ask, guarded, http, streaming

OWN = "User-agent: *\nDisallow: /private\n\nSitemap: https://music.example/map.xml\n"


def robots_of(app, text=None, **keys):
    exchange = ask(guarded(app, text), http("/robots.txt", BROWSER, **keys))
    assert exchange.status == 200
    return exchange.text


def merged(text):
    robots = Protego.parse(text)
    assert not robots.can_fetch("https://music.example/tracks/a", "GPTBot")
    return not robots.can_fetch("https://music.example/private/a", "SomeBot")


@pytest.mark.parametrize("path", ["/robots.txt", "/.well-known/tdmrep.json", "/.well-known/noai"])
@pytest.mark.parametrize("user_agent", [BROWSER, SCRAPER, None])
def test_everyone_may_read_the_documents(path, user_agent):
    guard = guarded(answering(status="404 Not Found"))
    exchange = ask(guard, http(path, user_agent))
    assert exchange.starts[0][0] == "200 OK"
    assert exchange.values(b"content-length") == [b"%d" % len(exchange.body)]
    assert metric(guard, "documents", document=path) == 1


@pytest.mark.parametrize("app", [
    answering(OWN.encode()), streaming(*[b"%c" % byte for byte in OWN.encode()], content_type="text/plain"),
])  # fmt: skip
def test_the_apps_own_rules_are_kept(app):
    text = robots_of(app, HTTP_IF_NONE_MATCH='"x"', HTTP_RANGE="bytes=0-1", HTTP_ACCEPT_ENCODING="gzip")
    assert merged(text)
    assert "Sitemap: https://music.example/map.xml" in text


def test_the_app_is_asked_plainly_and_without_the_clients_conditions():
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        return answering(OWN.encode())(environ, start_response)

    text = robots_of(app, REQUEST_METHOD="HEAD", QUERY_STRING="x=1", CONTENT_LENGTH="5", HTTP_RANGE="bytes=0-",
                     HTTP_COOKIE="a=1", RAW_URI="//robots.txt?x=1", **{"wsgi.input": BytesIO(b"12345")})  # fmt: skip
    assert text == ""  # the answer to HEAD
    asked = {key: seen.get(key) for key in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "RAW_URI", "HTTP_COOKIE")}
    assert list(asked.values()) == ["GET", "/robots.txt", "", "/robots.txt", None]
    assert not {"CONTENT_LENGTH", "HTTP_RANGE"} & seen.keys()
    assert seen["noai.verdict"].action == "allow"


def test_a_mounted_app_is_asked_where_it_is_mounted():
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        return answering(OWN.encode())(environ, start_response)

    assert merged(ask(guarded(app), http("/robots.txt", SCRIPT_NAME="/shop")).text)
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/shop", "/robots.txt")
    assert ask(guarded(app), http("/shop/robots.txt")).body == OWN.encode()


def old_style(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(OWN[:10].encode())
    return [OWN[10:].encode()]


def after_all(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    try:
        raise ValueError
    except ValueError:
        start_response("200 OK", [("Content-Type", "text/plain")], sys.exc_info())
    return [OWN.encode()]


@pytest.mark.parametrize("app", [old_style, after_all])
def test_every_way_to_answer_is_understood(app):
    assert merged(robots_of(app))


def raising(environ, start_response):
    raise ValueError("broken")


def breaking_off(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"User-agent: *\nDisallow: /"
    raise ValueError("broken")


@pytest.mark.parametrize("app", [raising, breaking_off, answering(b"", "text/plain", "503 Service Unavailable")])
def test_the_robots_txt_of_an_app_that_fails_is_not_known_and_counted(app, caplog):
    guard = guarded(app)
    exchange = ask(guard, http("/robots.txt"))
    assert (exchange.status, exchange.values(b"cache-control")) == (503, [b"no-store"])
    assert metric(guard, "guard_failures", place="robots_txt") == 1


@pytest.mark.parametrize("app", [answering(status="404 Not Found"), answering(b"<p>Nothing.</p>", "text/html")])
def test_what_holds_no_rule_is_no_robots_txt(app):
    assert not merged(robots_of(app))


def test_for_many_clients_at_once_the_app_is_asked_once_for_each_host():
    asked_for = []
    together = threading.Barrier(6)

    def app(environ, start_response):
        asked_for.append(environ["HTTP_HOST"])
        time.sleep(0.2)
        return answering(f"User-agent: *\nDisallow: /of-{environ['HTTP_HOST']}\n".encode())(environ, start_response)

    guard = guarded(app)

    def client(number):
        together.wait()
        host = f"{number % 2}.example"
        return host, ask(guard, http("/robots.txt", HTTP_HOST=host, HTTP_COOKIE=f"a={number}")).text

    with ThreadPoolExecutor(6) as pool:
        for host, text in pool.map(client, range(6)):
            assert text.count("Disallow: /of-") == text.count(f"Disallow: /of-{host}") > 0
    assert sorted(asked_for) == ["0.example", "1.example"]


def test_a_mounted_app_is_followed_within_itself_only():
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/robots.txt":
            where = "/shop/static/robots.txt" if environ["HTTP_HOST"] == "music.example" else "/static/robots.txt"
            start_response("302 Found", [("Location", where), ("Content-Type", "text/plain")])
            return [b""]
        assert environ["PATH_INFO"] == "/static/robots.txt"
        return answering(OWN.encode())(environ, start_response)

    guard = guarded(app)
    assert merged(ask(guard, http("/robots.txt", SCRIPT_NAME="/shop")).text)
    assert ask(guard, http("/robots.txt", SCRIPT_NAME="/shop", HTTP_HOST="other.example")).status == 503


def test_an_app_that_sends_to_https_or_to_its_own_name_is_asked_there():
    def app(environ, start_response):
        if (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) != ("https", "www.music.example"):
            start_response(
                "301 Moved", [("Location", "https://www.music.example/robots.txt"), ("Content-Type", "text/plain")]
            )
            return [b""]
        assert "HTTP_X_FORWARDED_PROTO" not in environ
        return answering(OWN.encode())(environ, start_response)

    exchange = ask(guarded(app), http("/robots.txt", HTTP_X_FORWARDED_PROTO="http") | {"wsgi.url_scheme": "http"})
    assert merged(exchange.text)


def test_an_app_that_fails_later_keeps_the_rules_that_it_had():
    broken = False

    def app(environ, start_response):
        return (raising if broken else answering(OWN.encode()))(environ, start_response)

    guard = guarded(app)
    assert merged(ask(guard, http("/robots.txt")).text)
    broken = True
    assert merged(ask(guard, http("/robots.txt")).text)


def test_an_endless_robots_txt_is_answered_and_closed():
    closed = []

    def endless(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            while True:
                yield b"User-agent: a\nDisallow: /b\n" * 9999
        finally:
            closed.append(True)

    assert 500_000 < len(robots_of(endless)) < 700_000
    assert closed == [True]


def test_replace_does_not_ask_the_app_and_off_leaves_it_to_the_app():
    assert not merged(robots_of(raising, "declarations: {robots_txt: replace}"))
    assert robots_of(answering(OWN.encode()), "declarations: {robots_txt: off}") == OWN


def test_a_document_that_the_client_has_is_a_304():
    guard = guarded(answering(OWN.encode()))
    (etag,) = ask(guard, http("/robots.txt")).values(b"etag")
    exchange = ask(guard, http("/robots.txt", HTTP_IF_NONE_MATCH=etag.decode()))
    assert (exchange.starts[0][0], exchange.body, exchange.values(b"content-length")) == ("304 Not Modified", b"", [])


def test_documents_are_only_for_get_and_head():
    assert ask(guarded(answering()), http("/robots.txt", SCRAPER, REQUEST_METHOD="POST")).status == 403
