"""What goes in comes out: the proxy between raw sockets."""

import asyncio
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from tests.servers import free_port, require, require_program

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from noai_guard.reverse_proxy import exchange  # noqa: E402
from noai_guard.reverse_proxy.app import ReverseProxy  # noqa: E402
from noai_guard.reverse_proxy.upstream import Timeouts, Upstream  # noqa: E402
from tests.middleware.asgi_kit import OURS, SCRAPER, asked, http  # noqa: E402
from tests.raw_http import exchanged, parsed  # noqa: E402
from tests.reverse_proxy.proxy_kit import Origin, Proxy, proxying, wait_until  # noqa: E402

FAST = Timeouts(connect=1.0, first_byte=0.4, idle=0.4)


@pytest.fixture(scope="module")
def origin():
    running = Origin()
    yield running
    running.close()


@pytest.fixture(scope="module")
def proxy(origin):
    with proxying(f"http://127.0.0.1:{origin.port}") as running:
        yield running


@pytest.fixture(scope="module")
def hasty(origin):
    """A proxy without patience."""
    with proxying(f"http://127.0.0.1:{origin.port}", timeouts=FAST) as running:
        yield running


def seen(origin: Origin, proxy: Proxy, target: str, *more: bytes, **options):
    """The request as it reaches the origin."""
    before = len(origin.visits)
    proxy.fetch(target, *more, **options)
    assert len(origin.visits) == before + 1
    return origin.visits[-1]


def without_ours(headers):
    return [field for field in headers if field not in OURS]


def test_an_answer_comes_back_with_its_lines_in_order_and_ours_behind(origin, proxy):
    lines = [
        b"Set-Cookie: a=1; Path=/",
        b"X-One: 1",
        b"set-cookie: b=2",
        b"x-one: 2",
        b"Date: Mon, 01 Jan 2024 00:00:00 GMT",
    ]
    origin.page("/lines", lambda visit: visit.answer(b"hi", *lines))
    answer = proxy.fetch("/lines")
    assert answer.headers == [
        (b"content-length", b"2"), (b"set-cookie", b"a=1; Path=/"), (b"x-one", b"1"), (b"set-cookie", b"b=2"), (b"x-one", b"2"),
        (b"date", b"Mon, 01 Jan 2024 00:00:00 GMT"), *OURS, (b"connection", b"close"),
    ]  # fmt: skip
    assert (answer.status, answer.body, answer.complete) == (200, b"hi", True)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/a%2Fb",
        "//a//b",
        "/a/../b",
        "/a/%2e%2e/b",
        "/a;p=1/b",
        "/a\\b",
        "/%",
        "/%zz%00",
        "/a?b?c=%2F&d=&&",
        "/?",
        "/a+b%20c",
    ],
)
def test_a_target_reaches_the_origin_as_it_was_sent(origin, proxy, target):
    # ASGI does not tell an empty query from none.
    assert seen(origin, proxy, target).target.decode() == target.removesuffix("?")


def test_a_target_that_was_not_encoded_is_encoded_as_browsers_do(origin, proxy):
    request = (
        "GET /björk/ü?q=å HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\nX-Name: Björk\r\nConnection: close\r\n\r\n".encode()
    )
    proxy.raw(request)
    assert origin.visits[-1].target == b"/bj%C3%B6rk/%C3%BC?q=%C3%A5"
    assert origin.visits[-1].values(b"x-name") == ["Björk".encode()]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_it_is_encoded_wherever_the_packets_end(origin, proxy, cut):
    request = "GET /björk/ü HTTP/1.1\r\nHost: x\r\nX-Name: Björk\r\nConnection: close\r\n\r\n".encode()
    with proxy.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(request[:cut])
        time.sleep(0.01)
        client.sendall(request[cut:])
        while client.recv(65536):
            pass
    assert origin.visits[-1].target == b"/bj%C3%B6rk/%C3%BC"
    assert origin.visits[-1].values(b"x-name") == ["Björk".encode()]


def test_header_bytes_reach_the_origin_unchanged(origin, proxy):
    visit = seen(origin, proxy, "/", b"X-Latin: caf\xe9", b"X-Utf: caf\xc3\xa9", b"Cookie: a=1; b=\xff", b"Cookie: c=3")
    assert visit.values(b"x-latin") == [b"caf\xe9"]
    assert visit.values(b"x-utf") == [b"caf\xc3\xa9"]
    assert visit.values(b"cookie") == [b"a=1; b=\xff", b"c=3"]


def test_fields_about_one_connection_end_here_in_both_directions(origin, proxy):
    visit = seen(
        origin, proxy, "/", b"Connection: X-Mine, Host, User-Agent", b"X-Mine: 1", b"Keep-Alive: 5", b"TE: trailers", b"Proxy-Authorization: x",
        b"Proxy-Connection: keep-alive", b"Trailer: X-Sum", b"Upgrade: h2c", b"HTTP2-Settings: AAA", b"Proxy: http://evil",
    )  # fmt: skip
    names = {line.partition(b":")[0].lower() for line in visit.lines}
    assert names == {
        b"host",
        b"user-agent",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"forwarded",
        b"x-real-ip",
    }
    origin.page(
        "/hop",
        lambda v: v.answer(
            b"",
            b"Connection: X-Own, keep-alive",
            b"X-Own: 1",
            b"Keep-Alive: 9",
            b"Proxy-Authenticate: x",
            b"Trailer: y",
            b"X-Kept: 1",
        ),
    )
    names = [name for name, _ in without_ours(proxy.fetch("/hop").headers)]
    assert names == [b"content-length", b"x-kept", b"date", b"connection"]


def test_range_and_conditions_pass_and_their_answers_too(origin, proxy):
    def partial(visit):
        assert visit.values(b"range") == [b"bytes=2-4"]
        visit.answer(b"llo", b"Content-Range: bytes 2-4/5", b"Accept-Ranges: bytes", status=b"206 Partial Content")

    def known(visit):
        assert visit.values(b"if-none-match") == [b'"x"']
        visit.say(b'HTTP/1.1 304 Not Modified\r\netag: "x"\r\ncontent-length: 77\r\n\r\n')

    answer = proxy.fetch(origin.page("/song.mp3", partial), b"Range: bytes=2-4")
    assert (answer.status, answer.body, answer.values(b"content-range")) == (206, b"llo", [b"bytes 2-4/5"])
    answer = proxy.fetch(origin.page("/known", known), b'If-None-Match: "x"')
    assert (answer.status, answer.body, answer.values(b"etag"), answer.values(b"content-length")) == (
        304,
        b"",
        [b'"x"'],
        [b"77"],
    )


def test_head_says_what_get_would(origin, proxy):
    origin.page(
        "/head",
        lambda visit: visit.say(b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\ncontent-type: audio/flac\r\n\r\n"),
    )
    answer = proxy.fetch("/head", method=b"HEAD")
    assert (answer.status, answer.body, answer.values(b"content-length")) == (200, b"", [b"104857600"])
    assert proxy.fetch("/").body == b"hello"


@pytest.mark.parametrize("status", [200, 204, 206, 301, 304, 404, 410, 418, 451, 500, 503, 599])
def test_statuses_pass(origin, proxy, status):
    body = b"" if status in (204, 304) else b"x"
    length = b"content-length: %d\r\n" % len(body) if body else b""
    origin.page(f"/{status}", lambda visit: visit.say(b"HTTP/1.1 %d Word\r\n%b\r\n%b" % (status, length, body)))
    answer = proxy.fetch(f"/{status}")
    assert (answer.status, answer.body, answer.complete) == (status, body, True)


def test_an_answer_streams(origin, proxy):
    def slowly(visit):
        visit.say(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n5\r\nfirst\r\n"
        )
        assert visit.link.recv(1) == b""  # nothing more until the client, which has seen it, goes

    origin.page("/events", slowly)
    with proxy.connect() as client:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while b"first" not in got:
            got += client.recv(65536)


def test_an_upload_streams_and_keeps_its_framing(origin, proxy):
    def receiving(visit):
        visit.say(b"HTTP/1.1 200 OK\r\nx-early: 1\r\ntransfer-encoding: chunked\r\n\r\n")
        body = visit.body()
        visit.say(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    origin.page("/upload", receiving)
    with proxy.connect() as client:
        client.sendall(
            b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nfirst\r\n"
        )
        got = b""
        while b"x-early" not in got:  # answered while the body is on its way
            got += client.recv(65536)
        client.sendall(b"6\r\nsecond\r\n0\r\n\r\n")
        while more := client.recv(65536):
            got += more
    assert parsed(got).body == b"firstsecond"
    assert origin.visits[-1].values(b"transfer-encoding") == [b"chunked"]
    visit = seen(origin, proxy, "/upload-known", method=b"PUT", body=b"x" * 300_000)
    assert visit.values(b"content-length") == [b"300000"]
    assert visit.values(b"transfer-encoding") == []


def test_no_body_is_invented(origin, proxy):
    for method in (b"GET", b"DELETE", b"OPTIONS", b"POST"):
        visit = seen(origin, proxy, "/", method=method)
        assert visit.values(b"content-length") + visit.values(b"transfer-encoding") == []
    assert seen(origin, proxy, "/", b"Content-Length: 0", method=b"POST").values(b"content-length") == [b"0"]


def test_connections_are_kept_for_safe_requests_and_fresh_for_others(origin, proxy):
    proxy.fetch("/")
    before = origin.connections
    for _ in range(5):
        assert proxy.fetch("/").status == 200
    assert origin.connections == before
    for _ in range(3):
        assert proxy.fetch("/", method=b"POST", body=b"x").status == 200
    assert origin.connections == before + 3


def test_a_kept_connection_that_the_origin_closes_does_not_fail_the_next_request(origin, proxy):
    def once(visit):
        """Takes the request and closes: what a client sees of an idle connection that ends as it is used."""
        if not hasattr(once, "done"):
            once.done = True
            visit.reset()
        else:
            visit.answer(b"again")

    origin.page("/stale", once)
    proxy.fetch("/")
    assert proxy.fetch("/stale").body == b"again"


def test_a_request_that_changes_something_is_never_sent_twice(origin, proxy):
    origin.page("/order", lambda visit: (visit.body(), visit.reset()))
    before = len(origin.visits)
    assert proxy.fetch("/order", method=b"POST", body=b"x").status == 502
    assert len(origin.visits) == before + 1


def test_an_upload_waits_for_the_origins_word(origin, proxy):
    def refuses(visit):
        assert visit.values(b"expect") == [b"100-continue"]
        visit.answer(b"too large", b"connection: close", status=b"413 Content Too Large")

    def wants(visit):
        visit.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        visit.answer(visit.body())

    def says_nothing(visit):
        visit.answer(visit.body())

    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    answer = proxy.raw(head % origin.page("/413", refuses).encode())
    assert (answer.status, answer.body) == (413, b"too large")
    for path, page in (("/wants", wants), ("/silent", says_nothing)):
        with proxy.connect() as client:
            client.sendall(head % origin.page(path, page).encode())
            got = client.recv(65536)
            assert got == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(b"12345")
            got = b""
            while more := client.recv(65536):
                got += more
            assert parsed(got).body == b"12345"


def test_an_answer_before_the_end_of_an_upload_reaches_the_client(origin, proxy):
    def impatient(visit):
        visit.say(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig")
        visit.gone()

    origin.page("/impatient", impatient)
    with proxy.connect() as client:
        client.sendall(b"POST /impatient HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 1000)
        got = b""
        while b"big" not in got:
            got += client.recv(65536)
    assert parsed(got).status == 413


def test_what_one_client_asks_in_a_row_is_answered_in_order(origin, proxy):
    for number in range(5):
        origin.page(f"/{number}th", lambda visit: (time.sleep(0.02), visit.answer(visit.target)))
    requests = b"".join(b"GET /%dth HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5))
    got = exchanged(proxy.port, requests, until=b"/4th")
    assert [got.index(b"/%dth" % number) for number in range(5)] == sorted(
        got.index(b"/%dth" % number) for number in range(5)
    )


def test_informational_answers_do_not_confuse(origin, proxy):
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"
    origin.page(
        "/early", lambda visit: visit.say(early, b"HTTP/1.1 102 Processing\r\n\r\n", early) or visit.answer(b"late")
    )
    assert proxy.fetch("/early").body == b"late"


def test_early_hints_are_passed_on_where_the_server_can_send_them(origin):
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\n\r\n"
    origin.page("/hints", lambda visit: (visit.say(early), visit.answer(b"late")))

    async def asking():
        app = ReverseProxy(Upstream.parse(f"http://127.0.0.1:{origin.port}"))
        exchange = await asked(app, http("/hints", extensions={"http.response.early_hint": {}}))
        await app.pool.close()
        return exchange

    exchange = asyncio.run(asking())
    assert exchange.messages[0] == {
        "type": "http.response.early_hint",
        "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"],
    }
    assert (exchange.status, exchange.body) == (200, b"late")


def test_trailers_of_either_side_change_nothing(origin, proxy):
    origin.page(
        "/sum",
        lambda visit: visit.say(
            b"HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"
        ),
    )
    answer = proxy.fetch("/sum")
    assert (answer.body, answer.complete, answer.values(b"x-sum"), answer.values(b"trailer")) == (b"abc", True, [], [])
    body = b"3\r\nabc\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nAuthorization: x\r\n\r\n"
    proxy.raw(b"POST /late HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body)
    assert origin.visits[-1].values(b"x-forwarded-for") == [b"127.0.0.1"]
    assert origin.visits[-1].values(b"authorization") == []


def test_an_encoded_page_passes_as_it_is(origin, proxy):
    import gzip

    page = gzip.compress(b"<html><head></head></html>")
    origin.page("/gzip", lambda visit: visit.answer(page, b"content-type: text/html", b"content-encoding: gzip"))
    answer = proxy.fetch("/gzip", b"Accept-Encoding: gzip")
    assert (answer.body, answer.values(b"content-encoding")) == (page, [b"gzip"])


def test_a_page_gets_metas_and_a_scraper_a_refusal(origin, proxy):
    origin.page("/page", lambda visit: visit.answer(b"<html><head></head></html>", b"content-type: text/html"))
    assert b'<meta name="robots" content="noai, noimageai">' in proxy.fetch("/page").body
    before = len(origin.visits)
    assert proxy.fetch("/page", user_agent=SCRAPER).status == 403
    assert len(origin.visits) == before


def test_the_origins_robots_txt_is_merged(origin, proxy):
    origin.page(
        "/robots.txt", lambda visit: visit.answer(b"User-agent: *\nDisallow: /private/\n", b"content-type: text/plain")
    )
    body = proxy.fetch("/robots.txt").body
    assert b"Disallow: /private/" in body
    assert b"GPTBot" in body


def test_an_old_player_gets_an_answer_that_ends_with_the_connection(origin, proxy):
    origin.page(
        "/stream",
        lambda visit: visit.say(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
        ),
    )
    got = exchanged(proxy.port, b"GET /stream HTTP/1.0\r\nUser-Agent: WinampMPEG/2.7\r\n\r\n")
    head, _, body = got.partition(b"\r\n\r\n")
    assert body == b"abcdef"
    assert b"transfer-encoding" not in head.lower()
    assert origin.visits[-1].values(b"host") == [b"127.0.0.1:%d" % origin.port]


def test_health_is_the_processs_own(origin, proxy):
    before = len(origin.visits)
    assert proxy.fetch("/.noai/health", user_agent=SCRAPER).body == b"ok\n"
    assert proxy.fetch("/.noai/ready", method=b"HEAD").status == 200
    assert len(origin.visits) == before


def test_a_client_that_goes_takes_the_upstreams_request_with_it(origin, proxy):
    gone = []
    started = []

    def endless(visit):
        visit.say(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nx")
        started.append(visit)
        gone.append(visit.gone())

    def silent(visit):
        started.append(visit)
        gone.append(visit.gone())

    for path, page in (("/endless", endless), ("/silence", silent)):
        client = proxy.connect()
        client.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % origin.page(path, page).encode())
        wait_until(lambda: started)
        client.close()
        wait_until(lambda: gone)
        assert gone == [True]
        gone.clear()
        started.clear()


def test_a_client_that_goes_within_its_upload_leaves_no_half_request_behind(origin, proxy):
    ended = []

    def receiving(visit):
        try:
            ended.append(len(visit.body()))
        except ConnectionError:
            ended.append(None)

    client = proxy.connect()
    client.sendall(
        b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
        % origin.page("/half", receiving).encode()
    )
    wait_until(lambda: origin.visits[-1].target == b"/half")
    client.close()
    wait_until(lambda: ended)
    assert ended == [None]


def test_a_slow_answer_is_504_and_a_slow_upload_408(origin, hasty):
    origin.page("/slow", lambda visit: visit.gone())
    answer = hasty.fetch("/slow")
    assert (answer.status, answer.values(b"cache-control")) == (504, [b"no-store"])
    assert set(OURS) <= set(answer.headers)
    answer = hasty.raw(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")
    assert answer.status == 408


def test_an_upstream_that_takes_no_connection_is_504():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for link in waiting:
            link.setblocking(False)
            link.connect_ex(full.getsockname())
        with proxying(f"http://127.0.0.1:{full.getsockname()[1]}", timeouts=Timeouts(connect=0.3)) as running:
            assert running.fetch("/").status == 504
        for link in waiting:
            link.close()


def test_a_client_that_takes_nothing_is_left(origin, proxy, monkeypatch):
    monkeypatch.setattr(exchange, "_STALLED_SECONDS", 0.3)
    left = []

    def song(visit):
        with suppress(ConnectionError):
            visit.say(*(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n", *([b"x" * 1_000_000] * 100)))
        left.append(True)

    with proxy.connect() as client:
        client.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % origin.page("/paused", song).encode())
        wait_until(lambda: left)


def test_an_upload_may_take_longer_than_an_answer(origin, hasty):
    origin.page("/long", lambda visit: visit.answer(visit.body()))
    with hasty.connect() as client:
        client.sendall(b"POST /long HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\nConnection: close\r\n\r\n")
        for _ in range(8):
            time.sleep(0.15)
            client.sendall(b"x")
        assert parsed(b"".join(iter(lambda: client.recv(65536), b""))).body == b"x" * 8


def test_an_upstream_that_cannot_be_reached_is_502_with_a_page_for_people_only(origin):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with proxying(f"http://127.0.0.1:{port}") as running:
        page = running.fetch("/", b"Accept: text/html")
        audio = running.fetch("/song.mp3")
        ready = running.fetch("/.noai/ready")
        robots = running.fetch("/robots.txt")
    assert (page.status, page.values(b"content-type")) == (502, [b"text/html; charset=utf-8"])
    assert b"<h1>Bad gateway</h1>" in page.body
    assert set(OURS) <= set(page.headers)
    assert (audio.status, audio.values(b"content-type")) == (502, [b"text/plain; charset=utf-8"])
    assert (ready.status, ready.body) == (503, b"the upstream cannot be reached\n")
    assert robots.status == 200


def test_an_upstream_on_a_unix_socket_and_one_with_tls(tmp_path):
    app = tmp_path / "small_app.py"
    app.write_text(
        "async def app(scope, receive, send):\n"
        "    if scope['type'] != 'http':\n        return\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'x-scheme', scope['scheme'].encode())]})\n"
        "    await send({'type': 'http.response.body', 'body': dict(scope['headers'])[b'host']})\n"
    )
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    subprocess.run(
        [require_program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    uvicorn = [sys.executable, "-m", "uvicorn", "small_app:app", "--no-access-log", "--log-level=error"]
    port = free_port()
    sock = tmp_path / "up.sock"
    origins = [
        subprocess.Popen([*uvicorn, "--uds", str(sock)], cwd=tmp_path),
        subprocess.Popen(
            [*uvicorn, f"--port={port}", "--no-proxy-headers", f"--ssl-keyfile={key}", f"--ssl-certfile={cert}"],
            cwd=tmp_path,
        ),
    ]
    try:
        wait_until(lambda: all(map(listens, (sock, port))))
        for upstream, scheme in ((f"unix:{sock}", b"http"), (f"https://localhost:{port}", b"https")):
            with proxying(Upstream.parse(upstream, ca_file=cert)) as running:
                answer = running.fetch("/")
            assert (answer.status, answer.values(b"x-scheme"), answer.body) == (200, [scheme], b"music.example")
        with proxying(f"https://localhost:{port}") as running:
            assert running.fetch("/").status == 502
    finally:
        for process in origins:
            process.terminate()
            process.wait(20)


def listens(place):
    family = socket.AF_INET if isinstance(place, int) else socket.AF_UNIX
    with socket.socket(family) as probe:
        return probe.connect_ex(("127.0.0.1", place) if isinstance(place, int) else str(place)) == 0


def test_a_client_gets_date_once(origin, proxy):
    assert len(proxy.fetch("/").values(b"date")) == 1
    assert len(proxy.fetch("/", user_agent=SCRAPER).values(b"date")) == 1
