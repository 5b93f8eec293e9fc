"""The upstream: how its address is read, and which connections go to it."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import free_port, require, require_program

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from noai_guard.reverse_proxy.upstream import Timeouts, Upstream  # noqa: E402
from tests.middleware.asgi_kit import OURS  # noqa: E402
from tests.reverse_proxy.proxy_kit import Origin, OriginRequest, Proxy, running_proxy, wait_until  # noqa: E402


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "write http://"), ("localhost:3000", "write http://"), ("http://", "write http://"), ("http://x/app", "has a path"),
        ("http://x?y", "has a path"), ("ftp://x", "write http://"), ("http://a@b", "write http://"), ("http://x:99999", "write http://"),
        ("unix:x", "unix:/path"), ("http://[::1", "write http://"), ("http://x:0", "write http://"), ("http://a b", "write http://"),
    ],
)  # fmt: skip
def test_an_invalid_upstream_is_refused_with_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(hint)):
        Upstream.parse(text)


def test_the_address_of_an_upstream_is_parsed() -> None:
    assert str(Upstream.parse("http://127.0.0.1:3000/")) == "http://127.0.0.1:3000"
    assert (Upstream.parse("https://x").port, Upstream.parse("http://[::1]:81").hostname) == (443, "::1")
    assert Upstream.parse("unix:/run/x.sock").socket == "/run/x.sock"


def test_safe_requests_reuse_a_connection_and_others_do_not(origin: Origin, proxy: Proxy) -> None:
    proxy.fetch("/")
    before = origin.connections
    for _ in range(5):
        assert proxy.fetch("/").status == 200
    assert origin.connections == before
    for _ in range(3):
        assert proxy.fetch("/", method=b"POST", body=b"x").status == 200
    assert origin.connections == before + 3


def test_a_reused_connection_that_the_origin_closes_does_not_fail_the_next_request(
    origin: Origin, proxy: Proxy
) -> None:
    resets = iter([True])

    def reset_once(request: OriginRequest) -> None:
        """Close the connection first: that is what a client sees of an idle connection that ends as it is used."""
        if next(resets, False):
            request.reset()
        else:
            request.respond(b"again")

    origin.route("/stale", reset_once)
    proxy.fetch("/")
    assert proxy.fetch("/stale").body == b"again"


def test_a_request_that_changes_something_is_never_sent_twice(origin: Origin, proxy: Proxy) -> None:
    def reset(request: OriginRequest) -> None:
        request.body()
        request.reset()

    origin.route("/order", reset)
    before = len(origin.requests)
    assert proxy.fetch("/order", method=b"POST", body=b"x").status == 502
    assert len(origin.requests) == before + 1


def test_an_upstream_that_accepts_no_connection_is_504() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(full.getsockname())
        with running_proxy(f"http://127.0.0.1:{full.getsockname()[1]}", timeouts=Timeouts(connect=0.3)) as running:
            assert running.fetch("/").status == 504
        for connection in waiting:
            connection.close()


def test_an_upstream_that_cannot_be_reached_is_502_with_a_page_only_for_pages(origin: Origin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with running_proxy(f"http://127.0.0.1:{port}") as running:
        page = running.fetch("/", b"Accept: text/html")
        audio = running.fetch("/song.mp3")
        ready = running.fetch("/.noai/ready")
        robots = running.fetch("/robots.txt")
    assert (page.status, page.values(b"content-type")) == (502, [b"text/html; charset=utf-8"])
    assert b"<h1>Bad gateway</h1>" in page.body
    assert set(OURS) <= set(page.headers)
    assert (audio.status, audio.values(b"content-type")) == (502, [b"text/plain; charset=utf-8"])
    assert (ready.status, ready.body) == (503, b"the upstream cannot be reached\n")
    assert (robots.status, robots.values(b"cache-control")) == (503, [b"no-store"])


def test_an_upstream_on_a_unix_socket_and_one_with_tls(tmp_path: Path) -> None:
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
        wait_until(lambda: listens(sock) and listens(port))
        for upstream, scheme in ((f"unix:{sock}", b"http"), (f"https://localhost:{port}", b"https")):
            with running_proxy(Upstream.parse(upstream, ca_file=cert)) as running:
                response = running.fetch("/")
            assert (response.status, response.values(b"x-scheme"), response.body) == (200, [scheme], b"music.example")
        with running_proxy(f"https://localhost:{port}") as running:
            assert running.fetch("/").status == 502
    finally:
        for process in origins:
            process.terminate()
            process.wait(20)


def listens(address: int | Path) -> bool:
    """Return True if a server listens on a local port, or on a UNIX socket."""
    family = socket.AF_INET if isinstance(address, int) else socket.AF_UNIX
    with socket.socket(family) as probe:
        return probe.connect_ex(("127.0.0.1", address) if isinstance(address, int) else str(address)) == 0
