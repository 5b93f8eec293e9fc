"""The short way over the wire: byte for byte what the app says, whatever comes before, behind or within."""

import asyncio
import re
import socket
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from noai_guard.core.model import Response
from noai_guard.gateway.app import Gateway
from noai_guard.gateway.auth_responses import EncodedResponse
from noai_guard.gateway.uvicorn_protocol import protocol_for
from noai_guard.uvicorn_adapter import embedded_server
from tests.middleware.asgi_kit import BROWSER, SCRAPER, ask, http, metric, policy
from tests.raw_http import parsed

TEXT = """
trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}
rules: [{id: slowly, agents: [CCBot], action: throttle}]
limits: {throttle: {requests: 2, seconds: 86400}}
"""
RATIONED = b"CCBot/2.0"


def gateway(text: str = TEXT) -> Gateway:
    return Gateway(policy(text), registry=CollectorRegistry())


def head(path=b"/.noai/verify", user_agent=BROWSER, *more: bytes, method=b"GET", uri=b"/a", version=b"1.1") -> bytes:
    lines = [b"%b %b HTTP/%b" % (method, path, version), b"host: music.example", b"user-agent: " + user_agent]
    return b"\r\n".join([*lines, b"x-original-uri: " + uri, *more, b"", b""])


def sent(guard: Gateway, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What comes back for pieces on one connection, until it is closed or silent."""

    async def story() -> bytes:
        listening = socket.create_server(("127.0.0.1", 0))
        server = embedded_server(guard, 0, http=protocol_for(guard), lifespan="off", ws="none")
        serving = asyncio.create_task(server.serve([listening]))
        while not server.started:
            await asyncio.sleep(0.005)
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause)
        received = b""
        try:
            while chunk := await asyncio.wait_for(reader.read(65536), 0.15):
                received += chunk
        except (TimeoutError, ConnectionError):
            pass
        writer.close()
        server.should_exit = True
        await serving
        return received

    return asyncio.run(story())


def answers(data: bytes) -> list[bytes]:
    """The status lines that came back."""
    return re.findall(rb"HTTP/1\.1 \d{3} [^\r]*(?=\r\n)", data)


@pytest.mark.parametrize("path", ["/.noai/verify", "/.noai/verify-nginx", "/.noai/answer"])
@pytest.mark.parametrize("user_agent", [BROWSER, SCRAPER])
@pytest.mark.parametrize("uri", [b"/a", b"/robots.txt", b"/a#b", b"/a%2Fb", b"/..;/x", b""])
def test_the_short_way_says_what_the_app_says(path, user_agent, uri):
    more = (b"x-noai-status", b"403")
    data = sent(gateway(), head(path.encode(), user_agent, b": ".join(more), uri=uri))
    same = ask(gateway(), http(path, user_agent, (b"x-original-uri", uri), more, client=("127.0.0.1", 1)))
    got = parsed(data, b"GET")
    assert (got.status, got.body) == (same.status, same.body)
    assert sorted(got.headers) == sorted(same.headers)


def test_envoys_way_counts_with_its_own_path():
    assert b" 403 " in sent(
        gateway(), b"POST /.noai/verify/a?b HTTP/1.1\r\nhost: x\r\nuser-agent: %b\r\n\r\n" % SCRAPER
    )
    assert b" 200 " in sent(
        gateway(), b"POST /.noai/verify/a?b HTTP/1.1\r\nhost: x\r\nuser-agent: %b\r\n\r\n" % BROWSER
    )


def test_many_questions_on_one_connection_are_answered_in_order():
    pieces = [head(user_agent=each) for each in (BROWSER, SCRAPER, BROWSER)]
    expected = [b"HTTP/1.1 200 OK", b"HTTP/1.1 403 Forbidden", b"HTTP/1.1 200 OK"]
    assert answers(sent(gateway(), *pieces, pause=0.01)) == expected
    assert answers(sent(gateway(), b"".join(pieces))) == expected


def test_those_that_take_a_count_stand_between_others_in_their_place():
    pieces = [head(user_agent=each) for each in (RATIONED, BROWSER, RATIONED, SCRAPER, RATIONED)]
    statuses = [b"200", b"200", b"200", b"403", b"429"]
    for data in (sent(gateway(), b"".join(pieces)), sent(gateway(), *pieces, pause=0.05)):
        assert [line.split()[1] for line in answers(data)] == statuses


def test_a_count_that_was_only_begun_is_not_counted_twice():
    guard = gateway()
    sent(guard, head(user_agent=RATIONED))
    assert metric(guard, "requests", agent="CCBot") == 1


def test_a_body_is_read_over():
    body = b"content-length: 5"
    data = sent(gateway(), head(b"/.noai/verify", BROWSER, body) + b"xxxxx" + head(user_agent=SCRAPER))
    assert [line.split()[1] for line in answers(data)] == [b"200", b"403"]
    chunked = head(b"/.noai/verify", BROWSER, b"transfer-encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n"
    assert [line.split()[1] for line in answers(sent(gateway(), chunked + head(user_agent=SCRAPER)))] == [
        b"200",
        b"403",
    ]
    large = head(b"/.noai/verify", BROWSER, b"content-length: 1000000")
    assert [line.split()[1] for line in answers(sent(gateway(), large, b"x" * 1_000_000, head(user_agent=SCRAPER)))] == [
        b"200", b"403",
    ]  # fmt: skip


@pytest.mark.parametrize("piece", [
    head(version=b"1.0"), head(b"/.noai/verify", BROWSER, b"connection: close"),
    head(b"/.noai/verify-nginx", SCRAPER, b"connection: close"),
])  # fmt: skip
def test_a_connection_that_is_not_to_be_kept_is_closed(piece):
    data = sent(gateway(), piece, head())
    assert len(answers(data)) == 1
    assert b"connection: close\r\n" in data


def test_head_upgrades_and_everything_else_go_the_long_way():
    assert b" 403 " in sent(gateway(), head(method=b"HEAD", user_agent=SCRAPER))
    upgrade = head(b"/.noai/verify", BROWSER, b"connection: upgrade", b"upgrade: websocket")
    assert b" 200 " in sent(gateway(), upgrade)
    for path, status in ((b"/robots.txt", b"200"), (b"/x", b"404"), (b"/.noai/verifyx", b"404"), (b"/metrics", b"200")):
        assert sent(gateway(), head(path)).split()[1] == status


@pytest.mark.parametrize("size", [10_000, 200_000, 300_000, 3_000_000])
def test_a_head_is_read_up_to_a_bound(size):
    data = sent(gateway(), head(b"/.noai/verify", BROWSER, b"cookie: " + b"x" * size), head())
    if size < 256 * 1024:
        assert [line.split()[1] for line in answers(data)] == [b"200", b"200"]
    else:
        assert [line.split()[1] for line in answers(data)] in ([b"431"], [])  # reset, when more comes behind


def test_an_idle_connection_is_not_held_for_ever(monkeypatch):
    monkeypatch.setattr("noai_guard.uvicorn_adapter.KEEP_ALIVE_SECONDS", 0.05)
    started = time.monotonic()
    assert len(answers(sent(gateway(), head()))) == 1
    assert time.monotonic() - started < 20


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(
    st.binary(max_size=30),
    st.sampled_from([head(), head(user_agent=SCRAPER), head(user_agent=RATIONED), head(b"/x"), b"\r\n", b"GET "]),
), max_size=5))  # fmt: skip
def test_nothing_that_is_sent_breaks_anything(pieces):
    guard = gateway()
    data = sent(guard, *pieces, head(user_agent=SCRAPER))
    assert metric(guard, "guard_failures") == 0
    assert all(line.split()[1] in (b"200", b"400", b"403", b"404", b"429") for line in answers(data))


def test_what_is_prepared_is_what_is_said():
    wire = EncodedResponse(Response(403, ((b"content-length", b"2"), (b"a", b"b")), b"hi")).wire
    assert wire == b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\na: b\r\n\r\nhi"
