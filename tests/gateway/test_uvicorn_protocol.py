"""Early responses of the gateway: byte for byte what the app sends, whatever comes before, after or within."""

import asyncio
import re
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from noai_guard.core.model import Response
from noai_guard.gateway.app import Gateway
from noai_guard.gateway.auth_responses import EncodedResponse
from noai_guard.gateway.uvicorn_protocol import protocol_for
from noai_guard.uvicorn_adapter import EarlyResponseConnection, embedded_server
from tests.middleware.asgi_kit import BROWSER, SCRAPER, ask, http, metric, policy
from tests.raw_http import parsed

TEXT = """
trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}
rules: [{id: slowly, agents: [CCBot], action: throttle}]
limits: {throttle: {requests: 2, seconds: 86400}}
"""
THROTTLED = b"CCBot/2.0"


def gateway(text: str = TEXT) -> Gateway:
    return Gateway(policy(text), registry=CollectorRegistry())


def head(
    path: bytes = b"/.noai/verify",
    user_agent: bytes = BROWSER,
    *more: bytes,
    method: bytes = b"GET",
    uri: bytes = b"/a",
    version: bytes = b"1.1",
) -> bytes:
    lines = [b"%b %b HTTP/%b" % (method, path, version), b"host: music.example", b"user-agent: " + user_agent]
    return b"\r\n".join([*lines, b"x-original-uri: " + uri, *more, b"", b""])


def exchange(guard: Gateway, *pieces: bytes, pause: float = 0.0, until_closed: bool = False) -> bytes:
    """Return what comes back for pieces on one connection, until it is closed, or silent unless `until_closed`."""

    async def run() -> bytes:
        listener = socket.create_server(("127.0.0.1", 0))
        server = embedded_server(guard, 0, http=protocol_for(guard), lifespan="off", ws="none")
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause)
        received = b""
        try:
            while chunk := await asyncio.wait_for(reader.read(65536), 20 if until_closed else 0.15):
                received += chunk
        except ConnectionError:
            pass
        except TimeoutError:
            assert not until_closed, received
        writer.close()
        server.should_exit = True
        await serving
        return received

    return asyncio.run(run())


def status_lines(data: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 \d{3} [^\r]*(?=\r\n)", data)


def statuses(data: bytes) -> list[bytes]:
    return [line.split()[1] for line in status_lines(data)]


@pytest.mark.parametrize("path", ["/.noai/verify", "/.noai/verify-nginx", "/.noai/verify-nginx-401", "/.noai/answer"])
@pytest.mark.parametrize("user_agent", [BROWSER, SCRAPER])
@pytest.mark.parametrize("uri", [b"/a", b"/robots.txt", b"/a#b", b"/a%2Fb", b"/..;/x", b""])
def test_an_early_response_is_the_one_of_the_app(path: str, user_agent: bytes, uri: bytes) -> None:
    more = (b"x-noai-status", b"403")
    data = exchange(gateway(), head(path.encode(), user_agent, b": ".join(more), uri=uri))
    same = ask(gateway(), http(path, user_agent, (b"x-original-uri", uri), more, client=("127.0.0.1", 1)))
    early = parsed(data, b"GET")
    assert (early.status, early.body) == (same.status, same.body)
    assert sorted(early.headers) == sorted(same.headers)


def test_the_path_that_envoy_appends_is_judged() -> None:
    request = b"POST /.noai/verify/a?b HTTP/1.1\r\nhost: x\r\nuser-agent: %b\r\n\r\n"
    assert statuses(exchange(gateway(), request % SCRAPER)) == [b"403"]
    assert statuses(exchange(gateway(), request % BROWSER)) == [b"200"]


def test_many_requests_on_one_connection_are_responded_to_in_order() -> None:
    pieces = [head(user_agent=each) for each in (BROWSER, SCRAPER, BROWSER)]
    expected = [b"HTTP/1.1 200 OK", b"HTTP/1.1 403 Forbidden", b"HTTP/1.1 200 OK"]
    assert status_lines(exchange(gateway(), *pieces, pause=0.01)) == expected
    assert status_lines(exchange(gateway(), b"".join(pieces))) == expected


def test_throttled_requests_keep_their_place_between_others() -> None:
    pieces = [head(user_agent=each) for each in (THROTTLED, BROWSER, THROTTLED, SCRAPER, THROTTLED)]
    expected = [b"200", b"200", b"200", b"403", b"429"]
    for data in (exchange(gateway(), b"".join(pieces)), exchange(gateway(), *pieces, pause=0.05)):
        assert statuses(data) == expected


def test_a_request_that_has_to_be_counted_is_counted_once() -> None:
    guard = gateway()
    exchange(guard, head(user_agent=THROTTLED))
    assert metric(guard, "requests", agent="CCBot") == 1


def test_a_body_is_ignored() -> None:
    body = b"content-length: 5"
    data = exchange(gateway(), head(b"/.noai/verify", BROWSER, body) + b"xxxxx" + head(user_agent=SCRAPER))
    assert statuses(data) == [b"200", b"403"]
    chunked = head(b"/.noai/verify", BROWSER, b"transfer-encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n"
    assert statuses(exchange(gateway(), chunked + head(user_agent=SCRAPER))) == [b"200", b"403"]
    large = head(b"/.noai/verify", BROWSER, b"content-length: 1000000")
    assert statuses(exchange(gateway(), large, b"x" * 1_000_000, head(user_agent=SCRAPER))) == [b"200", b"403"]


@pytest.mark.parametrize("piece", [
    head(version=b"1.0"), head(b"/.noai/verify", BROWSER, b"connection: close"),
    head(b"/.noai/verify-nginx", SCRAPER, b"connection: close"),
])  # fmt: skip
def test_a_connection_that_is_not_to_be_kept_is_closed(piece: bytes) -> None:
    data = exchange(gateway(), piece, head())
    assert len(status_lines(data)) == 1
    assert b"connection: close\r\n" in data


def test_head_upgrades_and_everything_else_go_to_the_app() -> None:
    assert b" 403 " in exchange(gateway(), head(method=b"HEAD", user_agent=SCRAPER))
    upgrade = head(b"/.noai/verify", BROWSER, b"connection: upgrade", b"upgrade: websocket")
    assert b" 200 " in exchange(gateway(), upgrade)
    for path, status in ((b"/robots.txt", b"200"), (b"/x", b"404"), (b"/.noai/verifyx", b"404"), (b"/metrics", b"200")):
        assert exchange(gateway(), head(path)).split()[1] == status


@pytest.mark.parametrize(
    ("path", "user_agent", "status"),
    [
        (b"/.noai/verify", BROWSER, b"200"),
        (b"/.noai/verify", SCRAPER, b"403"),
        (b"/.noai/verify-nginx", BROWSER, b"204"),
        (b"/.noai/verify", THROTTLED, b"200"),  # which the app answers
        (b"/robots.txt", SCRAPER, b"200"),
    ],
)
@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
def test_a_request_to_upgrade_is_one_like_any_other(
    path: bytes, user_agent: bytes, status: bytes, protocol: bytes
) -> None:
    asked = head(path, user_agent, b"connection: upgrade", b"upgrade: " + protocol, b"sec-websocket-version: 13")
    data = exchange(gateway(), asked, until_closed=True)
    assert statuses(data) == [status]
    assert b"connection: close\r\n" in data


@pytest.mark.parametrize("size", [10_000, 200_000, 300_000, 3_000_000])
def test_a_head_is_read_up_to_a_limit(size: int) -> None:
    data = exchange(gateway(), head(b"/.noai/verify", BROWSER, b"cookie: " + b"x" * size), head())
    if size < 256 * 1024:
        assert statuses(data) == [b"200", b"200"]
    else:
        assert statuses(data) in ([b"431"], [])  # reset, when more comes behind


def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noai_guard.uvicorn_adapter.KEEP_ALIVE_SECONDS", 0.05)
    assert len(status_lines(exchange(gateway(), head(), until_closed=True))) == 1


def test_pipelined_requests_leave_one_keep_alive_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    expired: list[EarlyResponseConnection] = []

    def expire(connection: EarlyResponseConnection) -> None:
        expired.append(connection)
        connection.transport.close()

    monkeypatch.setattr("noai_guard.uvicorn_adapter.KEEP_ALIVE_SECONDS", 0.05)
    monkeypatch.setattr(EarlyResponseConnection, "timeout_keep_alive_handler", expire)
    assert statuses(exchange(gateway(), head() * 3, until_closed=True)) == [b"200"] * 3
    assert len(expired) == 1


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(
    st.binary(max_size=30),
    st.sampled_from([head(), head(user_agent=SCRAPER), head(user_agent=THROTTLED), head(b"/x"), b"\r\n", b"GET "]),
), max_size=5))  # fmt: skip
def test_no_bytes_break_the_gateway(pieces: list[bytes]) -> None:
    guard = gateway()
    data = exchange(guard, *pieces, head(user_agent=SCRAPER))
    assert metric(guard, "guard_failures") == 0
    assert all(status in (b"200", b"400", b"403", b"404", b"429") for status in statuses(data))


def test_an_encoded_response_is_http_1_1() -> None:
    wire = EncodedResponse(Response(403, ((b"content-length", b"2"), (b"a", b"b")), b"hi")).wire
    assert wire == b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\na: b\r\n\r\nhi"
