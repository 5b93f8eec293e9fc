"""Every listener of `serve`: a client that is slow with the head of a request is cut off, and nobody else."""

import socket
import time
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from tests.servers import require

require("aiohttp", "h11", "httptools", "uvicorn", "uvloop", "websockets")

from noai_guard import uvicorn_adapter  # noqa: E402
from noai_guard.asgi_types import App  # noqa: E402
from noai_guard.reverse_proxy.upstream import Timeouts, Upstream  # noqa: E402
from noai_guard.server.apps import gateway_app, metrics_listener_app, reverse_proxy_app  # noqa: E402
from noai_guard.uvicorn_adapter import ClientConnection, StrictConnection, embedded_server  # noqa: E402
from tests.middleware.asgi_kit import policy  # noqa: E402
from tests.reverse_proxy.proxy_kit import read_until, running_server  # noqa: E402

SECONDS = 0.4
HEALTH = b"GET /.noai/health HTTP/1.1\r\nHost: x\r\n\r\n"
QUESTION = b"GET /.noai/verify HTTP/1.1\r\nHost: x\r\nX-Original-URI: /\r\n\r\n"


@pytest.fixture(params=["reverse proxy", "gateway", "metrics"])
def port(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(uvicorn_adapter, "HEAD_SECONDS", SECONDS)
    gateway = gateway_app(policy("trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}"), 0, None)
    app: App = gateway.app
    protocol: type[ClientConnection] = gateway.protocol
    if request.param == "metrics":
        app, protocol = metrics_listener_app(gateway.health), StrictConnection
    elif request.param == "reverse proxy":
        upstream = Upstream.parse("http://127.0.0.1:9")
        proxy = reverse_proxy_app(upstream, policy("mode: enforce"), Timeouts(), registry=CollectorRegistry())
        app, protocol = proxy.app, proxy.protocol
    with running_server(embedded_server(app, 1, http=protocol, lifespan="off", ws="auto")) as number:
        yield number


def seconds_until_cut(client: socket.socket, bytes_to_send: bytes) -> float:
    """Send a byte after the other, the last one for ever. Return the seconds until the server closes."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.settimeout(0.03)
    started = time.monotonic()
    left = bytearray(bytes_to_send)
    while time.monotonic() - started < 20:
        try:
            client.sendall(bytes([left.pop(0) if len(left) > 1 else left[0]]))
            if not client.recv(65536):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    return time.monotonic() - started


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\nX: y", b"GET /aaaa", b"\r\n" * 50, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nX"],
    ids=["field", "target", "empty lines", "post"],
)  # fmt: skip
@pytest.mark.parametrize("before", [b"", HEALTH, QUESTION], ids=["first", "second", "after a question"])
def test_a_head_that_comes_byte_by_byte_is_cut(port: int, before: bytes, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        if before:
            client.sendall(before)
            read_until(client, b"\r\n\r\n")
        assert SECONDS * 0.5 < seconds_until_cut(client, head) < 15


def test_a_client_that_sends_nothing_is_cut(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        assert client.recv(1) == b""


def test_a_body_after_its_response_is_no_way_to_stay(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(HEALTH.replace(b"GET", b"POST").replace(b"Host: x", b"Host: x\r\nContent-Length: 100000"))
        read_until(client, b"\r\n\r\n")
        assert seconds_until_cut(client, b"x") < 15


@pytest.mark.parametrize("request_bytes", [HEALTH, QUESTION], ids=["health", "question"])
def test_a_connection_that_rests_between_requests_is_kept(port: int, request_bytes: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        for pause in (0.0, SECONDS * 2, 0.0):
            time.sleep(pause)
            client.sendall(request_bytes[:30])
            client.sendall(request_bytes[30:])
            assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 ")
