"""The connection with clients: late, long and malformed heads, old clients, targets in UTF-8."""

import socket
import time
from contextlib import suppress

import pytest

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from noai_guard.reverse_proxy import uvicorn_protocol  # noqa: E402
from tests.raw_http import exchanged  # noqa: E402
from tests.reverse_proxy.proxy_kit import Origin, OriginRequest, Proxy, read_all, read_until  # noqa: E402


def test_a_target_in_utf_8_is_percent_encoded_as_browsers_do(origin: Origin, proxy: Proxy) -> None:
    request = (
        "GET /björk/ü?q=å HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\nX-Name: Björk\r\nConnection: close\r\n\r\n".encode()
    )
    proxy.raw(request)
    assert origin.requests[-1].target == b"/bj%C3%B6rk/%C3%BC?q=%C3%A5"
    assert origin.requests[-1].values(b"x-name") == ["Björk".encode()]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_target_is_encoded_wherever_the_packets_end(origin: Origin, proxy: Proxy, cut: int) -> None:
    request = "GET /björk/ü HTTP/1.1\r\nHost: x\r\nX-Name: Björk\r\nConnection: close\r\n\r\n".encode()
    with proxy.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(request[:cut])
        time.sleep(0.01)
        client.sendall(request[cut:])
        read_all(client)
    assert origin.requests[-1].target == b"/bj%C3%B6rk/%C3%BC"
    assert origin.requests[-1].values(b"x-name") == ["Björk".encode()]


def test_a_folded_line_is_one_line_for_the_origin(origin: Origin, policy_proxy: Proxy) -> None:
    policy_proxy.raw(b"GET /folded HTTP/1.1\r\nHost: x\r\nX-Long: a\r\n b\r\nConnection: close\r\n\r\n")
    assert origin.requests[-1].values(b"x-long") == [b"a b"]


def test_an_http_1_0_player_gets_a_response_that_ends_with_the_connection(origin: Origin, proxy: Proxy) -> None:
    origin.route(
        "/stream",
        lambda request: request.send(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
        ),
    )
    received = exchanged(proxy.port, b"GET /stream HTTP/1.0\r\nUser-Agent: WinampMPEG/2.7\r\n\r\n")
    head, _, body = received.partition(b"\r\n\r\n")
    assert body == b"abcdef"
    assert b"transfer-encoding" not in head.lower()
    assert origin.requests[-1].values(b"host") == [b"127.0.0.1:%d" % origin.port]


def test_an_http_1_0_client_sees_a_broken_response_as_a_reset(origin: Origin, policy_proxy: Proxy) -> None:
    def page(request: OriginRequest) -> None:
        request.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        time.sleep(0.1)
        request.connection.shutdown(socket.SHUT_RDWR)

    with policy_proxy.connect() as client:
        client.sendall(b"GET %b HTTP/1.0\r\n\r\n" % origin.route("/old", page).encode())
        with pytest.raises(ConnectionResetError):
            read_all(client)


def test_a_head_that_is_too_long_is_refused(policy_proxy: Proxy) -> None:
    assert exchanged(policy_proxy.port, b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000)[:12] in (b"HTTP/1.1 400", b"")


def test_trailers_without_an_end_are_cut(separate_pair: tuple[Origin, Proxy]) -> None:
    _, proxy = separate_pair
    received = b""
    with proxy.connect() as client, suppress(ConnectionError):
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        for _ in range(200):
            client.sendall(b"x: " + b"y" * 10_000 + b"\r\n")
        received = read_all(client)
    assert received[:12] in (b"HTTP/1.1 400", b"")


def test_a_connection_whose_head_is_late_is_closed(policy_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_protocol, "HEAD_SECONDS", 0.2)
    whole = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    for sent in (b"", b"GET / HTTP/1.1\r\nX: ", whole):
        with policy_proxy.connect() as client:
            client.sendall(sent)
            if sent == whole:
                read_until(client, b"hello")
                client.sendall(b"GET")
            assert b"200" not in read_all(client)
