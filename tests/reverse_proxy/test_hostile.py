"""Broken upstreams and hostile clients: nobody takes a part for the whole, nobody slips a request in."""

import re
import socket
import time
from contextlib import suppress

import pytest

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from noai_guard.core.trusted_proxies import NOBODY  # noqa: E402
from noai_guard.reverse_proxy import uvicorn_protocol  # noqa: E402
from noai_guard.reverse_proxy.headers import request_fields, response_fields  # noqa: E402
from noai_guard.reverse_proxy.upstream import Timeouts, Upstream  # noqa: E402
from tests.middleware.asgi_kit import BROWSER, OURS, SCRAPER  # noqa: E402
from tests.raw_http import exchanged, parsed  # noqa: E402
from tests.reverse_proxy.proxy_kit import Origin, proxying  # noqa: E402

POLICY = """
usages: {train-ai: no}
paths:
  /press/**: {usages: {train-ai: yes}}
  /news: {usages: {train-ai: yes}}
trusted_proxies: {peers: [127.0.0.2, "unix:"], header: x-forwarded-for}
"""


@pytest.fixture(scope="module")
def origin():
    running = Origin()
    yield running
    running.close()


@pytest.fixture(scope="module")
def proxy(origin, tmp_path_factory):
    policy = tmp_path_factory.mktemp("policy") / "noai.yaml"
    policy.write_text(POLICY)
    with proxying(f"http://127.0.0.1:{origin.port}", policy, Timeouts(first_byte=5, idle=1)) as running:
        yield running


def drained(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.fixture(scope="module")
def broken_off():
    """A proxy with an origin of its own, for requests that end within their body: what of them reaches the origin,
    reaches it at some time later."""
    running = Origin()
    with proxying(f"http://127.0.0.1:{running.port}") as proxy:
        yield running, proxy
    running.close()


BEGINNINGS = {
    "length": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
    "chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "within a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\nhalf",
    "before the last line": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
}
ENDS = {
    "closes": lambda visit: visit.link.shutdown(socket.SHUT_RDWR),
    "resets": lambda visit: visit.reset(),
    "falls silent": lambda visit: visit.gone(),
    "sends garbage": lambda visit: visit.say(b"zz\r\n\r\n"),
}


@pytest.mark.parametrize(
    ("beginning", "end"),
    [(b, e) for b in BEGINNINGS for e in ENDS if e != "sends garbage" or b in ("chunks", "before the last line")],
)
def test_an_answer_that_breaks_off_never_looks_complete(origin, proxy, beginning, end):
    def page(visit):
        visit.say(BEGINNINGS[beginning])
        time.sleep(0.05)  # what has come is passed on, before the end is seen
        ENDS[end](visit)
        visit.gone()

    answer = proxy.fetch(origin.page("/breaks", page))
    assert (answer.status, answer.body, answer.complete) == (200, b"half", False)


def test_a_reset_ends_an_answer_of_unknown_length_as_incomplete(origin, proxy):
    def page(visit):
        visit.say(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        time.sleep(0.1)
        visit.reset()

    def whole(visit):
        visit.say(b"HTTP/1.1 200 OK\r\n\r\nwhole")
        visit.link.shutdown(socket.SHUT_RDWR)

    assert proxy.fetch(origin.page("/by-reset", page)).complete is False
    answer = proxy.fetch(origin.page("/by-close", whole))
    assert (answer.body, answer.complete) == (b"whole", True)


def test_an_http_1_0_client_sees_a_broken_answer_as_a_reset(origin, proxy):
    def page(visit):
        visit.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        time.sleep(0.1)
        visit.link.shutdown(socket.SHUT_RDWR)

    with proxy.connect() as client:
        client.sendall(b"GET %b HTTP/1.0\r\n\r\n" % origin.page("/old", page).encode())
        with pytest.raises(ConnectionResetError):
            drained(client)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5x\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-evil: a\x00b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx evil: a\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 5000,
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_an_upstream_that_speaks_no_http_is_502(origin, proxy, said):
    def page(visit):
        visit.say(said)
        visit.link.shutdown(socket.SHUT_WR)
        visit.gone(2)

    answer = proxy.fetch(origin.page("/odd", page))
    assert answer.status == 502
    assert answer.complete
    assert set(OURS) <= set(answer.headers)
    assert proxy.fetch("/").status == 200


@pytest.mark.parametrize("later", [0, 0.05])
def test_a_second_answer_is_not_given_to_the_next_request(origin, proxy, later):
    """Response splitting: what comes behind an answer belongs to nobody."""
    one, two = (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n" + body for body in (b"one", b"two"))

    def page(visit):
        visit.say(one if later else one + two)
        if later:
            time.sleep(later)
            visit.say(two)

    origin.page("/two", page)
    assert proxy.fetch("/two").body == b"one"
    time.sleep(3 * later)
    assert [proxy.fetch("/").body for _ in range(3)] == [b"hello"] * 3


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
SMUGGLING = {
    "length and chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED),
    "two lengths on a line": b"Content-Length: 0, %d\r\n\r\n" % len(SMUGGLED),
    "a signed length": b"Content-Length: +%d\r\n\r\n" % len(SMUGGLED),
    "a length in hex": b"Content-Length: 0x10\r\n\r\n",
    "a length with an underscore": b"Content-Length: 1_0\r\n\r\n",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and identity": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "gzip": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "xchunked": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked with a tab inside": b"Transfer-Encoding: chun\tked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a bare line feed in a name": b"X: y\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a null": b"X: y\x00z\r\n\r\n",
    "a bare carriage return": b"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad chunk size": b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a signed chunk size": b"Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than it says": b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "a huge chunk size": b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "two hosts": b"Host: y\r\n\r\n",
}


@pytest.mark.parametrize("how", SMUGGLING)
def test_a_request_with_two_ends_is_refused_and_its_connection_closed(broken_off, how):
    origin, proxy = broken_off
    before = len(origin.visits)
    got = exchanged(proxy.port, b"POST / HTTP/1.1\r\nHost: x\r\n" + SMUGGLING[how] + SMUGGLED)
    assert re.findall(rb"HTTP/1\.1 (\d+)", got) == [b"400"]
    assert not [visit for visit in origin.visits[before:] if visit.target == b"/smuggled"]


def test_a_folded_line_is_one_line_for_the_origin(origin, proxy):
    proxy.raw(b"GET /folded HTTP/1.1\r\nHost: x\r\nX-Long: a\r\n b\r\nConnection: close\r\n\r\n")
    assert origin.visits[-1].values(b"x-long") == [b"a b"]


@pytest.mark.parametrize(
    "line",
    [
        b"GET http:///x HTTP/1.1", b"GET x HTTP/1.1", b"GET ftp://x/y HTTP/1.1", b"CONNECT x:443 HTTP/1.1", b"GET ? HTTP/1.1",
        b"GET /a b HTTP/1.1", b"GET /\x01 HTTP/1.1", b"GET /", b"G\xc3\xa9T / HTTP/1.1",
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(origin, proxy, line):
    before = len(origin.visits)
    got = exchanged(proxy.port, line + b"\r\nHost: x\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 400 ")
    assert len(origin.visits) == before


@pytest.mark.parametrize("host", [b"a/b", b"a b", b"a?b", b"a@b", b"a#b", b"[::1", b"a\\b"])
def test_a_host_that_is_none_is_refused(proxy, host):
    assert proxy.raw(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host).status == 400


def test_an_absolute_target_names_the_host(origin, proxy):
    proxy.raw(b"GET http://real.example/tracks?q=1 HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n")
    visit = origin.visits[-1]
    assert (visit.target, visit.values(b"host"), visit.values(b"x-forwarded-host")) == (
        b"/tracks?q=1",
        [b"real.example"],
        [b"real.example"],
    )
    proxy.raw(b"GET http://real.example HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert origin.visits[-1].target == b"/"


def test_a_fragment_is_cut_off_before_anybody_reads_it(origin, proxy):
    proxy.raw(b"GET /news#/tracks?x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: %b\r\n\r\n" % SCRAPER)
    assert origin.visits[-1].target == b"/news"


def test_options_of_the_server_pass(origin, proxy):
    proxy.raw(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert origin.visits[-1].head.startswith(b"OPTIONS * HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "target",
    [
        "/tracks/song", "/press/../tracks/song", "/press/%2e%2e/tracks/song", "/press/..;/tracks/song", "/press/..%2ftracks/song",
        "/press/%2e%2e%2ftracks/song", "/press/..\\tracks\\song", "/press/..%5ctracks/song", "/tracks/x/../../press/y", "//press/tracks/song",
        "/press%2Fsong", "/press/%252e%252e/tracks/song", "/news;x/../tracks", "/press;/../tracks", "/tracks/..;/press/x", "/press%252Fsong",
    ],
)  # fmt: skip
def test_a_path_that_can_be_read_as_a_reserved_one_is_judged_as_that(origin, proxy, target):
    before = len(origin.visits)
    assert proxy.fetch(target, user_agent=SCRAPER).status == 403
    assert len(origin.visits) == before
    assert proxy.fetch(target, user_agent=BROWSER).status == 200
    assert origin.visits[-1].target.decode() == target


@pytest.mark.parametrize(
    "target", ["/press/kit", "/press//kit", "/press/./kit", "/news", "/press/a;b", "/press/a%20b", "/press/%25"]
)
def test_a_path_that_is_open_however_it_is_read_is_open(proxy, target):
    assert proxy.fetch(target, user_agent=SCRAPER).status == 200


def test_robots_txt_is_read_whatever_else_its_path_could_be(proxy):
    assert proxy.fetch("//robots.txt", user_agent=SCRAPER).status == 200


def test_heads_without_end_are_refused(proxy):
    assert exchanged(proxy.port, b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000)[:12] in (b"HTTP/1.1 400", b"")
    long = b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    assert exchanged(proxy.port, long, until=b"\r\n\r\n")[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 403", b"")


def test_trailers_without_end_are_cut(broken_off):
    _, proxy = broken_off
    got = b""
    with proxy.connect() as client, suppress(ConnectionError):
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        for _ in range(200):
            client.sendall(b"x: " + b"y" * 10_000 + b"\r\n")
        got = drained(client)
    assert got[:12] in (b"HTTP/1.1 400", b"")


def test_a_head_has_to_come_in_time(proxy, monkeypatch):
    monkeypatch.setattr(uvicorn_protocol, "HEAD_SECONDS", 0.2)
    whole = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    for said in (b"", b"GET / HTTP/1.1\r\nX: ", whole):
        with proxy.connect() as client:
            client.sendall(said)
            if said == whole:
                while b"hello" not in client.recv(65536):
                    pass
                client.sendall(b"GET")
            assert b"200" not in drained(client)


def scope(*headers, peer=("203.0.113.7", 5), **more):
    return {"headers": [(b"host", b"music.example"), *headers], "client": peer, "scheme": "http", **more}


def told(*headers, trusted=NOBODY, upstream="http://origin:8000", **more):
    fields = request_fields(scope(*headers, **more), Upstream.parse(upstream), trusted)
    return {name: [value for field, value in fields if field == name] for name, _ in fields}


SPOOFED = [
    (b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"evil.example"), (b"x-forwarded-port", b"1"),
    (b"x-forwarded-prefix", b"/x"), (b"x-forwarded-uri", b"/x"), (b"forwarded", b"for=6.6.6.6"), (b"x-real-ip", b"6.6.6.6"),
    (b"cf-connecting-ip", b"6.6.6.6"), (b"true-client-ip", b"6.6.6.6"), (b"x-original-url", b"/x"), (b"x-rewrite-url", b"/x"),
    (b"x_forwarded_for", b"6.6.6.6"), (b"x.real.ip", b"6.6.6.6"), (b"x_noai_verdict", b"allow"), (b"x-noai-verdict", b"allow"),
    (b"content_length", b"9"), (b"user_agent", b"x"), (b"transfer_encoding", b"chunked"), (b"x_original_url", b"/x"),
]  # fmt: skip


def test_what_a_client_says_about_itself_ends_here():
    assert told(*SPOOFED) == {
        b"host": [b"music.example"],
        b"x-forwarded-for": [b"203.0.113.7"],
        b"x-forwarded-proto": [b"http"],
        b"x-forwarded-host": [b"music.example"],
        b"forwarded": [b"for=203.0.113.7;host=music.example;proto=http"],
        b"x-real-ip": [b"203.0.113.7"],
    }


def trusting(*peers):
    from noai_guard.core.trusted_proxies import TrustedProxies

    trusted, problems = TrustedProxies.parse(peers, "x-forwarded-for")
    assert not problems
    return trusted


def test_what_a_trusted_proxy_says_is_passed_on_and_added_to():
    got = told(*SPOOFED, (b"x-forwarded-for", b"10.0.0.1"), trusted=trusting("203.0.113.0/24", "10.0.0.0/8"))
    assert got[b"x-forwarded-for"] == [b"6.6.6.6, 10.0.0.1, 203.0.113.7"]
    assert got[b"x-forwarded-proto"] == [b"https"]
    assert got[b"x-forwarded-host"] == [b"evil.example"]
    assert got[b"x-forwarded-port"] == [b"1"]
    assert got[b"forwarded"] == [b"for=6.6.6.6, for=203.0.113.7;host=music.example;proto=http"]
    assert got[b"x-real-ip"] == [b"6.6.6.6"]
    assert {
        b"x_forwarded_for",
        b"x.real.ip",
        b"x_noai_verdict",
        b"x-noai-verdict",
        b"content_length",
        b"user_agent",
    }.isdisjoint(got)


def test_addresses_are_written_as_the_standards_want():
    got = told(peer=("2001:db8::1", 5), scheme="https")
    assert got[b"x-forwarded-for"] == [b"2001:db8::1"]
    assert got[b"forwarded"] == [b'for="[2001:db8::1]";host=music.example;proto=https']
    assert told(peer=("::ffff:198.51.100.9", 5))[b"x-forwarded-for"] == [b"198.51.100.9"]
    behind = told((b"x-forwarded-for", b"198.51.100.9"), peer=None, trusted=trusting("unix:"))
    assert (behind[b"x-forwarded-for"], behind[b"x-real-ip"]) == ([b"198.51.100.9"], [b"198.51.100.9"])
    assert behind[b"forwarded"] == [b"for=unknown;host=music.example;proto=http"]
    nobody = told((b"x-forwarded-for", b"198.51.100.9"), peer=None)
    assert b"x-forwarded-for" not in nobody
    assert told(scheme="wss")[b"x-forwarded-proto"] == [b"https"]


def test_fields_that_only_look_alike_are_passed():
    got = told((b"x_api_key", b"1"), (b"api.key", b"2"), (b"x-real-ip-hint", b"3"))
    assert (got[b"x_api_key"], got[b"api.key"], got[b"x-real-ip-hint"]) == ([b"1"], [b"2"], [b"3"])


def test_the_upstreams_host_is_the_visitors_unless_told():
    assert told()[b"host"] == [b"music.example"]
    named = Upstream.parse("https://origin.internal", "origin.internal")
    fields = dict(request_fields(scope(), named, NOBODY))
    assert (fields[b"host"], fields[b"x-forwarded-host"]) == (b"origin.internal", b"music.example")


def test_a_field_of_an_answer_that_is_none_is_an_error():
    for field in ((b"a b", b"c"), (b"", b"c"), (b"a", b"c\r\nd: e"), (b"a", b"\x00"), (b"a:", b"c")):
        with pytest.raises(ValueError, match="malformed"):
            response_fields([field])
    assert response_fields([(b"X-A", b"caf\xe9 \t x")]) == [(b"x-a", b"caf\xe9 \t x")]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "write http://"), ("localhost:3000", "write http://"), ("http://", "write http://"), ("http://x/app", "has a path"),
        ("http://x?y", "has a path"), ("ftp://x", "write http://"), ("http://a@b", "write http://"), ("http://x:99999", "write http://"),
        ("unix:x", "unix:/path"), ("http://[::1", "write http://"), ("http://x:0", "write http://"), ("http://a b", "write http://"),
    ],
)  # fmt: skip
def test_an_upstream_that_is_none_is_refused_with_what_to_write(text, hint):
    with pytest.raises(ValueError, match=re.escape(hint)):
        Upstream.parse(text)


def test_upstreams_are_read():
    assert str(Upstream.parse("http://127.0.0.1:3000/")) == "http://127.0.0.1:3000"
    assert (Upstream.parse("https://x").port, Upstream.parse("http://[::1]:81").hostname) == (443, "::1")
    assert Upstream.parse("unix:/run/x.sock").socket == "/run/x.sock"


def test_a_pipelined_request_behind_a_refused_one_is_not_read(origin, proxy):
    before = len(origin.visits)
    got = exchanged(proxy.port, b"GET /%00 HTTP/1.1\r\nHost: a/b\r\n\r\n" + SMUGGLED)
    assert parsed(got).status == 400
    assert len(origin.visits) == before
